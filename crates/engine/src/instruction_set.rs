//! The instruction sets that an engine can use.

use std::fmt;
use std::str::FromStr;

/// The vector instructions that the hot kernels use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InstructionSet {
    /// Plain loops without fused multiply-adds: the reference. Available on every
    /// machine.
    Scalar,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX2, FMA and AVX-VNNI.
    AvxVnni,
    /// x86-64 with AVX-512 F and VL.
    Avx512,
    /// x86-64 with AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
    /// aarch64.
    Neon,
    /// aarch64 with the dot product of Armv8.2.
    NeonDotprod,
    /// aarch64 with the dot product and the INT8 matrix product of Armv8.6.
    NeonI8mm,
}

impl InstructionSet {
    /// All instruction sets, the fastest first.
    pub const ALL: [Self; 8] = [
        Self::Avx512Vnni,
        Self::Avx512,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonI8mm,
        Self::NeonDotprod,
        Self::Neon,
        Self::Scalar,
    ];

    /// Whether the machine has the instruction set.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available()
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::NeonDotprod.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            _ => false,
        }
    }

    /// The instruction sets of the machine, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.is_available())
    }

    /// The fastest instruction set of the machine.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Scalar)
    }

    /// The name on the command line, which [`FromStr`] parses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::AvxVnni => "avx-vnni",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Neon => "neon",
            Self::NeonDotprod => "neon-dotprod",
            Self::NeonI8mm => "neon-i8mm",
        }
    }
}

/// An instruction set that this machine has. [`new`](Self::new) asks the machine and nothing else
/// makes a value, so that code chosen by one may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available(InstructionSet);

impl Available {
    /// `None` if the machine lacks the instruction set.
    pub(crate) fn new(set: InstructionSet) -> Option<Self> {
        set.is_available().then_some(Self(set))
    }

    pub(crate) fn set(self) -> InstructionSet {
        self.0
    }

    /// Whether the set is AVX-512 VNNI and the machine also has AVX-512 VBMI2, which expands bytes
    /// by a mask, and POPCNT.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn expands_bytes(self) -> bool {
        self.0 == InstructionSet::Avx512Vnni
            && is_x86_feature_detected!("avx512vbmi2")
            && is_x86_feature_detected!("popcnt")
    }

    /// NEON i8mm includes the dot product. The other sets are unchanged.
    pub(crate) fn without_i8mm(self) -> Self {
        match self.0 {
            InstructionSet::NeonI8mm => Self(InstructionSet::NeonDotprod),
            _ => self,
        }
    }
}

/// The names of the machine's instruction sets, for messages.
pub(crate) fn those_here() -> String {
    let names: Vec<_> = InstructionSet::available().map(|set| set.name()).collect();
    names.join(", ")
}

/// No instruction set has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no instruction set `{name}`; this machine has {}",
    those_here()
)]
pub struct UnknownInstructionSet {
    /// The unknown name.
    pub name: String,
}

impl FromStr for InstructionSet {
    type Err = UnknownInstructionSet;

    fn from_str(name: &str) -> Result<Self, UnknownInstructionSet> {
        let found = Self::ALL.into_iter().find(|set| set.name() == name);
        found.ok_or_else(|| UnknownInstructionSet { name: name.into() })
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "AVX2",
            Self::AvxVnni => "AVX-VNNI",
            Self::Avx512 => "AVX-512",
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::Neon => "NEON",
            Self::NeonDotprod => "NEON dotprod",
            Self::NeonI8mm => "NEON i8mm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_parse_and_unknown_names_list_what_is_available() {
        for set in InstructionSet::ALL {
            assert_eq!(set.name().parse(), Ok(set));
        }
        let error = "mmx".parse::<InstructionSet>().unwrap_err().to_string();
        assert!(error.contains("`mmx`"), "{error}");
        for set in InstructionSet::available() {
            assert!(error.contains(set.name()), "{error}");
        }
    }
}
