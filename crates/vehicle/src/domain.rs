use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of car that an engine was trained for, or that an actuator moves. An engine that was
/// trained in the simulator never arms a physical actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// The simulator's car. Also the domain of a dry-run actuator, which moves nothing.
    Simulated,
    /// A physical car.
    Physical,
}

/// A text that is not the name of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `simulated` or `physical`")]
pub struct UnknownDomain;

impl Domain {
    /// The name in files and on the command line, which [`FromStr`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Physical => "physical",
        }
    }
}

impl FromStr for Domain {
    type Err = UnknownDomain;

    fn from_str(name: &str) -> Result<Self, UnknownDomain> {
        let all = [Self::Simulated, Self::Physical];
        let found = all.into_iter().find(|domain| domain.name() == name);
        found.ok_or(UnknownDomain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_one_name() {
        assert_eq!("simulated".parse(), Ok(Domain::Simulated));
        assert_eq!("physical".parse(), Ok(Domain::Physical));
        for domain in [Domain::Simulated, Domain::Physical] {
            assert_eq!(domain.name().parse(), Ok(domain));
        }
        for other in ["", "Physical", "physical ", "moon"] {
            assert_eq!(other.parse::<Domain>(), Err(UnknownDomain), "{other}");
        }
    }
}
