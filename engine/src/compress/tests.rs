use proptest::prelude::*;

use super::*;

fn open(codec: Codec, payload: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = vec![9; 3];
    Codecs::default().decompress(codec, payload, limit, &mut out).map(|()| out)
}

fn pack(to: Compression, payload: &[u8]) -> Vec<u8> {
    let mut out = b"kept".to_vec();
    Codecs::default().compress(to, payload, &mut out);
    assert_eq!(&out[..4], b"kept");
    out.split_off(4)
}

fn sample(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 7 % 251) as u8 ^ (i % 3) as u8).collect()
}

#[test]
fn ids_and_names_are_kafkas() {
    for (id, name) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().enumerate() {
        let codec = Codec::from_id(id as u8).expect("a codec");
        assert_eq!((codec.name(), codec.id(), name.parse()), (*name, id as u8, Ok(codec)));
    }
    assert_eq!(Codec::from_id(5), None);
    assert!("producer".parse::<Codec>().is_err());
}

#[test]
fn levels_are_those_of_kip_390() {
    for (codec, good, bad) in [
        (Codec::Gzip, vec![-1, 1, 9], vec![0, 10, -2]),
        (Codec::Lz4, vec![1, 17], vec![0, 18]),
        (Codec::Zstd, vec![-131_072, 0, 22], vec![23, -131_073]),
        (Codec::Snappy, vec![], vec![1]),
    ] {
        for level in good {
            let to = Compression::with_level(codec, level).expect("a level");
            let payload = sample(10_000);
            assert_eq!(open(codec, &pack(to, &payload), 10_000).expect("opens"), payload);
        }
        for level in bad {
            assert!(Compression::with_level(codec, level).is_err(), "{codec} {level}");
        }
    }
}

#[test]
fn every_codec_round_trips_at_every_size_and_exactly_at_the_limit() {
    for codec in Codec::ALL {
        for len in [0, 1, 100, 32 * 1024, 64 * 1024, 64 * 1024 + 1, 1 << 20] {
            let payload = sample(len);
            let packed = pack(Compression::new(codec), &payload);
            assert_eq!(open(codec, &packed, len).expect("opens"), payload, "{codec} {len}");
            if len > 0 {
                let refused = open(codec, &packed, len - 1);
                assert!(
                    matches!(refused, Err(DecompressError::TooLarge { codec: c, limit }) if c == codec && limit == len - 1),
                    "{codec} {len}: {refused:?}"
                );
            }
        }
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_limit() {
    let limit = 256 * 1024;
    let plain = vec![0; 64 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bomb = pack(Compression::new(codec), &plain);
        let mut out = Vec::new();
        let refused = Codecs::default().decompress(codec, &bomb, limit, &mut out);
        let refused = refused.expect_err("too large").to_string();
        assert_eq!(refused, format!("{codec} payload opens to more than {limit} bytes"));
        assert!(out.is_empty() && out.capacity() <= limit, "{codec}: {}", out.capacity());
    }
}

#[test]
fn streamed_zstd_without_a_size_opens_whatever_its_window() {
    let plain = sample(3 << 20);
    for level in [1, 3, 19, 22] {
        let frame = zstd_stream(&plain, level);
        assert_eq!(open(Codec::Zstd, &frame, 4 << 20).expect("opens"), plain, "level {level}");
        assert!(matches!(
            open(Codec::Zstd, &frame, 2 << 20),
            Err(DecompressError::TooLarge { .. })
        ));
    }
}

/// As Kafka's Java client writes: streaming, the size unknown when the header goes out.
fn zstd_stream(plain: &[u8], level: i32) -> Vec<u8> {
    let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), level).expect("an encoder");
    for chunk in plain.chunks(16 * 1024) {
        encoder.write_all(chunk).expect("a Vec takes every byte");
    }
    encoder.finish().expect("a Vec takes every byte")
}

#[test]
fn snappy_opens_raw_framed_and_concatenated_streams() {
    let plain = sample(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&plain).expect("compresses");
    assert_eq!(open(Codec::Snappy, &raw, 100_000).expect("raw"), plain);
    let framed = pack(Compression::new(Codec::Snappy), &plain);
    assert_eq!(&framed[..16], b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let twice = [framed.clone(), framed.clone()].concat();
    assert_eq!(open(Codec::Snappy, &twice, 200_000).expect("twice"), plain.repeat(2));
    for cut in [9, 17, 19, framed.len() - 1] {
        assert!(matches!(
            open(Codec::Snappy, &framed[..cut], 100_000),
            Err(DecompressError::Broken { .. })
        ));
    }
    let mut newer = framed;
    newer[15] = 2;
    assert!(matches!(open(Codec::Snappy, &newer, 100_000), Err(DecompressError::Broken { .. })));
}

#[test]
fn a_snappy_length_without_bytes_behind_it_takes_no_memory() {
    let mut out = Vec::new();
    // The preamble says 256 MiB; one literal byte follows.
    let lie = [0x80, 0x80, 0x80, 0x80, 0x01, 0x00, b'x'];
    let refused = Codecs::default().decompress(Codec::Snappy, &lie, 1 << 30, &mut out);
    assert!(matches!(refused, Err(DecompressError::Broken { .. })));
    assert_eq!(out.capacity(), 0);
}

#[test]
fn lz4_is_written_as_kafkas_encoder_writes_it() {
    let framed = pack(Compression::new(Codec::Lz4), b"abc");
    // Magic, FLG = version 1 + independent blocks, BD = 64 KiB, header checksum.
    assert_eq!(&framed[..7], [0x04, 0x22, 0x4D, 0x18, 0x60, 0x40, 0x82]);
}

#[test]
fn gzip_members_may_follow_one_another() {
    let one = pack(Compression::new(Codec::Gzip), b"first ");
    let two = pack(Compression::new(Codec::Gzip), b"second");
    let opened = open(Codec::Gzip, &[one, two].concat(), 100).expect("opens");
    assert_eq!(opened, b"first second");
}

proptest! {
    #[test]
    fn garbage_never_panics(codec in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let codec = Codec::from_id(codec).expect("a codec");
        if let Ok(plain) = open(codec, &bytes, 4096) {
            prop_assert!(plain.len() <= 4096);
        }
    }

    #[test]
    fn damage_never_panics(
        codec in 1u8..5,
        len in 0usize..5000,
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let codec = Codec::from_id(codec).expect("a codec");
        let mut packed = pack(Compression::new(codec), &sample(len));
        let at = at.index(packed.len());
        packed[at] ^= flip;
        if let Ok(plain) = open(codec, &packed, 6000) {
            prop_assert!(plain.len() <= 6000);
        }
    }
}
