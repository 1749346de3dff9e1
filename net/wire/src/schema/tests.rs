// `wire!` declares for other crates.
#![allow(unreachable_pub, dead_code)]

use super::*;
use crate::list::List;

wire! {
    /// Every attribute at once.
    record Sample<'a> 1, 0..=5, flexible 3 {
        name: &'a str,
        label: Option<&'a str> [1.., null 2..],
        gone: i32 [..=1] = -1,
        middle: bool [2..=3, ignorable],
        parts: Option<List<'a, Part>> [3.., tag 0] = None,
        one: Option<Part> [4..] = None,
        low: i64 [5.., tag 7, ignorable] = i64::MAX,
    }
    struct Part {
        number: i32,
        extra: i16 [4..],
    }
    record Bare 2, 0..=1, flexible never {}
}

fn bytes_of(sample: &Sample<'_>, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    sample.encode(&mut w, version)?;
    Ok(w.into_bytes())
}

#[test]
fn defaults_are_the_schemas() {
    let sample = Sample::default();
    assert_eq!((sample.name, sample.label, sample.gone), ("", Some(""), -1));
    assert_eq!((sample.parts, sample.one, sample.low), (None, None, i64::MAX));
}

#[test]
fn fields_follow_the_version() {
    let sample = Sample { name: "n", label: Some("l"), ..Sample::default() };
    assert_eq!(bytes_of(&sample, 1).unwrap(), b"\0\x01n\0\x01l\xff\xff\xff\xff");
    assert_eq!(bytes_of(&sample, 2).unwrap(), b"\0\x01n\0\x01l\0");
    assert_eq!(bytes_of(&sample, 3).unwrap(), b"\x02n\x02l\0\0");
    let decoded = Sample::decode(&mut Cursor::new(b"\0\x01n\0\x01l\0"), 2).unwrap();
    assert_eq!(decoded, sample);
}

#[test]
fn a_value_the_version_cannot_say_is_refused_unless_ignorable() {
    let gone = Sample { gone: 7, ..Sample::default() };
    assert_eq!(bytes_of(&gone, 2), Err(EncodeError::NotInVersion { field: "gone", version: 2 }));
    let parts = Sample { parts: Some(List::new()), ..Sample::default() };
    assert_eq!(bytes_of(&parts, 0), Err(EncodeError::NotInVersion { field: "parts", version: 0 }));
    let middle = Sample { middle: true, low: 3, ..Sample::default() };
    assert_eq!(bytes_of(&middle, 0).unwrap(), b"\0\0\xff\xff\xff\xff");
    let label = Sample { label: Some("x"), ..Sample::default() };
    assert!(bytes_of(&label, 0).is_err());
}

#[test]
fn null_has_its_versions() {
    let null = Sample { label: None, ..Sample::default() };
    assert_eq!(bytes_of(&null, 1), Err(EncodeError::Null { field: "label", version: 1 }));
    assert_eq!(bytes_of(&null, 2).unwrap(), b"\0\0\xff\xff\0");
    let error = Sample::decode(&mut Cursor::new(b"\0\0\xff\xff\0\0\0\0"), 1).unwrap_err();
    assert_eq!(error, DecodeError { field: "label", fault: DecodeFault::Null });
}

#[test]
fn tagged_fields_are_written_in_order_and_unknown_ones_skipped() {
    let parts = [Part { number: 1, extra: 2 }];
    let sample = Sample {
        parts: Some(List::from(&parts)),
        one: Some(Part { number: 3, extra: 4 }),
        low: 9,
        ..Sample::default()
    };
    let plain = b"\x01\x01\x01\0\0\0\x03\0\x04\0";
    let parts_field = b"\0\x08\x02\0\0\0\x01\0\x02\0";
    let low_field = b"\x07\x08\0\0\0\0\0\0\0\x09";
    let expected = [&plain[..], b"\x02", parts_field, low_field].concat();
    assert_eq!(bytes_of(&sample, 5).unwrap(), expected);

    let unknown = [&plain[..], b"\x03", parts_field, b"\x05\x01x", low_field].concat();
    let mut cur = Cursor::new(&unknown);
    assert_eq!(Sample::decode(&mut cur, 5).unwrap(), sample);
    assert!(cur.is_empty());
}

#[test]
fn a_tagged_field_must_fill_its_size() {
    let bytes = b"\x01\x01\xff\x01\x07\x09\0\0\0\0\0\0\0\x09\0";
    assert_eq!(
        Sample::decode(&mut Cursor::new(bytes), 5).unwrap_err().fault,
        DecodeFault::Trailing(1)
    );
}

#[test]
fn versions_outside_the_range_are_refused() {
    let fault = DecodeFault::UnsupportedVersion { version: 6, min: 0, max: 5 };
    assert_eq!(Sample::decode(&mut Cursor::new(&[]), 6), Err(fault.into()));
    assert!(bytes_of(&Sample::default(), -1).is_err());
    assert_eq!(Bare::decode(&mut Cursor::new(&[]), 1), Ok(Bare {}));
}

#[test]
fn an_error_names_the_innermost_field() {
    let bytes = b"\x01\x01\x01\0\0\0";
    assert_eq!(Sample::decode(&mut Cursor::new(bytes), 5).unwrap_err().field, "number");
    assert_eq!(
        Sample::decode(&mut Cursor::new(bytes), 5).unwrap_err().to_string(),
        "number: needs 4 bytes, 3 are left"
    );
}
