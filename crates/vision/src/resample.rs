//! One axis of the resize: the source pixels of each output pixel, and their weights.

pub(crate) use pilotage_engine::resample::WEIGHT_BITS;

/// The greatest shrink factor. Up to it, rounding the weights to [`WEIGHT_BITS`] changes an output
/// by less than half a grey level, by worst-case sums over both axes.
pub(crate) const GREATEST_SHRINK: u32 = 32;

/// The weights of every output pixel along one axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    spans: Vec<Span>,
    weights: Vec<u16>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    first: u32,
    offset: u32,
    taps: u32,
}

impl Axis {
    /// The triangle filter from `source` pixels to `target` pixels, widened by the shrink factor
    /// and centred on half pixels. It equals `precompute_coeffs` of Pillow's
    /// `src/libImaging/Resample.c` with the filter `BILINEAR`.
    ///
    /// The caller has checked the bounds of both lengths and of the shrink factor.
    pub(crate) fn triangle(source: u32, target: u32) -> Self {
        let step = f64::from(source) / f64::from(target);
        let support = step.max(1.0);
        let mut axis = Self {
            spans: Vec::with_capacity(target as usize),
            weights: Vec::new(),
        };
        let mut shares = Vec::new();
        for i in 0..target {
            let centre = (f64::from(i) + 0.5) * step;
            // The casts saturate at zero, and truncate as Pillow's do.
            let first = (centre - support + 0.5) as u32;
            let end = ((centre + support + 0.5) as u32).min(source);
            shares.clear();
            shares.extend((first..end).map(|pixel| {
                let distance = (f64::from(pixel) + 0.5 - centre).abs() / support;
                (1.0 - distance).max(0.0)
            }));
            axis.push(first, &shares);
        }
        axis
    }

    fn push(&mut self, first: u32, shares: &[f64]) {
        let leading = shares.iter().take_while(|&&s| s == 0.0).count();
        let trailing = shares.iter().rev().take_while(|&&s| s == 0.0).count();
        let used = shares.get(leading..shares.len() - trailing).unwrap_or(&[]);
        let total: f64 = used.iter().sum();
        self.spans.push(Span {
            first: first + leading as u32,
            offset: self.weights.len() as u32,
            taps: used.len() as u32,
        });
        // Rounding the running sum instead of each weight makes the total exact. A picture of one
        // colour therefore keeps it.
        let (mut sum, mut before) = (0.0, 0);
        for share in used {
            sum += share;
            let upto = (sum / total * f64::from(1 << WEIGHT_BITS) + 0.5) as u32;
            self.weights.push((upto - before) as u16);
            before = upto;
        }
    }

    /// The same filter for samples that two source pixels share. `odd` means that the first source
    /// pixel is the second of its pair.
    pub(crate) fn paired(&self, odd: bool) -> Self {
        let shift = usize::from(odd);
        let mut axis = Self {
            spans: Vec::with_capacity(self.spans.len()),
            weights: Vec::new(),
        };
        for i in 0..self.len() {
            let (first, weights) = self.taps(i);
            let (start, end) = (first + shift, first + shift + weights.len());
            let samples = start / 2..end.div_ceil(2);
            axis.spans.push(Span {
                first: samples.start as u32,
                offset: axis.weights.len() as u32,
                taps: samples.len() as u32,
            });
            axis.weights.extend(samples.map(|sample| {
                let two = (2 * sample).max(start)..(2 * sample + 2).min(end);
                two.map(|pixel| weights[pixel - start]).sum::<u16>()
            }));
        }
        axis
    }

    /// The number of output pixels.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The first source pixel of output pixel `i`, and the weights of it and the following pixels.
    pub(crate) fn taps(&self, i: usize) -> (usize, &[u16]) {
        let span = self.spans[i];
        let start = span.offset as usize;
        let weights = &self.weights[start..start + span.taps as usize];
        (span.first as usize, weights)
    }
}
