//! High-level commands: what an operator wants of a policy, such as to turn left at the next junction.

/// The longest name of a high-level command, bytes.
pub const LONGEST_COMMAND: usize = 24;

/// Whether `name` can be that of a high-level command: lower-case letters, digits, `_` and `-`.
pub fn is_command_name(name: &str) -> bool {
    let allowed = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_-".contains(&it);
    (1..=LONGEST_COMMAND).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands_are_short_words() {
        for name in ["left", "turn-2", "a_b", &"x".repeat(LONGEST_COMMAND)] {
            assert!(is_command_name(name), "{name}");
        }
        for name in [
            "",
            "Left",
            "go left",
            "ä",
            "a,b",
            &"x".repeat(LONGEST_COMMAND + 1),
        ] {
            assert!(!is_command_name(name), "{name}");
        }
    }
}
