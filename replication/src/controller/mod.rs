//! Turns requests into records.

pub mod names;
pub mod place;
mod random;

pub use self::random::Random;
