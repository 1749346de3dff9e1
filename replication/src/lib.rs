//! Agreement between brokers as pure state machines: `(now, event)` in, effects out.
