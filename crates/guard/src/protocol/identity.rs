//! The identity of a car: the settings that pilot and guard must agree on before the car moves.

use std::fmt;

use pilotage_config::{ConfigError, Source};

use crate::Limits;

/// Tables and keys of car.toml that both sides must agree on. They include `guard.socket`: after it
/// is edited, the pilot connects to another guard.
const ROOTS: [&str; 5] = ["car.name", "camera.rate", "guard", "actuator", "mixer"];

/// The largest length of an identity as text, in bytes. A longer one is an error in car.toml.
pub const LONGEST_IDENTITY: usize = 16 * 1024;

/// The settings that pilot and guard must agree on: pairs of a key of car.toml and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pairs: Vec<(String, String)>,
}

/// A key whose value differs between pilot and guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key, as in car.toml.
    pub key: String,
    /// The pilot's value; `None` if its file does not have the key.
    pub pilot: Option<String>,
    /// The guard's value; `None` if its file does not have the key.
    pub guard: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| match value {
            Some(value) => value.clone(),
            None => "not set".to_owned(),
        };
        let (pilot, guard) = (value(&self.pilot), value(&self.guard));
        write!(f, "`{}`: pilot {pilot}, guard {guard}", self.key)
    }
}

impl Identity {
    /// The identity of the car that `source` describes.
    ///
    /// # Errors
    /// When the text is longer than [`LONGEST_IDENTITY`].
    pub fn of_file(source: &Source<'_>) -> Result<Self, ConfigError> {
        let identity = Self {
            pairs: source.flatten(&ROOTS),
        };
        match identity.to_text().len() > LONGEST_IDENTITY {
            false => Ok(identity),
            true => Err(source.error(
                "actuator",
                format!(
                    "[guard], [actuator] and [mixer] together are longer than {LONGEST_IDENTITY} \
                     bytes; shorten names and paths"
                ),
            )),
        }
    }

    /// The identity of a simulated car, whose pilot starts the guard with these limits.
    pub fn of_limits(limits: &Limits) -> Self {
        Self {
            pairs: vec![("limits".to_owned(), format!("{:?}", limits.spec()))],
        }
    }

    /// A hash of the identity: FNV-1a, 64 bits
    /// (<https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>). Different identities have the
    /// same hash with a probability of about 2^-64.
    pub fn fingerprint(&self) -> u64 {
        fnv1a(self.to_text().as_bytes())
    }

    /// The value of a key, without the quotes of TOML.
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self.pairs.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.trim_matches('"'))
    }

    /// Lines of `key = value`.
    pub fn to_text(&self) -> String {
        let lines = self.pairs.iter().map(|(key, value)| {
            // A value must be one line. TOML escapes line breaks in strings; others are replaced
            // here.
            format!("{key} = {}\n", value.replace(['\n', '\r'], " "))
        });
        lines.collect()
    }

    /// Parses [`to_text`](Self::to_text); lines without a key are skipped.
    pub fn from_text(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| {
            let (key, value) = line.split_once(" = ")?;
            Some((key.to_owned(), value.to_owned()))
        });
        Self {
            pairs: pairs.collect(),
        }
    }

    /// The keys whose values differ between the pilot's identity (`self`) and the guard's.
    pub fn differences(&self, guard: &Self) -> Vec<Difference> {
        let value = |of: &Self, key: &str| {
            let found = of.pairs.iter().find(|(known, _)| known == key);
            found.map(|(_, value)| value.clone())
        };
        let mut keys: Vec<&String> = self.pairs.iter().map(|(key, _)| key).collect();
        keys.extend(guard.pairs.iter().map(|(key, _)| key));
        keys.sort();
        keys.dedup();
        let differing = keys.into_iter().filter_map(|key| {
            let (pilot, guard) = (value(self, key), value(guard, key));
            (pilot != guard).then(|| Difference {
                key: key.clone(),
                pilot,
                guard,
            })
        });
        differing.collect()
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Identity {
        Identity::of_file(&Source::new("car.toml", text)).unwrap()
    }

    #[test]
    fn comments_order_and_other_tables_make_no_difference() {
        let one = of("[car]\nname = \"a\"\n[guard]\ndeadline_ms = 150\n[engine]\nname = \"x\"\n");
        let two = of("[guard] # slow\ndeadline_ms = 150.0\n[car]\nname = \"a\"\n");
        assert_eq!(one, two);
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_eq!(one.get("car.name"), Some("a"));
        assert_eq!(Identity::from_text(&one.to_text()), one);
    }

    #[test]
    fn each_differing_key_is_named_with_both_values() {
        let pilot = of("[guard]\ndeadline_ms = 150\n[actuator]\nkind = \"dry-run\"\n");
        let guard =
            of("[guard]\ndeadline_ms = 90\n[mixer]\nwheelbase = 0.3\n[actuator]\nkind = \"pwm\"\n");
        assert_ne!(pilot.fingerprint(), guard.fingerprint());
        let found: Vec<String> = pilot
            .differences(&guard)
            .iter()
            .map(Difference::to_string)
            .collect();
        assert_eq!(
            found,
            [
                "`actuator.kind`: pilot \"dry-run\", guard \"pwm\"",
                "`guard.deadline_ms`: pilot 150.0, guard 90.0",
                "`mixer.wheelbase`: pilot not set, guard 0.3",
            ]
        );
    }

    #[test]
    fn an_endless_identity_is_refused() {
        let text = format!("[car]\nname = \"{}\"\n", "x".repeat(LONGEST_IDENTITY));
        assert!(Identity::of_file(&Source::new("car.toml", &text)).is_err());
        // The longest allowed identity is accepted: `car.name = "xxx"` and a line feed.
        let name = "x".repeat(LONGEST_IDENTITY - "car.name = \"\"\n".len());
        let text = format!("[car]\nname = \"{name}\"\n");
        assert_eq!(of(&text).to_text().len(), 16_384);
    }

    #[test]
    fn the_hash_is_fnv_1a() {
        // The draft's test vectors.
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
