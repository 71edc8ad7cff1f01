//! The power save of Wi-Fi, through which an operator's `pilotage stop` may come.

use super::{Finding, Level, System};

const PART: &str = "Wi-Fi";

/// For each wireless interface that saves power, a warning.
pub(super) fn findings(system: &System) -> Vec<Finding> {
    let interfaces = system.names("/sys/class/net", "").into_iter();
    interfaces
        .filter(|name| system.exists(&format!("/sys/class/net/{name}/phy80211")))
        .map(|name| {
            finding(
                &name,
                system.output("iw", &["dev", &name, "get", "power_save"]),
            )
        })
        .collect()
}

/// `answer` is that of `iw dev NAME get power_save`: "Power save: on".
fn finding(name: &str, answer: Option<String>) -> Finding {
    let saves = answer.as_deref().and_then(|answer| {
        let state = answer.trim().strip_prefix("Power save:")?;
        match state.trim() {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        }
    });
    match saves {
        Some(false) => Finding::fine(PART, format!("{name} does not save power")),
        Some(true) => Finding::wrong(
            PART,
            Level::Warning,
            format!("{name} saves power: `pilotage stop` over ssh may come 0.3 s late, or later"),
            format!(
                "sudo iw dev {name} set power_save off, after each boot; with NetworkManager for \
                 good: `nmcli connection modify NAME 802-11-wireless.powersave 2`"
            ),
        ),
        None => Finding::wrong(
            PART,
            Level::Absent,
            format!("whether {name} saves power is not known"),
            "sudo apt-get install iw",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_save_that_is_on_is_a_warning_with_its_fix() {
        let of = |answer: &str| finding("wlan0", Some(answer.to_owned()));
        let on = of("Power save: on\n");
        assert_eq!(on.level, Level::Warning);
        assert!(on.fix.unwrap().contains("iw dev wlan0 set power_save off"));
        assert_eq!(of("Power save: off\n").level, Level::Fine);
        for unknown in ["", "Power save:", "command failed: No such device (-19)"] {
            assert_eq!(of(unknown).level, Level::Absent, "{unknown}");
        }
        assert_eq!(finding("wlan0", None).level, Level::Absent);
    }

    #[test]
    fn only_wireless_interfaces_are_asked_for() {
        let root = tempfile::tempdir().unwrap();
        for name in ["eth0", "wlan0/phy80211"] {
            std::fs::create_dir_all(root.path().join("sys/class/net").join(name)).unwrap();
        }
        let findings = findings(&System::below(root.path()));
        let [wireless] = &findings[..] else {
            panic!("{findings:?}")
        };
        assert!(wireless.found.contains("wlan0"));
    }
}
