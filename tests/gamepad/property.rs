//! Properties that hold for arbitrary events and silences.

use pilotage_gamepad::Rest;
use proptest::prelude::*;

use super::*;

/// An event, a silence, a queried state, or an arming.
#[derive(Debug, Clone)]
enum Event {
    Input(Input),
    Silence(u64),
    Known(Snapshot),
    Armed,
}

fn event() -> impl Strategy<Value = Event> {
    let value = || {
        prop_oneof![
            2 => any::<i32>(),
            2 => -32768..=32767,
            3 => -1600..=1600,
            1 => Just(i32::MIN),
            1 => Just(i32::MAX),
        ]
    };
    let code = prop_oneof![4 => Just(STEERING), 4 => Just(THROTTLE), 1 => any::<u16>()];
    let key = prop_oneof![
        4 => Just(DEAD_MAN),
        1 => Just(ARM),
        2 => Just(STOP),
        1 => any::<u16>(),
    ];
    let known = (
        any::<[bool; 3]>(),
        prop::option::of(value()),
        prop::option::of(value()),
    );
    let known = known.prop_map(|(down, steering, throttle)| Snapshot {
        steering,
        throttle,
        dead_man: down[0],
        arm: down[1],
        stop: down[2],
    });
    prop_oneof![
        6 => (code, value()).prop_map(|(code, value)| Event::Input(axis(code, value))),
        6 => (key, any::<bool>()).prop_map(|(key, down)| Event::Input(button(key, down))),
        5 => Just(Event::Input(Input::Report)),
        1 => Just(Event::Input(Input::Other)),
        1 => Just(Event::Input(Input::Dropped)),
        3 => (0_u64..700).prop_map(Event::Silence),
        1 => known.prop_map(Event::Known),
        1 => Just(Event::Armed),
    ]
}

/// A simpler model of an axis: whether it may drive.
#[derive(Debug, Default)]
struct AxisModel {
    range: (i64, i64),
    rests: Option<Rest>,
    value: Option<i64>,
    free: bool,
}

impl AxisModel {
    /// Whether the value may count as rest, whatever rest position was learned: within 15 % plus
    /// the dead zone of the nominal position.
    fn near_rest(&self) -> bool {
        let (Some(value), (least, most)) = (self.value, self.range) else {
            return false;
        };
        let value = value.clamp(least.min(most), most.max(least));
        let share = (value - least) as f64 / (most - least) as f64;
        let (way, off) = match self.rests {
            Some(Rest::End) => (share, 0.0),
            _ => (2.0 * share - 1.0, 0.0),
        };
        most > least && (way - off).abs() <= 0.15 + 0.05 + 1e-4
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    /// A simpler model tracks the dead-man button: a press after it was last seen up, and since
    /// then only events that keep it pressed. The stop button is down if it was last seen down.
    /// Each axis has a model too.
    #[test]
    fn nothing_moves_beyond_the_limits_or_without_the_dead_man_button(
        all in prop::collection::vec(event(), 0..80),
        (least, most) in (-1.0_f32..=0.0, 0.0_f32..=1.0),
        scale in 0.01_f64..=1.0,
        silence in 50_u64..=5000,
        range in prop_oneof![Just((-32768, 32767)), any::<(i32, i32)>()],
        end in any::<bool>(),
    ) {
        let rests = if end { "end" } else { "middle" };
        let car = car(
            &format!(
                "throttle_scale = {scale}\nsilence_ms = {silence}\nthrottle_rests = {rests:?}"
            ),
            &format!("min = {least}\nmax = {most}"),
        );
        let throttle = Range { least: range.0, most: range.1, flat: 0 };
        let mut hand = hand_with(&car, [RANGE, throttle]);
        let mut now = 0;
        // The last known state: up, pressed since, or unknown.
        let (mut up, mut held, mut stop) = (false, false, false);
        let mut last = None;
        let mut broken = true;
        let mut in_report = false;
        let mut models = [
            AxisModel { range: (-32768, 32767), ..AxisModel::default() },
            AxisModel {
                range: (range.0.into(), range.1.into()),
                rests: Some(if end { Rest::End } else { Rest::Middle }),
                ..AxisModel::default()
            },
        ];
        for event in all {
            let mut locked = false;
            match event {
                Event::Silence(ms) => now += ms,
                Event::Armed => {
                    hand.armed(at(now));
                    locked = true;
                }
                Event::Known(snapshot) => {
                    hand.know(at(now), snapshot);
                    (up, held, broken, in_report) = (!snapshot.dead_man, false, false, false);
                    stop = snapshot.stop;
                    last = Some(now);
                    locked = true;
                    models[0].value = snapshot.steering.map(i64::from);
                    models[1].value = snapshot.throttle.map(i64::from);
                }
                Event::Input(input) => {
                    hand.take(at(now), input);
                    in_report = input != Input::Report;
                    match input {
                        Input::Dropped => (up, held, broken, locked) = (false, false, true, true),
                        Input::Report => {}
                        _ if broken => {}
                        Input::Button { code: DEAD_MAN, pressed } => {
                            locked = pressed && up;
                            held = pressed && (held || up);
                            up = !pressed;
                            last = Some(now);
                        }
                        Input::Button { code: STOP, pressed } => {
                            stop = pressed;
                            last = Some(now);
                        }
                        Input::Axis { code, value } => {
                            let at = usize::from(code != STEERING);
                            if code == STEERING || code == THROTTLE {
                                models[at].value = Some(value.into());
                            }
                            last = Some(now);
                        }
                        _ => last = Some(now),
                    }
                }
            }
            for model in &mut models {
                model.free &= !locked;
                model.free |= !in_report && !broken && model.near_rest();
            }
            let request = hand.request(at(now));
            let fresh = last.is_some_and(|last| now - last < silence);
            prop_assert_eq!(request.driven, held && fresh && !broken && !stop);
            if !request.driven {
                prop_assert_eq!(request, DriveRequest::default());
            }
            prop_assert!(request.steering == 0.0 || models[0].free, "{:?} {:?}", request, models[0]);
            prop_assert!(request.throttle == 0.0 || models[1].free, "{:?} {:?}", request, models[1]);
            prop_assert_eq!(hand.stop_held(), stop);
            let presses = hand.take_presses();
            prop_assert!(!(presses.arm && presses.stop_held && !presses.stop), "{:?}", presses);
            prop_assert!((-1.0..=1.0).contains(&request.steering), "{:?}", request);
            let spec = car.limits.spec().throttle;
            prop_assert!((spec.min..=spec.max).contains(&request.throttle), "{:?}", request);
        }
    }
}
