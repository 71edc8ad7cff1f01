//! How weights are stored while an engine runs: as requested of it, and as chosen for a layer.

/// How the weights of INT8 layers are stored while an engine runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightStorage {
    /// Compressed where that is faster: large fully connected layers whose weights have few
    /// different values, few bits or many zeros.
    #[default]
    Fastest,
    /// A byte for each weight, for comparisons.
    Dense,
    /// Compressed also where the layer is small, for tests.
    Compressed,
}

/// How the weights of a layer are stored while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A byte for each weight.
    Dense,
    /// A 4-bit index into a codebook of the row.
    Clustered,
    /// A 4-bit integer, times a scale of the group.
    Int4,
    /// A bit for each weight, and the weights that are not 0.
    Sparse,
}

impl Stored {
    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dense => "dense",
            Self::Clustered => "clustered",
            Self::Int4 => "int4",
            Self::Sparse => "sparse",
        }
    }
}
