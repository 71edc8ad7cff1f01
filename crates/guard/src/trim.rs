//! Finding a car's centre and ends: one number after the other is tried at the motors.

use std::fmt;
use std::time::Duration;

use pilotage_vehicle::Time;

use crate::actuators::{ActuatorSettings, Kind, Motors, OpenError, VescSettings};
use crate::{Actuator, ActuatorError, GuardedCar, Mode, Output};

/// A number that a person looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Straight ahead.
    Centre,
    /// Full left.
    Left,
    /// Full right.
    Right,
    /// The motor stands.
    Neutral,
}

impl Point {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 4] = [Self::Centre, Self::Left, Self::Right, Self::Neutral];
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Centre => "straight ahead",
            Self::Left => "full left",
            Self::Right => "full right",
            Self::Neutral => "the motor's neutral",
        })
    }
}

/// What is tried: microseconds of a pulse, or thousandths of a VESC's servo range.
pub type Value = u16;

/// A car whose numbers are looked for. It holds the motors, so no guard can run beside.
pub struct Trim {
    motors: Motors,
    settings: ActuatorSettings,
    car: GuardedCar,
}

/// Why nothing can be tried.
#[derive(Debug, thiserror::Error)]
pub enum TrimError {
    /// The motors are not there, or a guard holds them.
    #[error("{0} (a guard that runs as a service: `systemctl stop pilotage-guard`)")]
    Open(#[from] OpenError),
    /// They have nothing to be found.
    #[error("`actuator.kind` is `{0}`, which has no centre and no ends to look for")]
    Nothing(Kind),
    /// They did not take a value.
    #[error(transparent)]
    Write(#[from] ActuatorError),
}

/// Shortest and longest pulse that is tried, microseconds.
const PULSES: (Value, Value) = (400, 2600);
/// The ends of a VESC's servo range, thousandths.
const SERVO: (Value, Value) = (0, 1000);

impl Trim {
    /// Takes the motors of `car`, and leaves them disarmed.
    ///
    /// # Errors
    /// When they are not there, held by a guard, or have nothing to be found.
    pub fn start(car: &GuardedCar, now: Time) -> Result<Self, TrimError> {
        let settings = car.actuator.clone();
        if table(&settings, Point::Centre).is_none() {
            return Err(TrimError::Nothing(settings.kind));
        }
        let motors = Motors::open(&settings, Duration::ZERO)?;
        let mut trim = Self {
            motors,
            settings,
            car: car.clone(),
        };
        trim.rest(now)?;
        Ok(trim)
    }

    /// The numbers there are to be found with these motors.
    pub fn points(&self) -> impl Iterator<Item = Point> {
        let settings = self.settings.clone();
        let there = move |point: &Point| table(&settings, *point).is_some();
        Point::ALL.into_iter().filter(there)
    }

    /// What a point is now.
    pub fn value(&self, point: Point) -> Value {
        let mut settings = self.settings.clone();
        slot(&mut settings, point).map_or(0, |slot| slot.get())
    }

    /// What is tried at a point: from, to.
    pub fn range(&self) -> (Value, Value) {
        match self.settings.kind {
            Kind::Vesc => SERVO,
            _ => PULSES,
        }
    }

    /// Where the number is written in car.toml: tables, then the key.
    pub fn key(&self, point: Point) -> Option<[&'static str; 4]> {
        table(&self.settings, point)
    }

    /// Takes `value` for `point`, and shows it: the servo there, the motor at neutral.
    ///
    /// # Errors
    /// When the motors do not take it.
    pub fn show(&mut self, now: Time, point: Point, value: Value) -> Result<(), TrimError> {
        let (least, most) = self.range();
        if let Some(mut slot) = slot(&mut self.settings, point) {
            slot.set(value.clamp(least, most));
        }
        self.motors.adjust(&self.settings);
        let steering = match point {
            Point::Left => 1.0,
            Point::Right => -1.0,
            Point::Centre | Point::Neutral => 0.0,
        };
        let output = Output {
            mode: Mode::Drive,
            steering,
            throttle: 0.0,
        };
        Ok(self.motors.write(now, &output)?)
    }

    /// Leaves the motors disarmed.
    ///
    /// # Errors
    /// When they do not take it.
    pub fn rest(&mut self, now: Time) -> Result<(), TrimError> {
        Ok(self
            .motors
            .write(now, &Output::disarmed(&self.car.limits))?)
    }
}

/// Where a number is written.
fn table(settings: &ActuatorSettings, point: Point) -> Option<[&'static str; 4]> {
    let (kind, servo) = match settings.kind {
        Kind::Pca9685 => ("pca9685", settings.pca9685.as_ref()?.steering.is_some()),
        Kind::Pwm => ("pwm", settings.pwm.is_some()),
        Kind::Vesc => {
            settings.vesc.as_ref()?;
            return match point {
                Point::Centre => Some(["actuator", "vesc", "", "centre"]),
                Point::Left => Some(["actuator", "vesc", "", "left"]),
                Point::Right => Some(["actuator", "vesc", "", "right"]),
                Point::Neutral => None,
            };
        }
        Kind::Simulator | Kind::DryRun => return None,
    };
    let (table, key) = match point {
        Point::Centre => ("steering", "centre_us"),
        Point::Left => ("steering", "left_us"),
        Point::Right => ("steering", "right_us"),
        Point::Neutral => ("throttle", "neutral_us"),
    };
    servo.then_some(["actuator", kind, table, key])
}

/// A number in the settings.
enum Slot<'a> {
    Micros(&'a mut u16),
    Share(&'a mut f32),
}

impl Slot<'_> {
    fn get(&self) -> Value {
        match self {
            Self::Micros(micros) => **micros,
            Self::Share(share) => (**share * 1000.0).round() as Value,
        }
    }

    fn set(&mut self, value: Value) {
        match self {
            Self::Micros(micros) => **micros = value,
            Self::Share(share) => **share = f32::from(value) / 1000.0,
        }
    }
}

fn slot(settings: &mut ActuatorSettings, point: Point) -> Option<Slot<'_>> {
    let (steering, throttle) = match settings.kind {
        Kind::Pca9685 => {
            let chip = settings.pca9685.as_mut()?;
            (chip.steering.as_mut()?, chip.throttle.as_mut()?)
        }
        Kind::Pwm => {
            let pins = settings.pwm.as_mut()?;
            (&mut pins.steering, &mut pins.throttle)
        }
        Kind::Vesc => return of_vesc(settings.vesc.as_mut()?, point),
        Kind::Simulator | Kind::DryRun => return None,
    };
    Some(Slot::Micros(match point {
        Point::Centre => &mut steering.centre_us,
        Point::Left => &mut steering.left_us,
        Point::Right => &mut steering.right_us,
        Point::Neutral => &mut throttle.neutral_us,
    }))
}

fn of_vesc(vesc: &mut VescSettings, point: Point) -> Option<Slot<'_>> {
    Some(Slot::Share(match point {
        Point::Centre => &mut vesc.centre,
        Point::Left => &mut vesc.left,
        Point::Right => &mut vesc.right,
        Point::Neutral => return None,
    }))
}
