//! Random valid messages, written from their declarations alone.
//!
//! The bytes come from [`Shape`], not from the crate's encoder, and are canonical: tagged fields
//! ascend and are never equal to their default. So an encoder must reproduce them byte for byte.

// Each test file uses its part of this, and none exports it.
#![allow(dead_code, unreachable_pub)]

use wire::record::group::{
    ConsumerGroupKey, ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataValue,
    ConsumerMemberKey, ConsumerMemberMetadataValue, CurrentMemberAssignmentValue, GroupMetadataKey,
    GroupMetadataValue, OffsetCommitKey, OffsetCommitValue, RegularExpressionKey,
    RegularExpressionValue, TargetAssignmentMemberValue, TargetAssignmentMetadataValue,
};
use wire::schema::{At, Shape, Spec, StructShape, Value};
use wire::writer::Writer;

/// SplitMix64: a failing test prints the seed, which is all there is to reproduce it.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A random valid message of `shape`.
pub fn message(shape: &Shape, at: At, seed: u64) -> Vec<u8> {
    let mut generator = Generator { rng: Rng(seed), at };
    let mut w = Writer::new();
    generator.value(&mut w, shape, Want::Any);
    w.into_bytes()
}

/// The declaration of a record of `__consumer_offsets`.
#[derive(Clone, Copy)]
pub struct GroupRecordForm {
    pub name: &'static str,
    pub record_type: i16,
    pub key: Shape,
    pub value: Shape,
    /// Newest version of the value.
    pub versions: i16,
    /// Its first flexible version.
    pub flexible: i16,
}

impl GroupRecordForm {
    /// A random key.
    pub fn key(&self, seed: u64) -> Vec<u8> {
        prefixed(self.record_type, &self.key, At { version: 0, flexible: false }, seed)
    }

    /// A random value.
    pub fn value(&self, version: i16, seed: u64) -> Vec<u8> {
        let at = At { version, flexible: version >= self.flexible };
        prefixed(version, &self.value, at, seed)
    }
}

fn prefixed(prefix: i16, shape: &Shape, at: At, seed: u64) -> Vec<u8> {
    let mut w = Writer::new();
    w.i16(prefix);
    w.bytes(&message(shape, at, seed));
    w.into_bytes()
}

/// Every record of `__consumer_offsets` there is a schema for.
pub fn group_records() -> impl Iterator<Item = GroupRecordForm> {
    let form = |name, record_type, key, value, newest| GroupRecordForm {
        name,
        record_type,
        key,
        value,
        versions: newest,
        flexible: newest,
    };
    let (group, member) = (ConsumerGroupKey::SHAPE, ConsumerMemberKey::SHAPE);
    let forms = [
        form("OffsetCommit", 1, OffsetCommitKey::SHAPE, OffsetCommitValue::SHAPE, 4),
        form("GroupMetadata", 2, GroupMetadataKey::SHAPE, GroupMetadataValue::SHAPE, 4),
        form("ConsumerGroup", 3, group, ConsumerGroupMetadataValue::SHAPE, 0),
        form("ConsumerGroupPartitions", 4, group, ConsumerGroupPartitionMetadataValue::SHAPE, 0),
        form("ConsumerMember", 5, member, ConsumerMemberMetadataValue::SHAPE, 0),
        form("TargetAssignment", 6, group, TargetAssignmentMetadataValue::SHAPE, 0),
        form("TargetAssignmentMember", 7, member, TargetAssignmentMemberValue::SHAPE, 0),
        form("CurrentAssignment", 8, member, CurrentMemberAssignmentValue::SHAPE, 0),
        form(
            "RegularExpression",
            16,
            RegularExpressionKey::SHAPE,
            RegularExpressionValue::SHAPE,
            0,
        ),
    ];
    forms.into_iter()
}

#[derive(Clone, Copy, PartialEq)]
enum Want {
    /// Anything, extremes included.
    Any,
    /// Anything but what a schema could name as default.
    NotDefault,
}

struct Generator {
    rng: Rng,
    at: At,
}

