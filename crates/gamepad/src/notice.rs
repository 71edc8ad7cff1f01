//! Notices about the gamepad for the operator, each reported once.

use std::fmt;
use std::time::Duration;

use pilotage_vehicle::Time;

use super::axis::{DrivingAxis, Misplaced};
use super::mapping::{AxisName, Button};

/// A notice for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The stop button was not pressed since the gamepad was opened.
    StopNotProven(Button),
    /// The stop button was pressed.
    StopProven,
    /// An axis rests at a wrong position, and drives nothing.
    RestsElsewhere {
        /// The axis.
        axis: AxisName,
        /// Its role.
        role: Role,
        /// Where it rests.
        found: Misplaced,
    },
    /// The dead-man button is held, and an axis is not at rest yet.
    NotAtRest(AxisName),
}

/// The role of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Left and right.
    Steering,
    /// Ahead and back.
    Throttle,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StopNotProven(button) => {
                write!(f, "stop button not tested: press it once ({button})")
            }
            Self::StopProven => write!(f, "stop button works"),
            Self::RestsElsewhere { axis, role, found } => {
                let (place, kind) = match found {
                    Misplaced::AtEnd => ("at its end", "a trigger"),
                    Misplaced::InMiddle => ("in the middle", "a stick"),
                };
                let fix = match (role, found) {
                    (Role::Throttle, Misplaced::AtEnd) => "set throttle_rests = \"end\"",
                    (Role::Throttle, Misplaced::InMiddle) => "set throttle_rests = \"middle\"",
                    (Role::Steering, _) => "name another axis for steering",
                };
                write!(
                    f,
                    "{axis} rests {place}: it is {kind}; {fix} or run `pilotage gamepad`"
                )
            }
            Self::NotAtRest(axis) => write!(
                f,
                "{axis} drives nothing until it is at rest: release it; where it is released, \
                 press the dead-man button again, or raise dead_zone"
            ),
        }
    }
}

/// How long the dead-man button is held before an axis that is not at rest is named.
const REPORT_AFTER: Duration = Duration::from_secs(1);
const ROLES: [Role; 2] = [Role::Steering, Role::Throttle];

/// The notices that were reported already.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noticed {
    stop_not_tested: bool,
    stop_tested: bool,
    elsewhere: [bool; 2],
    pub(super) not_at_rest: bool,
}

impl Noticed {
    /// The stop button needs no notice.
    pub(super) const fn stop_known(&mut self) {
        self.stop_tested = true;
    }

    pub(super) fn stop(&mut self, stop: Button, tested: bool) -> Option<Notice> {
        let noticed = match tested {
            true => &mut self.stop_tested,
            false => &mut self.stop_not_tested,
        };
        (!std::mem::replace(noticed, true)).then_some(match tested {
            true => Notice::StopProven,
            false => Notice::StopNotProven(stop),
        })
    }

    pub(super) fn rests_elsewhere(&mut self, now: Time, axes: [&DrivingAxis; 2]) -> Option<Notice> {
        let each = axes.into_iter().zip(ROLES).zip(&mut self.elsewhere);
        each.into_iter().find_map(|((axis, role), noticed)| {
            let found = axis.rests_elsewhere(now).filter(|_| !*noticed)?;
            *noticed = true;
            let axis = axis.name();
            Some(Notice::RestsElsewhere { axis, role, found })
        })
    }

    pub(super) fn not_at_rest(
        &mut self,
        now: Time,
        locked: Time,
        axes: [&DrivingAxis; 2],
    ) -> Option<Notice> {
        if self.not_at_rest || now.since(locked) < REPORT_AFTER {
            return None;
        }
        let axis = axes.into_iter().find(|axis| !axis.is_free())?;
        self.not_at_rest = true;
        Some(Notice::NotAtRest(axis.name()))
    }
}
