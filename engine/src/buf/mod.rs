//! Memory that crosses cores without being copied.
//!
//! A region (an append chunk, a window of a cold file, a socket frame) belongs to the pool of the
//! core that took it. [`Slice`]s of it travel anywhere; each holds one reference on the region's
//! token, and the owner reuses the memory only once the token is its own again. There is no queue
//! back and no lock: the owner looks at the tokens of what it has let go of ([`LeasePool::reap`])
//! whenever it needs memory.

mod chunk;
mod frame;
mod lease;
mod slice;

pub use chunk::{Chunk, ChunkPool};
pub use frame::{FrameBuf, FramePool};
pub use lease::PoolUsage;
pub use slice::Slice;

pub(crate) use chunk::BLOCK;
