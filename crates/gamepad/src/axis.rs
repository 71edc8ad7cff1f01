//! One driving axis: its rest position, and whether it was seen at rest. Pure: time is passed as an
//! argument.
//!
//! An axis drives nothing until it has been seen at rest since it was last [locked]. Its rest
//! position is the nominal one, the middle or the end, until the axis was seen to stay at a
//! position close to it. That position then counts as rest too, because few sticks return to their
//! exact middle.
//!
//! [locked]: DrivingAxis::lock

use std::time::Duration;

use pilotage_vehicle::Time;

use super::mapping::{Axis, AxisName, Rest};

/// The range of an axis' values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least value.
    pub least: i32,
    /// The largest value.
    pub most: i32,
    /// The kernel driver's `flat`: deviations from rest up to this one are ignored.
    pub flat: i32,
}

/// An axis was found at an unexpected rest position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// At an end, though it should rest in the middle.
    AtEnd,
    /// Near the middle, though it should rest at its end.
    InMiddle,
}

/// An axis that has not moved for this long rests at its position.
pub(super) const SETTLED: Duration = Duration::from_millis(300);
/// The largest distance of a rest position from the nominal one, as a share of the axis' travel.
const FARTHEST_REST: f32 = 0.15;
/// The widest dead zone, whatever the kernel's driver reports.
const WIDEST_ZONE: f32 = 0.5;
/// The positions at which an axis that should rest at its end is taken for a stick.
const ABOUT_THE_MIDDLE: std::ops::RangeInclusive<f32> = 0.25..=0.75;

/// The position at which an axis has stayed.
#[derive(Debug, Clone, Copy)]
struct Still {
    position: f32,
    since: Time,
}

/// An axis that drives.
#[derive(Debug, Clone)]
pub(super) struct DrivingAxis {
    axis: Axis,
    range: Range,
    /// The axis is at rest within this distance of its rest position.
    zone: f32,
    /// -1 to 1 around the middle, or 0 to 1 from the end; `None` until it is reported.
    position: Option<f32>,
    /// The position as it was reported.
    value: i32,
    /// The rest position that was learned; 0 is the nominal one.
    centre: f32,
    still: Option<Still>,
    /// The axis was seen at rest since it was locked.
    at_rest: bool,
    /// The position at which the axis was found, if it is not a valid rest position.
    misplaced: Option<Misplaced>,
    /// The position at which the gamepad was opened has been checked.
    found: bool,
}

impl DrivingAxis {
    pub(super) fn new(axis: Axis, range: Range, dead_zone: f32) -> Self {
        let travel = f64::from(range.most) - f64::from(range.least);
        let travel = match axis.rest {
            Rest::Middle => travel / 2.0,
            Rest::End => travel,
        };
        let flat = match travel > 0.0 {
            true => (f64::from(range.flat.max(0)) / travel) as f32,
            false => 0.0,
        };
        Self {
            axis,
            range,
            zone: dead_zone.max(flat).min(WIDEST_ZONE),
            position: None,
            value: 0,
            centre: 0.0,
            still: None,
            at_rest: false,
            misplaced: None,
            found: false,
        }
    }

    pub(super) const fn name(&self) -> AxisName {
        self.axis.axis
    }

    /// Locks the axis: it drives nothing until it is seen at rest.
    pub(super) const fn lock(&mut self) {
        self.at_rest = false;
    }

    /// Forgets the position, which is no longer known.
    pub(super) const fn forget(&mut self) {
        self.position = None;
        self.still = None;
        self.lock();
    }

    /// Sets the reported `value`.
    pub(super) fn set(&mut self, now: Time, value: i32) {
        let (least, most) = (f64::from(self.range.least), f64::from(self.range.most));
        if most <= least {
            return;
        }
        let share = ((f64::from(value) - least) / (most - least)).clamp(0.0, 1.0) as f32;
        let position = match self.axis.rest {
            Rest::Middle => 2.0 * share - 1.0,
            Rest::End => share,
        };
        self.position = Some(position);
        self.value = value;
        let moved = |still: Still| (position - still.position).abs() > self.zone;
        if self.still.is_none_or(moved) {
            self.still = Some(Still {
                position,
                since: now,
            });
        }
    }

    /// A report is complete. The first report shows where the axis was found: before it the
    /// kernel's value is 0, which no gamepad has reported.
    pub(super) fn reported(&mut self) {
        if let Some(position) = self.position.filter(|_| !self.found) {
            self.found = true;
            self.misplaced = self.misplaced(position);
        }
        self.settle();
    }

    fn misplaced(&self, position: f32) -> Option<Misplaced> {
        let (Range { least, most, flat }, value) = (self.range, self.value);
        // If the flat is as wide as the travel, it cannot be used to detect the ends.
        let flat = match self.zone < WIDEST_ZONE {
            true => flat.max(0),
            false => 0,
        };
        let at_end = value <= least.saturating_add(flat) || value >= most.saturating_sub(flat);
        match self.axis.rest {
            Rest::Middle => at_end.then_some(Misplaced::AtEnd),
            Rest::End => ABOUT_THE_MIDDLE
                .contains(&position)
                .then_some(Misplaced::InMiddle),
        }
    }

    /// The dead-man button was up until `now`, and goes down. If the axis stayed near its nominal
    /// rest position meanwhile, this position becomes its rest position. Then the axis is locked.
    /// Only here a misplaced axis becomes valid again: a squeezed trigger passes the middle, and
    /// must not drive when it is released.
    pub(super) fn pressed(&mut self, now: Time) {
        let near = |position: f32| position.abs() <= FARTHEST_REST;
        if let (Some(position), Some(still)) = (self.position, self.still)
            && near(position)
            && now.since(still.since) >= SETTLED
        {
            self.centre = position;
            self.misplaced = None;
        }
        self.lock();
    }

    /// Between reports the axis is at its known position: if it is at rest there, it may drive from
    /// now on.
    pub(super) fn settle(&mut self) {
        let rests = self.position.is_some_and(|position| {
            let (least, most) = self.rest();
            (least..=most).contains(&position)
        });
        self.at_rest |= rests && self.misplaced.is_none();
    }

    /// The positions that count as rest: around the learned rest position, around the nominal one,
    /// and all between, so that a wrongly learned position moves nothing once the axis is released.
    fn rest(&self) -> (f32, f32) {
        let least = self.centre.min(0.0) - self.zone;
        let most = self.centre.max(0.0) + self.zone;
        match self.axis.rest {
            Rest::Middle => (least, most),
            Rest::End => (0.0, most),
        }
    }

    /// The axis was seen at rest since it was locked.
    pub(super) const fn is_free(&self) -> bool {
        self.at_rest
    }

    /// The wrong position at which the axis rests, once it has stayed there.
    pub(super) fn rests_elsewhere(&self, now: Time) -> Option<Misplaced> {
        let still = self.still?;
        let stays = now.since(still.since) >= SETTLED;
        let away = !(-FARTHEST_REST..=FARTHEST_REST).contains(&self.position?);
        self.misplaced.filter(|_| stays && away)
    }

    /// The command: -1 to 1, or 0 to 1 from the end; 0 while the axis is locked.
    pub(super) fn command(&self) -> f32 {
        let Some(position) = self.position.filter(|_| self.at_rest) else {
            return 0.0;
        };
        let (least, most) = self.rest();
        let command = if position > most {
            (position - most) / (1.0 - most)
        } else if position < least {
            (position - least) / (1.0 + least)
        } else {
            0.0
        };
        let command = command.clamp(-1.0, 1.0);
        if self.axis.inverted {
            -command
        } else {
            command
        }
    }
}
