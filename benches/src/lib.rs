//! Micro-benchmarks of the hot path live in `benches/`.
