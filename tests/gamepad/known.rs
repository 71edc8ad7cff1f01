//! Known gamepads, as their drivers present them to the kernel.

use pilotage_gamepad::known::{PADS, find};
use pilotage_gamepad::{AxisName, Button, Capabilities};

use super::*;

/// A gamepad as a driver presents it: its capabilities, and the codes of its controls.
struct Shown {
    name: &'static str,
    id: (u16, u16),
    axes: &'static [u16],
    buttons: &'static [u16],
    /// The range of its sticks; the least value is left and ahead.
    range: Range,
    /// The vertical axis of the right stick.
    right_y: u16,
    /// Axes that rest at their least value.
    triggers: &'static [u16],
    left_shoulder: u16,
    start: u16,
    /// The right one of the four buttons.
    right: u16,
}

const X: u16 = 0;
const Y: u16 = 1;
const Z: u16 = 2;
const RX: u16 = 3;
const RY: u16 = 4;
const RZ: u16 = 5;
const GAS: u16 = 9;
const BRAKE: u16 = 10;
const HATS: [u16; 2] = [0x10, 0x11];

/// BTN_SOUTH, EAST, NORTH, WEST, TL, TR, SELECT, START, MODE, THUMBL, THUMBR.
const XPAD: &[u16] = &[
    0x130, 0x131, 0x133, 0x134, 0x136, 0x137, 0x13a, 0x13b, 0x13c, 0x13d, 0x13e,
];
/// The same with TL2 and TR2.
const PLAYSTATION: &[u16] = &[
    0x130, 0x131, 0x133, 0x134, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c, 0x13d, 0x13e,
];
/// The same with BTN_Z, which is the capture button.
const NINTENDO: &[u16] = &[
    0x130, 0x131, 0x133, 0x134, 0x135, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c, 0x13d,
    0x13e,
];
/// Numbered from BTN_SOUTH on, including BTN_C and BTN_Z: 10, 12, 14 and 15 buttons.
const NUMBERED: &[u16] = &[
    0x130, 0x131, 0x132, 0x133, 0x134, 0x135, 0x136, 0x137, 0x138, 0x139, 0x13a, 0x13b, 0x13c,
    0x13d, 0x13e,
];

const SHORT: Range = Range {
    least: -32768,
    most: 32767,
    flat: 128,
};
const WORD: Range = Range {
    least: 0,
    most: 65535,
    flat: 4095,
};
const BYTE: Range = Range {
    least: 0,
    most: 255,
    flat: 0,
};
/// hid-input sets the flat to a sixteenth of the range.
const GENERIC_BYTE: Range = Range { flat: 15, ..BYTE };

fn shown() -> Vec<Shown> {
    let usual = |name, id, buttons, range| Shown {
        name,
        id,
        axes: &[X, Y, Z, RX, RY, RZ],
        buttons,
        range,
        right_y: RY,
        triggers: &[Z, RZ],
        left_shoulder: 0x136,
        start: 0x13b,
        right: 0x131,
    };
    let sony = |name, product| Shown {
        triggers: &[RX, RY],
        right_y: RZ,
        left_shoulder: 0x134,
        start: 0x139,
        right: 0x132,
        ..usual(name, (0x054c, product), &NUMBERED[..14], GENERIC_BYTE)
    };
    let bluetooth = |name, id, buttons, range| Shown {
        axes: &[X, Y, Z, RZ, GAS, BRAKE],
        right_y: RZ,
        triggers: &[GAS, BRAKE],
        ..usual(name, id, buttons, range)
    };
    let xbox = "Xbox, xpad or xpadneo";
    let eightbitdo = "8BitDo (SN30 Pro, Pro 2) in D-input mode, hid-generic";
    let f710 = "Logitech F310, F510 or F710 at X, xpad";
    vec![
        usual(xbox, (0x045e, 0x028e), XPAD, SHORT),
        usual(xbox, (0x045e, 0x02ea), XPAD, SHORT),
        usual(xbox, (0x045e, 0x0b12), XPAD, SHORT),
        Shown {
            left_shoulder: 0x134,
            start: 0x137,
            ..usual(
                "Xbox One S (first firmware) over Bluetooth, hid-generic",
                (0x045e, 0x02e0),
                &NUMBERED[..10],
                WORD,
            )
        },
        bluetooth(
            "Xbox over Bluetooth, hid-generic or hid-microsoft",
            (0x045e, 0x02fd),
            NUMBERED,
            WORD,
        ),
        bluetooth(
            "Xbox over Bluetooth, hid-generic or hid-microsoft",
            (0x045e, 0x0b13),
            NUMBERED,
            WORD,
        ),
        usual(
            "DualShock 4, hid-playstation or hid-sony",
            (0x054c, 0x05c4),
            PLAYSTATION,
            BYTE,
        ),
        usual(
            "DualShock 4, hid-playstation or hid-sony",
            (0x054c, 0x09cc),
            PLAYSTATION,
            BYTE,
        ),
        sony("DualShock 4, hid-generic", 0x05c4),
        sony("DualShock 4, hid-generic", 0x09cc),
        usual(
            "DualSense, hid-playstation",
            (0x054c, 0x0ce6),
            PLAYSTATION,
            BYTE,
        ),
        sony("DualSense, hid-generic", 0x0ce6),
        Shown {
            axes: &[X, Y, RX, RY],
            triggers: &[],
            ..usual(
                "Switch Pro, hid-nintendo",
                (0x057e, 0x2009),
                NINTENDO,
                Range {
                    least: -32767,
                    most: 32767,
                    flat: 500,
                },
            )
        },
        Shown {
            axes: &[X, Y, RX, RY],
            triggers: &[],
            left_shoulder: 0x134,
            start: 0x139,
            ..usual(
                "Switch Pro over Bluetooth, hid-generic",
                (0x057e, 0x2009),
                &NUMBERED[..14],
                WORD,
            )
        },
        usual("8BitDo in XInput mode, xpad", (0x2dc8, 0x3106), XPAD, SHORT),
        usual("8BitDo in XInput mode, xpad", (0x2dc8, 0x310a), XPAD, SHORT),
        bluetooth(
            "8BitDo Ultimate in D-input mode, hid-generic",
            (0x2dc8, 0x3012),
            NUMBERED,
            GENERIC_BYTE,
        ),
        Shown {
            right: 0x130,
            ..bluetooth(eightbitdo, (0x2dc8, 0x6006), NUMBERED, GENERIC_BYTE)
        },
        Shown {
            axes: &[X, Y, Z, RZ],
            triggers: &[],
            right: 0x130,
            ..bluetooth(eightbitdo, (0x2dc8, 0x6001), NUMBERED, GENERIC_BYTE)
        },
        usual(f710, (0x046d, 0xc21f), XPAD, SHORT),
        Shown {
            axes: &[X, Y, Z, RZ],
            right_y: RZ,
            triggers: &[],
            left_shoulder: 0x134,
            start: 0x139,
            right: 0x132,
            ..usual(
                "Logitech F310, F510 or F710 at D, hid-generic",
                (0x046d, 0xc219),
                &NUMBERED[..12],
                GENERIC_BYTE,
            )
        },
    ]
}

