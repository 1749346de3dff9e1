//! Every key that can be set: its name, type, default, range and reason.
