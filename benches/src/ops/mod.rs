//! Operations of the hot path that need no runtime, or only the simulated one.
//!
//! Each is made with all its inputs, and costs the same every time it is repeated: what one
//! repetition uses up, as an offset or a sequence, the next finds moved on.

pub mod batch;
pub mod checksum;
pub mod codec;
pub mod fetch;
pub mod image;
pub mod log;
pub mod mesh;
pub mod producer;

use std::fmt;

/// One operation with its inputs.
pub struct Op {
    run: Box<dyn FnMut()>,
    bytes: usize,
}

impl Op {
    fn new(run: impl FnMut() + 'static) -> Self {
        Self { run: Box::new(run), bytes: 0 }
    }

    /// Says how many bytes the operation is about.
    fn over(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Does it once.
    pub fn run(&mut self) {
        (self.run)();
    }

    /// The bytes that it is about; 0 where its cost does not come from bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({} bytes)", self.bytes)
    }
}
