//! One axis that drives: where it rests, and whether it was seen there. Pure: time comes in
//! as an argument.
//!
//! An axis drives nothing until it has been seen at rest since it was last [locked]. Its rest
//! position is its nominal one, the middle or the end, until the axis was seen to stay
//! somewhere close to it; then that place counts as rest too, for few sticks come back to
//! their exact middle.
//!
//! [locked]: DrivingAxis::lock

use std::time::Duration;

use pilotage_vehicle::Time;

use super::config::{Axis, AxisName, Rest};

/// The values that an axis can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The least.
    pub least: i32,
    /// The most.
    pub most: i32,
    /// Deviations from rest up to this one mean nothing, by the kernel's driver.
    pub flat: i32,
}

/// An axis was found where it should not rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misplaced {
    /// At an end, though it should rest in the middle.
    AtEnd,
    /// About the middle, though it should rest at its end.
    InMiddle,
}

/// After so long without moving an axis rests where it is.
pub(super) const SETTLED: Duration = Duration::from_millis(300);
/// No axis rests farther from its nominal rest position, as a share of its way.
const FARTHEST_REST: f32 = 0.15;
/// No dead zone is wider, whatever the kernel's driver says.
const WIDEST_ZONE: f32 = 0.5;
/// Where an axis that should rest at its end is taken for a stick: about its middle.
const ABOUT_THE_MIDDLE: std::ops::RangeInclusive<f32> = 0.25..=0.75;

/// Where an axis has stayed.
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
    /// Within this of its rest position an axis is at rest.
    zone: f32,
    /// -1 to 1 about the middle, or 0 to 1 from the end; unknown until it is reported.
    position: Option<f32>,
    /// The same as it was reported.
    value: i32,
    /// Where it was seen to rest; 0 is the nominal place.
    centre: f32,
    still: Option<Still>,
    /// It was seen at rest since it was locked.
    at_rest: bool,
    /// Where it was found, if not where it should rest.
    misplaced: Option<Misplaced>,
    /// Where it was when the gamepad was taken has been looked at.
    found: bool,
}

impl DrivingAxis {
    pub(super) fn new(axis: Axis, range: Range, dead_zone: f32) -> Self {
        let way = f64::from(range.most) - f64::from(range.least);
        let way = match axis.rest {
            Rest::Middle => way / 2.0,
            Rest::End => way,
        };
        let flat = match way > 0.0 {
            true => (f64::from(range.flat.max(0)) / way) as f32,
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

    /// It drives nothing until it is seen at rest.
    pub(super) const fn lock(&mut self) {
        self.at_rest = false;
    }

    /// Its position is no longer known.
    pub(super) const fn forget(&mut self) {
        self.position = None;
        self.still = None;
        self.lock();
    }

    /// It is at `value`.
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

    /// All of a report has been read. The first one says where the axis is found: what the
    /// kernel knows before it is 0, which no pad has reported.
    pub(super) fn reported(&mut self) {
        if let Some(position) = self.position.filter(|_| !self.found) {
            self.found = true;
            self.misplaced = self.misplaced(position);
        }
        self.settle();
    }

    fn misplaced(&self, position: f32) -> Option<Misplaced> {
        let (Range { least, most, flat }, value) = (self.range, self.value);
        // A flat as wide as the way says nothing of its ends.
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

    /// The dead-man button goes down at `now`, and was up until now: where the axis has
    /// stayed meanwhile, close to its nominal rest position, is where it rests. Then it is
    /// locked. An axis that was misplaced is trusted here alone: a trigger that is squeezed
    /// passes the middle, and must not drive when it is released.
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

    /// Between reports it is where it is known to be: at rest there, it drives from now on.
    pub(super) fn settle(&mut self) {
        let rests = self.position.is_some_and(|position| {
            let (least, most) = self.rest();
            (least..=most).contains(&position)
        });
        self.at_rest |= rests && self.misplaced.is_none();
    }

    /// The positions that count as rest: those about the place where it was seen to rest, the
    /// nominal one and all between, so that a place that was learned wrongly moves nothing
    /// once the axis is released.
    fn rest(&self) -> (f32, f32) {
        let least = self.centre.min(0.0) - self.zone;
        let most = self.centre.max(0.0) + self.zone;
        match self.axis.rest {
            Rest::Middle => (least, most),
            Rest::End => (0.0, most),
        }
    }

    /// It was seen at rest since it was locked.
    pub(super) const fn is_free(&self) -> bool {
        self.at_rest
    }

    /// Where it rests though it should not, once it has stayed there.
    pub(super) fn rests_elsewhere(&self, now: Time) -> Option<Misplaced> {
        let still = self.still?;
        let stays = now.since(still.since) >= SETTLED;
        let away = !(-FARTHEST_REST..=FARTHEST_REST).contains(&self.position?);
        self.misplaced.filter(|_| stays && away)
    }

    /// What it commands: -1 to 1, or 0 to 1 from its end; 0 while it is locked.
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
