//! The real form of the runtime: one thread per core with a glommio executor on it.
//!
//! All I/O on files' contents and all waiting for sockets goes through glommio. glommio 0.9.0 has
//! faults that could each sink a broker. Where each is met:
//!
//! | fault | met by |
//! |---|---|
//! | the executor sleeps with tasks ready | `core::heartbeat`, a preempt timer of 10 ms |
//! | yielding does not look at the rings | `Core::turn` |
//! | a task's panic ends the thread | the fence in `task`, around every task |
//! | a panic in the blocking pool ends its thread | `Core::blocking` |
//! | a cancelled task leaks | tasks are always detached |
//! | a dropped accept loses connections; `TcpListener` shares ports | `net::Accepting` |
//! | polls the disk when the first file it sees is empty | `Core::disable_polling` |
//! | a dropped open loses its descriptor | `op` |
//! | reads past the end, short writes, sizes by path | `file::OpenFile` |
//! | writes whole buffers only | `dma`, `file::OpenFile::copy` |
//! | a truncation in its pool hits whoever has the descriptor by then | `file::OpenFile::truncate` |
//! | sends one slice at a time; no FIN before the next turn | `net::Stream` |
//! | a spawned task runs inside its spawner | `core::spawn` |
//! | the first sleep is slow | `start::live` |
//! | ends the process on an old kernel | `check` |

mod check;
mod core;
pub(super) mod file;
pub(super) mod net;
mod op;
mod start;
#[cfg(test)]
mod tests;

pub(super) use self::core::Core;
pub use check::{StartError, raise_open_files};
pub use start::{CoreExit, CoreSpec, RunningCores, start};
