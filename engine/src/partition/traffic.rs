//! What goes into a partition and comes out of it.

use crate::meter::Counter;

/// Counted where it happens, added up by topic when somebody asks. Starts anew when the partition is
/// opened.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes of batches that a leader appended.
    pub bytes_in: Counter,
    /// Records in them.
    pub records_in: Counter,
    /// Bytes of batches that were read, by whomever.
    pub bytes_out: Counter,
}
