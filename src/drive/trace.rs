//! The commands of a drive over time, in memory of a fixed size.

/// The largest number of spans: more than a picture is wide.
const MOST: usize = 4096;

/// The commands of an interval of time: their least and greatest values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// The time of its first command, seconds since the start.
    pub start: f64,
    /// Least and greatest steering, -1 (full right) to 1 (full left).
    pub steering: [f32; 2],
    /// Least and greatest throttle, -1 to 1.
    pub throttle: [f32; 2],
    /// The guard let a command of this interval drive the car.
    pub driving: bool,
}

impl Span {
    fn join(self, other: Self) -> Self {
        let both = |a: [f32; 2], b: [f32; 2]| [a[0].min(b[0]), a[1].max(b[1])];
        Self {
            start: self.start.min(other.start),
            steering: both(self.steering, other.steering),
            throttle: both(self.throttle, other.throttle),
            driving: self.driving || other.driving,
        }
    }
}

/// Collects commands. When its memory is full, neighbouring spans are joined: the resolution
/// halves, and no extreme is lost. Adding a command allocates nothing.
#[derive(Debug, Clone)]
pub struct Trace {
    spans: Vec<Span>,
    /// Commands per span.
    every: u32,
    /// Commands in the last span.
    count: u32,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            spans: Vec::with_capacity(MOST),
            every: 1,
            count: 1,
        }
    }
}

impl Trace {
    /// Adds the command that was sent `seconds` after the start.
    pub fn add(&mut self, seconds: f64, driving: bool, (steering, throttle): (f32, f32)) {
        let span = Span {
            start: seconds,
            steering: [steering; 2],
            throttle: [throttle; 2],
            driving,
        };
        match self.spans.last_mut() {
            Some(last) if self.count < self.every => {
                *last = last.join(span);
                self.count += 1;
            }
            _ => {
                if self.spans.len() == MOST {
                    self.halve();
                }
                self.spans.push(span);
                self.count = 1;
            }
        }
    }

    fn halve(&mut self) {
        let half = self.spans.len() / 2;
        for i in 0..half {
            self.spans[i] = self.spans[2 * i].join(self.spans[2 * i + 1]);
        }
        self.spans.truncate(half);
        self.every = self.every.saturating_mul(2);
    }

    /// The spans, in the order of time.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_extreme_is_lost_and_memory_is_bounded(
            values in proptest::collection::vec((-1.0_f32..=1.0, -1.0_f32..=1.0), 1..20_000),
        ) {
            let mut trace = Trace::default();
            for (i, &values) in values.iter().enumerate() {
                trace.add(i as f64, i % 7 == 0, values);
            }
            let spans = trace.spans();
            prop_assert!(spans.len() <= MOST && trace.spans.capacity() == MOST);
            prop_assert!(spans.windows(2).all(|pair| pair[0].start < pair[1].start));
            // Each command is within the span of its time, and each span's extremes are commands'.
            let of = |i: usize| &values[i..];
            for (index, span) in spans.iter().enumerate() {
                let next = spans.get(index + 1);
                let count = next.map_or(values.len(), |next| next.start as usize)
                    - span.start as usize;
                let own = &of(span.start as usize)[..count];
                let least = |pick: fn(&(f32, f32)) -> f32| {
                    own.iter().map(pick).fold(f32::INFINITY, f32::min)
                };
                let most = |pick: fn(&(f32, f32)) -> f32| {
                    own.iter().map(pick).fold(f32::NEG_INFINITY, f32::max)
                };
                prop_assert_eq!(span.steering, [least(|v| v.0), most(|v| v.0)]);
                prop_assert_eq!(span.throttle, [least(|v| v.1), most(|v| v.1)]);
            }
        }
    }
}
