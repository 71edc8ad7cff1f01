//! Writes the values that the operator found to the text of a car.toml.

use anyhow::bail;
use pilotage_guard::{Point, TrimTable, Value};
use toml_edit::{DocumentMut, TableLike};

/// What the operator found.
#[derive(Default)]
pub(super) struct Found {
    /// A point, its value before, and its new value.
    pub(super) values: Vec<(Point, Value, Value)>,
    /// Wheels that turn back where they should turn ahead.
    pub(super) turned: Vec<Point>,
}

/// The file's text with the new values; comments are kept. If the failsafe or disarmed value was
/// equal to the centre or neutral, it follows.
pub(super) fn edit(text: &str, table_of: &TrimTable, found: &Found) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    for &point in &found.turned {
        let [first, kind, table, motor] = table_of.key(point).unwrap_or_default();
        let motor = document
            .get_mut(first)
            .and_then(|actuator| actuator.get_mut(kind)?.get_mut(table)?.get_mut(motor));
        let Some(motor) = motor else {
            bail!("there is no [{first}.{kind}.{table}] to write to");
        };
        if !swap_directions(motor) {
            bail!("[{first}.{kind}.{table}] has no `ahead` and `back`");
        }
    }
    for &(point, before, value) in &found.values {
        let Some([first, kind, table, key]) = table_of.key(point) else {
            continue;
        };
        let mut place = document
            .get_mut(first)
            .and_then(|actuator| actuator.get_mut(kind));
        if !table.is_empty() {
            place = place.and_then(|kind| kind.get_mut(table));
        }
        let Some(place) = place else {
            bail!("there is no [{first}.{kind}] to write to");
        };
        let rest: &[&str] = match (point, table) {
            (Point::Centre, "") => &["failsafe", "disarmed"],
            (Point::Centre | Point::Neutral, _) => &["failsafe_us", "disarmed_us"],
            _ => &[],
        };
        let thousandths = table.is_empty();
        set(place, key, value, thousandths);
        for key in rest {
            if number(place, key, thousandths) == Some(before) {
                set(place, key, value, thousandths);
            }
        }
    }
    Ok(document.to_string())
}

/// Swaps `ahead` and `back` of a motor, or of each motor in an array. Returns false if one has none.
fn swap_directions(motor: &mut toml_edit::Item) -> bool {
    let swap = |table: &mut dyn TableLike| {
        let channel = |key: &str| table.get(key)?.as_value().cloned();
        let (Some(ahead), Some(back)) = (channel("ahead"), channel("back")) else {
            return false;
        };
        for (key, value) in [("ahead", back), ("back", ahead)] {
            if let Some(old) = table.get_mut(key).and_then(toml_edit::Item::as_value_mut) {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
        }
        true
    };
    if let Some(table) = motor.as_table_like_mut() {
        return swap(table);
    }
    match motor {
        toml_edit::Item::Value(toml_edit::Value::Array(motors)) => motors.iter_mut().all(|motor| {
            let table = motor.as_inline_table_mut();
            table.is_some_and(|table| swap(table))
        }),
        toml_edit::Item::ArrayOfTables(motors) => motors.iter_mut().all(|table| swap(table)),
        _ => false,
    }
}

fn number(table: &toml_edit::Item, key: &str, thousandths: bool) -> Option<Value> {
    let value = table.get(key)?;
    if thousandths {
        let share = value.as_float()?;
        return Some((share * 1000.0).round() as Value);
    }
    Value::try_from(value.as_integer()?).ok()
}

fn set(table: &mut toml_edit::Item, key: &str, value: Value, thousandths: bool) {
    let Some(old) = table.get_mut(key).and_then(toml_edit::Item::as_value_mut) else {
        return;
    };
    // Keep the comment after the value.
    let decor = old.decor().clone();
    *old = match thousandths {
        true => (f64::from(value) / 1000.0).into(),
        false => i64::from(value).into(),
    };
    *old.decor_mut() = decor;
}

#[cfg(test)]
mod tests {
    use pilotage_guard::GuardedCar;

    use super::*;

    const JETBOT: &str = include_str!("../../../cars/jetbot.toml");
    const JETRACER_WAVESHARE: &str = include_str!("../../../cars/jetracer-waveshare.toml");

    fn table(text: &str) -> TrimTable {
        let car = GuardedCar::from_toml("car.toml", text).unwrap();
        TrimTable::of(&car.actuator).unwrap()
    }

    #[test]
    fn each_car_has_a_step_for_its_direction() {
        for (text, points) in [
            (JETBOT, &[Point::LeftWheel, Point::RightWheel][..]),
            (
                include_str!("../../../cars/donkeycar.toml"),
                &Point::ALL[..4],
            ),
            (include_str!("../../../cars/f1tenth.toml"), &Point::ALL[..3]),
            (
                JETRACER_WAVESHARE,
                &[Point::Centre, Point::Left, Point::Right, Point::Wheels][..],
            ),
        ] {
            let found: Vec<Point> = table(text).points().collect();
            assert_eq!(found, points);
        }
        let dry = GuardedCar::from_toml("car.toml", "[actuator]\nkind = \"dry-run\"").unwrap();
        assert!(TrimTable::of(&dry.actuator).is_none());
    }

    #[test]
    fn a_wheel_that_turns_back_gets_its_channels_swapped() {
        let found = |turned: &[Point]| Found {
            turned: turned.to_vec(),
            ..Found::default()
        };
        let table = table(JETBOT);
        assert_eq!(table.range(Point::LeftWheel), (0, 300));
        let edited = edit(JETBOT, &table, &found(&[Point::LeftWheel])).unwrap();
        let swapped = JETBOT.replace("ahead = 9, back = 10", "ahead = 10, back = 9");
        assert_ne!(swapped, JETBOT);
        assert_eq!(edited, swapped);
        let both = [Point::LeftWheel, Point::RightWheel];
        let edited = edit(JETBOT, &table, &found(&both)).unwrap();
        assert_eq!(
            edited,
            swapped.replace("ahead = 12, back = 11", "ahead = 11, back = 12")
        );
    }

    #[test]
    fn wheels_that_turn_back_all_get_their_channels_swapped() {
        let found = Found {
            turned: vec![Point::Wheels],
            ..Found::default()
        };
        let table = table(JETRACER_WAVESHARE);
        let edited = edit(JETRACER_WAVESHARE, &table, &found).unwrap();
        let swapped = JETRACER_WAVESHARE
            .replace("ahead = 1, back = 2", "ahead = 2, back = 1")
            .replace("ahead = 6, back = 5", "ahead = 5, back = 6")
            .replace("ahead = 4, back = 3", "ahead = 3, back = 4");
        assert_ne!(swapped, JETRACER_WAVESHARE);
        assert_eq!(edited, swapped);
    }
}
