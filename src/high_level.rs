//! High-level commands: what an operator wants of the network, such as to turn left at the next
//! junction. They are inputs of the network, and move nothing by themselves.

mod socket;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use pilotage_engine::{CommandRule, MOST_COMMANDS};
use pilotage_vehicle::{LONGEST_COMMAND, is_command_name};

pub use socket::{CommandServer, RequestError, ServeError, request};

/// No command is set.
const NONE: u8 = u8::MAX;

/// The known commands, and which of them is set. Reading it neither waits nor allocates.
#[derive(Debug)]
pub struct Commands {
    names: [OnceLock<Box<str>>; MOST_COMMANDS],
    /// Unknown names are added.
    open: bool,
    /// The place of the command that is set.
    place: AtomicU8,
}

/// A command that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The network does not know it.
    #[error("the engine has no command `{name}`: it has {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// It is no name.
    #[error(
        "`{0}` is not the name of a command: lower-case letters, digits, _ and -, at most {LONGEST_COMMAND}"
    )]
    Name(String),
    /// Too many names were used.
    #[error(
        "there are {MOST_COMMANDS} commands already, no more can be recorded in one drive: {0}"
    )]
    TooMany(String),
}

impl Commands {
    /// The commands of a network, its default among them.
    pub fn of(rule: &CommandRule) -> Self {
        let commands = Self::new(false);
        for (slot, name) in commands.names.iter().zip(&rule.values) {
            // Each slot is set once.
            let _ = slot.set(name.as_str().into());
        }
        let place = rule
            .place(&rule.default)
            .and_then(|it| u8::try_from(it).ok());
        commands
            .place
            .store(place.unwrap_or(NONE), Ordering::Relaxed);
        commands
    }

    /// Any commands: for a recording by hand. None is set.
    pub fn any() -> Self {
        Self::new(true)
    }

    fn new(open: bool) -> Self {
        Self {
            names: [const { OnceLock::new() }; MOST_COMMANDS],
            open,
            place: AtomicU8::new(NONE),
        }
    }

    /// Sets a command, which is in force from the next frame on.
    ///
    /// # Errors
    /// If there is no such command.
    pub fn set(&self, name: &str) -> Result<(), CommandError> {
        if !is_command_name(name) {
            return Err(CommandError::Name(name.chars().take(40).collect()));
        }
        let place = self.names.iter().position(|slot| match slot.get() {
            Some(known) => **known == *name,
            // The names have no gaps. Another thread may take the slot at the same time.
            None => self.open && **slot.get_or_init(|| name.into()) == *name,
        });
        match place.and_then(|place| u8::try_from(place).ok()) {
            Some(place) => {
                self.place.store(place, Ordering::Relaxed);
                Ok(())
            }
            None if self.open => Err(CommandError::TooMany(self.known())),
            None => Err(CommandError::Unknown {
                name: name.to_owned(),
                known: self.known(),
            }),
        }
    }

    /// Sets the command at a place of the rule's values.
    pub fn choose(&self, place: usize) {
        let place = u8::try_from(place).unwrap_or(NONE);
        self.place.store(place, Ordering::Relaxed);
    }

    /// The place of the command that is set.
    pub fn place(&self) -> Option<u8> {
        let place = self.place.load(Ordering::Relaxed);
        (place != NONE).then_some(place)
    }

    /// The name at a place.
    pub fn name(&self, place: u8) -> Option<&str> {
        let slot = self.names.get(usize::from(place))?;
        slot.get().map(|name| &**name)
    }

    /// The command that is set.
    pub fn present(&self) -> Option<&str> {
        self.name(self.place()?)
    }

    fn known(&self) -> String {
        let names = self.names.iter().filter_map(OnceLock::get);
        let names: Vec<&str> = names.map(|name| &**name).collect();
        names.join(", ")
    }
}

/// Sets the command whose button was pressed: the one at `place` of the gamepad's `buttons`. What cannot
/// be set is reported to `say`.
pub fn press<B>(
    commands: Option<&Commands>,
    buttons: &[(String, B)],
    place: Option<usize>,
    say: &impl Fn(&str),
) {
    let button = place.and_then(|place| buttons.get(place));
    let (Some(commands), Some((name, _))) = (commands, button) else {
        return;
    };
    if let Err(error) = commands.set(name) {
        say(&error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule() -> CommandRule {
        CommandRule {
            input: "turn".to_owned(),
            values: ["left", "straight", "right"].map(str::to_owned).to_vec(),
            default: "straight".to_owned(),
            encoding: pilotage_engine::CommandEncoding::OneHot,
        }
    }

    #[test]
    fn the_commands_of_a_network_are_its_values() {
        let commands = Commands::of(&rule());
        assert_eq!(
            (commands.place(), commands.present()),
            (Some(1), Some("straight"))
        );
        commands.set("right").unwrap();
        assert_eq!(
            (commands.place(), commands.present()),
            (Some(2), Some("right"))
        );
        let error = commands.set("back").unwrap_err().to_string();
        assert!(error.contains("left, straight, right"), "{error}");
        assert!(matches!(
            commands.set("Go left"),
            Err(CommandError::Name(_))
        ));
        assert_eq!(commands.present(), Some("right"));
        commands.choose(0);
        assert_eq!(commands.present(), Some("left"));
    }

    #[test]
    fn by_hand_any_name_is_a_command_up_to_a_limit() {
        let commands = Commands::any();
        assert_eq!(commands.present(), None);
        for index in 0..MOST_COMMANDS {
            commands.set(&format!("way-{index}")).unwrap();
            assert_eq!(commands.place(), Some(index as u8));
        }
        assert!(matches!(
            commands.set("more"),
            Err(CommandError::TooMany(_))
        ));
        commands.set("way-3").unwrap();
        assert_eq!(
            (commands.place(), commands.present()),
            (Some(3), Some("way-3"))
        );
    }
}
