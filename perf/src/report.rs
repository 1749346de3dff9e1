//! Reports: tables for terminals, a page for browsers.

pub(crate) mod table;
