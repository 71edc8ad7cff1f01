//! Writes a mapping into the text of a car.toml; comments are kept.

use anyhow::{Context, bail};
use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use pilotage_gamepad::{Mapping, Rest};

/// `text` with `mapping` in its `[gamepad]`, which is added if there is none.
pub(super) fn edit(text: &str, mapping: &Mapping) -> anyhow::Result<String> {
    let mut document: DocumentMut = text.parse()?;
    let item = document
        .entry("gamepad")
        .or_insert_with(|| Item::Table(Table::new()));
    let Some(table) = item.as_table_like_mut() else {
        bail!("`gamepad` is no table");
    };
    let rests = match mapping.throttle.rest {
        Rest::Middle => "middle",
        Rest::End => "end",
    };
    let values: [(&str, Value); 8] = [
        ("steering", mapping.steering.axis.to_string().into()),
        ("steering_inverted", mapping.steering.inverted.into()),
        ("throttle", mapping.throttle.axis.to_string().into()),
        ("throttle_inverted", mapping.throttle.inverted.into()),
        ("throttle_rests", rests.into()),
        ("dead_man", mapping.dead_man.to_string().into()),
        ("arm", mapping.arm.to_string().into()),
        ("stop", mapping.stop.to_string().into()),
    ];
    for (key, value) in values {
        set(table, key, value).with_context(|| format!("`gamepad.{key}`"))?;
    }
    Ok(document.to_string())
}

/// Sets a value and keeps the comment after the old value.
fn set(table: &mut dyn TableLike, key: &str, value: Value) -> anyhow::Result<()> {
    let Some(item) = table.get_mut(key) else {
        table.insert(key, Item::Value(value));
        return Ok(());
    };
    let old = item.as_value_mut().context("is no value")?;
    let decor = old.decor().clone();
    *old = value;
    *old.decor_mut() = decor;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::car::Car;
    use pilotage_gamepad::{Axis, AxisName, Button};

    fn mapping() -> Mapping {
        Mapping {
            throttle: Axis {
                axis: AxisName(5),
                rest: Rest::End,
                inverted: false,
            },
            stop: Button(0x132),
            ..Mapping::default()
        }
    }

    #[test]
    fn comments_and_other_keys_stay() {
        let text = "# a car\n[car]\nname = \"x\"  # its name\n\n[gamepad]  # mine\nname = \"Pad\"\n\
                    # the circle\nstop = \"BTN_EAST\"   # right\ndead_zone = 0.1\n\n[guard]\n\
                    deadline_ms = 200 # short\n";
        let edited = edit(text, &mapping()).unwrap();
        for kept in [
            "# a car\n",
            "name = \"x\"  # its name\n",
            "[gamepad]  # mine\n",
            "# the circle\nstop = \"BTN_C\"   # right\n",
            "dead_zone = 0.1\n",
            "deadline_ms = 200 # short\n",
        ] {
            assert!(edited.contains(kept), "{kept:?} in {edited}");
        }
        let car = Car::from_toml("car.toml", &edited).unwrap();
        assert_eq!(car.gamepad.unwrap().mapping, Some(mapping()));
        // Writing it a second time changes nothing.
        assert_eq!(edit(&edited, &mapping()).unwrap(), edited);
    }

    #[test]
    fn a_table_is_edited_in_any_toml_form() {
        for text in [
            "",
            "# empty\n",
            "[car]\nname = \"x\"\n",
            "gamepad = { name = \"Pad\" }\n",
            "gamepad.name = \"Pad\"\n[car]\nname = \"x\"\n",
        ] {
            let edited = edit(text, &mapping()).unwrap();
            let car = Car::from_toml("car.toml", &edited).unwrap();
            assert_eq!(car.gamepad.unwrap().mapping, Some(mapping()), "{edited}");
        }
        assert!(edit("gamepad = 1\n", &mapping()).is_err());
        assert!(edit("[gamepad", &mapping()).is_err());
    }
}
