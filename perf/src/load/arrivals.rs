//! When an open-loop load sends, decided beforehand and not by how fast answers come.

use super::template::Noise;
use crate::workload::Arrival;

/// An endless list of intended times.
#[derive(Debug)]
pub(crate) struct Arrivals {
    /// From the start: nanoseconds since 1970 don't fit a float.
    next_ns: f64,
    mean_gap_ns: f64,
    arrival: Arrival,
    noise: Noise,
}

impl Arrivals {
    /// `rate` a second; `part` of `parts` equal shares of a load, out of step with each other.
    pub(crate) fn new(rate: f64, arrival: Arrival, (part, parts): (usize, usize)) -> Self {
        let mean_gap_ns = 1e9 / rate * parts as f64;
        let first = mean_gap_ns * part as f64 / parts as f64;
        let noise = Noise(0x5851_f42d_4c95_7f2d ^ ((part as u64 + 1) << 20));
        Self { next_ns: first, mean_gap_ns, arrival, noise }
    }

    /// The next intended time, nanoseconds after the start.
    pub(crate) fn peek(&self) -> u64 {
        self.next_ns as u64
    }

    /// Moves on to the one after it.
    pub(crate) fn advance(&mut self) {
        self.next_ns += match self.arrival {
            Arrival::Even => self.mean_gap_ns,
            Arrival::Poisson => {
                let uniform = (self.noise.next() >> 11) as f64 / (1_u64 << 53) as f64;
                -self.mean_gap_ns * (1.0 - uniform).ln()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_and_shares_add_up() {
        for arrival in [Arrival::Even, Arrival::Poisson] {
            let mut total = 0;
            for part in 0..3 {
                let mut arrivals = Arrivals::new(10_000.0, arrival, (part, 3));
                while arrivals.peek() < 2_000_000_000 {
                    arrivals.advance();
                    total += 1;
                }
            }
            assert!((19_000..21_000).contains(&total), "{arrival:?}: {total}");
        }
    }
}
