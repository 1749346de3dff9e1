//! The way between two cores, without their threads.

use std::hint::black_box;

use engine::ids::CoreId;
use engine::rt::mesh;

use super::Op;

/// A message to another core and one back: four steps at mailboxes, nobody asleep.
///
/// Messages go through as they are: there is nothing to encode.
#[must_use]
pub fn there_and_back() -> Op {
    let ports: [_; 2] = mesh::<Message>(2, 1024).try_into().expect("one port for each core");
    let mut message: Message = [7; 16];
    Op::new(move || {
        for (from, to) in [(0, 1), (1, 0)] {
            let sent = ports[from].try_send(CoreId(to), black_box(message));
            sent.expect("the other mailbox is empty");
            let (_, received) = ports[usize::from(to)].try_recv().expect("it was sent just now");
            message = received;
        }
    })
}

/// About as large as what the cores of a node send each other.
type Message = [u64; 16];