fn capabilities(shown: &Shown) -> Capabilities {
    Capabilities {
        name: "a pad".to_owned(),
        vendor: shown.id.0,
        product: shown.id.1,
        axes: shown.axes.iter().copied().chain(HATS).collect(),
        buttons: shown.buttons.to_vec(),
    }
}

#[test]
fn each_pad_under_each_driver_is_known_and_drives_the_right_way() {
    let car = car("", "max = 0.4\nmin = -0.3");
    let mut names = Vec::new();
    for shown in shown() {
        let capabilities = capabilities(&shown);
        let pad = find(&capabilities).unwrap();
        assert_eq!(pad.name, shown.name);
        names.push(pad.name);
        let mapping = config(&car).mapping_of(&capabilities);
        assert_eq!(mapping, pad.mapping);
        assert_eq!(mapping.lacks(config(&car), &capabilities), None);
        assert_eq!(mapping.steering.axis, AxisName(X), "{}", pad.name);
        assert_eq!(
            mapping.throttle.axis,
            AxisName(shown.right_y),
            "{}",
            pad.name
        );
        assert!(
            !shown.triggers.contains(&mapping.throttle.axis.0),
            "{}",
            pad.name
        );
        assert_eq!(
            mapping.dead_man,
            Button(shown.left_shoulder),
            "{}",
            pad.name
        );
        assert_eq!(mapping.arm, Button(shown.start), "{}", pad.name);
        assert_eq!(mapping.stop, Button(shown.right), "{}", pad.name);

        let Range { least, most, .. } = shown.range;
        let middle = ((i64::from(least) + i64::from(most)) / 2) as i32;
        let mut hand = Hand::new(config(&car), &mapping, [shown.range; 2], &car.limits);
        let found = Snapshot {
            steering: Some(middle),
            throttle: Some(middle),
            ..Snapshot::default()
        };
        hand.know(at(0), found);
        report(&mut hand, 300, &[button(shown.left_shoulder, true)]);
        for (right, back, steering, throttle) in [
            (least, least, 1.0, 0.4),
            (most, most, -1.0, -0.3),
            (middle, middle, 0.0, 0.0),
        ] {
            let to = [axis(X, right), axis(shown.right_y, back)];
            report(&mut hand, 300, &to);
            let request = hand.request(at(300));
            assert_eq!(
                (request.steering, request.throttle),
                (steering, throttle),
                "{}",
                pad.name
            );
        }
        report(
            &mut hand,
            300,
            &[button(shown.right, true), button(shown.start, true)],
        );
        let presses = hand.take_presses();
        assert!(
            presses.stop && presses.arm_dropped && !presses.arm,
            "{}",
            pad.name
        );
    }
    // Every row of the table must have a description here.
    for pad in PADS {
        assert!(names.contains(&pad.name), "{}", pad.name);
    }
}

#[test]
fn an_unknown_gamepad_gets_the_default_or_the_files_mapping() {
    let dualshock = shown().swap_remove(9);
    assert_eq!(dualshock.name, "DualShock 4, hid-generic");
    let known = capabilities(&dualshock);
    let mut strange = known.clone();
    strange.vendor = 0x1234;
    let usual = car("", "");
    assert_eq!(find(&strange), None);
    assert_eq!(config(&usual).mapping_of(&strange), Default::default());
    // The names in the file override the mapping of a known gamepad.
    let named = car("stop = \"BTN_TR\"", "");
    let mapping = config(&named).mapping_of(&known);
    assert_eq!(Some(mapping), config(&named).mapping);
    assert_eq!(mapping.stop, Button(0x137));
    // A touchpad or a sensor of the same vendor is not a gamepad.
    let mut touchpad = known.clone();
    touchpad.buttons = vec![0x110, 0x145, 0x14a];
    assert_eq!(find(&touchpad), None);
    assert!(!touchpad.looks_like_a_gamepad());
    assert!(known.looks_like_a_gamepad());
}
