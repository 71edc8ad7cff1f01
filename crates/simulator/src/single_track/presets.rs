//! Known cars.

use super::{Brakes, Motor, SingleTrack, Steering};

/// A car whose parameters are known, or were estimated, from published ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A 1:10 Donkeycar on a Tamiya TT-02 chassis, 1.9 kg, up to 8 m/s
    Donkeycar,
    /// The F1TENTH (RoboRacer) car of the F1TENTH gym, 3.74 kg, up to 19 m/s
    F1tenth,
    /// A racing kart with its driver's weight, 165 kg, up to 30 m/s
    Kart,
}

impl Preset {
    /// Every preset, with its name.
    pub const ALL: [(&'static str, Self); 3] = [
        ("donkeycar", Self::Donkeycar),
        ("f1tenth", Self::F1tenth),
        ("kart", Self::Kart),
    ];

    /// The preset's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Donkeycar => "donkeycar",
            Self::F1tenth => "f1tenth",
            Self::Kart => "kart",
        }
    }

    /// The coefficient of friction that the preset's parameters were found with.
    pub const fn friction(self) -> f64 {
        self.dynamics().friction
    }

    /// The preset's dynamics, with its own coefficient of friction.
    pub const fn dynamics(self) -> SingleTrack {
        match self {
            Self::Donkeycar => DONKEYCAR,
            Self::F1tenth => F1TENTH,
            Self::Kart => KART,
        }
    }
}

/// Mass, wheelbase (257 mm) and permanent four-wheel drive are those of a TT-02 with a Donkeycar's
/// load. Friction 0.9, the tyres' stiffness (B C mu = 5.0 * 2.28 * 0.9 in the magic formula) and the
/// moment of inertia (0.02723 kg m2 at 2.2187 kg, here at 1.9 kg) are those of the Berkeley
/// Autonomous Race Car, a 1:10 car too (its simulator's `barc_1` parameters). The rest is estimated:
/// longitudinal stiffness as lateral; the curve of a brushed 540 motor that reaches 8 m/s; a
/// standard servo of 0.16 s for 60 degrees with the play of a linkage of plastic parts; a hobby
/// speed controller, which coasts when the throttle is released.
const DONKEYCAR: SingleTrack = SingleTrack {
    mass: 1.9,
    yaw_inertia: 0.0233,
    axles: [0.1285, 0.1285],
    height: 0.06,
    pitch_lag: 0.03,
    friction: 0.9,
    cornering_stiffness: [10.26, 10.26],
    slip_stiffness: [10.26, 10.26],
    wheel_mass: [0.1, 0.1],
    rolling: 0.03,
    air_drag: 0.015,
    motor: Motor {
        no_load_speed: 8.5,
        gain: 4.7,
        force: 16.0,
        power: 85.0,
        drag_brake: 2.0,
        front: 0.5,
        dead_zone: 0.05,
        lag: 0.02,
    },
    brakes: Brakes {
        force: 14.0,
        front: 0.5,
    },
    steering: Steering {
        range: 0.42,
        rate: 4.0,
        delay: 0.02,
        backlash: 0.02,
    },
};

/// Friction of the F1TENTH gym, for which its normalized stiffnesses hold.
const GYM_FRICTION: f64 = 1.0489;

/// Parameters of the F1TENTH gym's single-track model (<https://github.com/f1tenth/f1tenth_gym>,
/// `f110_env.py` and `base_classes.py`; M. O'Kelly et al., F1TENTH: An Open-source Evaluation
/// Environment for Continuous Control and Reinforcement Learning, 2020): mu 1.0489, C_Sf 4.718, C_Sr
/// 5.4562 (there multiplied by mu and load), lf 0.15875, lr 0.17145, h 0.074, m 3.74, I 0.04712,
/// steering 0.4189 rad at 3.2 rad/s with two steps of 0.01 s of delay, a_max 9.51, v_switch 7.319
/// (from there constant power), v_max 20, speed controller 10 a_max / v_max. Not in the gym, and
/// estimated: longitudinal stiffness, wheels, rolling resistance, drag, pitch and the controller's
/// lag.
const F1TENTH: SingleTrack = SingleTrack {
    mass: 3.74,
    yaw_inertia: 0.04712,
    axles: [0.15875, 0.17145],
    height: 0.074,
    pitch_lag: 0.03,
    friction: GYM_FRICTION,
    cornering_stiffness: [4.718 * GYM_FRICTION, 5.4562 * GYM_FRICTION],
    slip_stiffness: [10.0, 10.0],
    wheel_mass: [0.2, 0.2],
    rolling: 0.015,
    air_drag: 0.02,
    motor: Motor {
        no_load_speed: 20.0,
        gain: 3.74 * 10.0 * 9.51 / 20.0,
        force: 3.74 * 9.51,
        power: 3.74 * 9.51 * 7.319,
        drag_brake: 3.74 * 9.51,
        front: 0.5,
        dead_zone: 0.0,
        lag: 0.02,
    },
    brakes: Brakes {
        force: 0.0,
        front: 0.5,
    },
    steering: Steering {
        range: 0.4189,
        rate: 3.2,
        delay: 0.02,
        backlash: 0.0,
    },
};

/// Chassis, power, brakes and air of the racing kart with driver of R. Lot and J. Dal Bianco, Lap
/// time optimization of a racing go-kart, Vehicle System Dynamics 54 (2016), as fastest-lap
/// (<https://github.com/juanmanzanero/fastest-lap>, `roberto-lot-kart-2016.xml`) lists them: 165 kg,
/// 25 kg m2, axles at 0.645 and 0.4 m, height 0.25 m, 20.1 kW, 200 N m of brake at the rear axle
/// alone, tyre radius 0.139 m, rear axle 0.2 kg m2, cd A 0.7 m2. Stiffnesses are those of its magic
/// formula at the static load of a wheel. Friction 1.2 is the mean of its lateral (1.5) and
/// longitudinal (0.9) values, because this model's tyre has one. Estimated: an electric motor of
/// that power with its force and speed, front wheels, rolling resistance, and the steering motor of
/// a kart without a driver.
const KART: SingleTrack = SingleTrack {
    mass: 165.0,
    yaw_inertia: 25.0,
    axles: [0.645, 0.4],
    height: 0.25,
    pitch_lag: 0.05,
    friction: 1.2,
    cornering_stiffness: [40.7, 41.9],
    slip_stiffness: [24.4, 24.4],
    wheel_mass: [5.0, 0.2 / (0.139 * 0.139)],
    rolling: 0.02,
    air_drag: 0.5 * 1.2 * 0.7,
    motor: Motor {
        no_load_speed: 31.0,
        gain: 600.0,
        force: 1200.0,
        power: 20_100.0,
        drag_brake: 400.0,
        front: 0.0,
        dead_zone: 0.02,
        lag: 0.03,
    },
    brakes: Brakes {
        force: 200.0 / 0.139,
        front: 0.0,
    },
    steering: Steering {
        range: 0.42,
        rate: 2.0,
        delay: 0.02,
        backlash: 0.01,
    },
};
