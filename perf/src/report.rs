//! Reports: tables for terminals, a page for browsers.

pub(crate) mod html;
mod svg;
pub(crate) mod table;
