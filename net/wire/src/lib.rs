//! The Kafka wire protocol and the schemas of what Kafka persists: no I/O, no unsafe.
//!
//! ```text
//! socket bytes ─ frame ─ header ─ msg::<api>        requests and responses, borrowed
//! log bytes ──────────────────── record::<family>   what Kafka persists, owned
//!                  └── schema (`wire!`) over cursor / writer / primitives / list
//! ```
//!
//! Everything a peer can send is hostile until decoded: reads are bounds-checked, a declared
//! length is compared with the bytes at hand before anything is done with it, and decoding a
//! request allocates nothing at all (see [`list::List`]).

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod api_key;
pub mod cursor;
pub mod error;
pub mod error_code;
pub mod frame;
pub mod header;
pub mod list;
pub mod msg;
pub mod primitives;
pub mod record;
pub mod schema;
pub mod writer;
