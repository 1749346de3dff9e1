//! What is counted.

use engine::compress::Codec;

use crate::ops::{Op, batch, checksum, codec, fetch, image, log, mesh, producer};

/// One operation to count.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its key in `counts.toml`.
    pub name: &'static str,
    make: fn() -> Op,
}

/// All cases, in the order of the hot path.
pub const CASES: &[Case] = &[
    case("decode/produce/1", || codec::decode_produce(1)),
    case("decode/produce/100", || codec::decode_produce(100)),
    case("encode/produce/1", || codec::encode_produce_answer(1)),
    case("encode/produce/100", || codec::encode_produce_answer(100)),
    case("decode/fetch/10", || codec::decode_fetch(10)),
    case("encode/fetch/10", || codec::encode_fetch_answer(10)),
    case("image/by_name", || image::by_name(1000)),
    case("image/by_id", || image::by_id(1000)),
    case("mesh/there_and_back", mesh::there_and_back),
    case("validate/1x100B", || batch::validate_plain(1, 100)),
    case("validate/100x100B", || batch::validate_plain(100, 100)),
    case("validate/1MiB", || batch::validate_plain(16, 64 << 10)),
    case("validate/1MiB/header", || batch::validate_header(Codec::Lz4, 16, 64 << 10)),
    case("validate/lz4/closed", || batch::validate_closed(Codec::Lz4, 100, 100)),
    case("validate/lz4/opened", || batch::validate_opened(Codec::Lz4, 100, 100)),
    case("producer/next_batch", || producer::next_batch(100)),
    case("checksum/sum_and_copy/64KiB", || checksum::sum_and_copy(64 << 10)),
    case("checksum/block/4KiB", || checksum::sum_of_block(4 << 10)),
    case("log/append/1x100B", || log::append(1, 100)),
    case("log/append/100x100B", || log::append(100, 100)),
    case("log/look_up", log::look_up),
    case("log/read/64KiB", || log::read(64 << 10)),
    case("fetch/assemble/10", || fetch::assemble(10)),
];

/// Repetitions that one count is the mean of: enough that a vector that grows now and then does
/// not make or break it.
pub const REPEATS: u32 = 10;

const fn case(name: &'static str, make: fn() -> Op) -> Case {
    Case { name, make }
}

/// Does the case's operation `REPEATS` times inside of [`counted_by_callgrind`], after as many
/// times outside: what happens once, as asking the CPU for its features, is no part of it.
pub fn run(case: &Case) {
    let mut op = (case.make)();
    for _ in 0..REPEATS {
        op.run();
    }
    counted_by_callgrind(&mut op);
}

/// Callgrind counts from the beginning of this function to its end: it knows it by its name.
#[inline(never)]
fn counted_by_callgrind(op: &mut Op) {
    for _ in 0..REPEATS {
        op.run();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_have_names_of_their_own_and_run() {
        let names: BTreeSet<_> = CASES.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), CASES.len());
        CASES.iter().for_each(run);
    }
}