impl Generator {
    fn value(&mut self, w: &mut Writer, shape: &Shape, want: Want) {
        match shape {
            Shape::Bool => w.bool(want == Want::NotDefault || self.rng.below(2) == 1),
            Shape::I8 => w.i8(self.number(want, i8::MIN.into(), i8::MAX.into()) as i8),
            Shape::I16 => w.i16(self.number(want, i16::MIN.into(), i16::MAX.into()) as i16),
            Shape::U16 => w.u16(self.number(want, 0, u16::MAX.into()) as u16),
            Shape::I32 => w.i32(self.number(want, i32::MIN.into(), i32::MAX.into()) as i32),
            Shape::U32 => w.u32(self.number(want, 0, u32::MAX.into()) as u32),
            Shape::I64 => w.i64(self.number(want, i64::MIN, i64::MAX)),
            Shape::F64 => w.f64(self.number(want, -1000, 1000) as f64 / 4.0),
            Shape::Uuid => {
                let bytes = self.rng.bytes(16);
                w.bytes(&bytes);
            }
            Shape::Str => {
                let text = self.text(want);
                self.length(w, text.len(), 2);
                w.bytes(text.as_bytes());
            }
            Shape::Bytes | Shape::Records => {
                let len = self.len(want, 40);
                let bytes = self.rng.bytes(len);
                self.length(w, len, 4);
                w.bytes(&bytes);
            }
            Shape::List(element) => {
                let len = self.len(want, 4);
                self.length(w, len, 4);
                for _ in 0..len {
                    self.value(w, element, want);
                }
            }
            Shape::Nullable(inner) => self.nullable(w, inner, want),
            Shape::Struct(shape) => self.fields(w, shape, want),
        }
    }

    fn nullable(&mut self, w: &mut Writer, inner: &Shape, want: Want) {
        let null = want == Want::Any && self.rng.below(3) == 0;
        match (inner, null) {
            (Shape::Struct(_), true) => w.i8(-1),
            (Shape::Struct(_), false) => {
                w.i8(1);
                self.value(w, inner, want);
            }
            (_, true) if self.at.flexible => w.uvarint(0),
            (Shape::Str, true) => w.i16(-1),
            (_, true) => w.i32(-1),
            (_, false) => self.value(w, inner, want),
        }
    }

    fn fields(&mut self, w: &mut Writer, shape: &StructShape, want: Want) {
        let version = self.at.version;
        let present = |spec: &Spec| (spec.since..=spec.until).contains(&version);
        let (tagged, plain): (Vec<&(Spec, Shape)>, Vec<_>) = shape
            .fields
            .iter()
            .filter(|(spec, _)| present(spec))
            .partition(|(spec, _)| spec.tag.is_some());
        for (spec, shape) in plain {
            match shape {
                Shape::Nullable(inner) if version < spec.null_since => self.value(w, inner, want),
                shape => self.value(w, shape, want),
            }
        }
        if !self.at.flexible {
            return;
        }
        let mut fields = Vec::new();
        for (spec, shape) in tagged {
            if want == Want::NotDefault || self.rng.below(2) == 0 {
                let mut value = Writer::new();
                self.value(&mut value, shape, Want::NotDefault);
                fields.push((spec.tag.expect("partitioned by it"), value.into_bytes()));
            }
        }
        w.uvarint(fields.len() as u32);
        for (tag, value) in fields {
            w.uvarint(tag);
            w.uvarint(value.len() as u32);
            w.bytes(&value);
        }
    }

    fn number(&mut self, want: Want, min: i64, max: i64) -> i64 {
        if want == Want::NotDefault {
            return 2 + self.rng.below(100) as i64;
        }
        match self.rng.below(8) {
            0 => min,
            1 => max,
            2 => 0,
            3 => (-1).max(min),
            _ => (self.rng.next() as i64).clamp(min, max),
        }
    }

    fn len(&mut self, want: Want, most: u64) -> usize {
        let least = u64::from(want == Want::NotDefault);
        (least + self.rng.below(most)) as usize
    }

    fn text(&mut self, want: Want) -> String {
        // Now and then beyond the one-byte varint.
        let len = if self.rng.below(40) == 0 { 200 } else { self.len(want, 12) };
        (0..len).map(|_| ['a', 'z', '-', '.', '0', 'ö', '√'][self.rng.below(7) as usize]).collect()
    }

    fn length(&self, w: &mut Writer, len: usize, prefix: usize) {
        match (self.at.flexible, prefix) {
            (true, _) => w.uvarint(len as u32 + 1),
            (false, 2) => w.i16(len as i16),
            (false, _) => w.i32(len as i32),
        }
    }
}
