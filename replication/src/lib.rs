//! Agreement between brokers: KRaft metadata as pure state machines.
//!
//! Nothing here opens a file, a socket or a clock. Every machine takes `(now, event)` and returns
//! effects; the shell (`net`) appends, syncs, sends and sleeps.
//!
//! ```text
//!  request ──▶ controller ──records──▶ (shell appends to __cluster_metadata-0) ──synced──▶ quorum
//!                  ▲                                                                        │
//!                  └───────────── image ◀── loader ◀── records up to the high watermark ◀───┘
//! ```
//!
//! - [`record`]: metadata records as the bytes of one batch.
//! - [`image`]: the cluster's state, an immutable function of the records.
//! - [`quorum`]: who leads the metadata log, in which epoch, and what of it is committed.
//! - [`controller`]: turns requests into records, on the image as it will be once they commit.
//! - [`features`]: the feature levels known here, and what they change.
//! - [`cores`]: which core of this node owns which partition.

pub mod controller;
pub mod cores;
pub mod features;
pub mod image;
pub mod quorum;
pub mod record;
