//! Known gamepads, and the mappings of their axes and buttons.
//!
//! One gamepad has several layouts under different drivers. A driver of its own keeps the layout of
//! the kernel's Documentation/input/gamepad.rst. hid-generic, which knows no gamepad, numbers the
//! buttons in the order of the HID descriptor from BTN_SOUTH on, including BTN_C and BTN_Z, and
//! names the axes as the descriptor does: BTN_TL is then another button, and ABS_RY may be a
//! trigger. BTN_C distinguishes the two, because no specific driver reports it.
//!
//! Sources: drivers/input/joystick/xpad.c, drivers/hid/hid-sony.c (before 6.2, with the DualShock
//! 4), hid-playstation.c and hid-nintendo.c of Linux; the key layouts of Android's
//! frameworks/base/data/keyboards; the Linux rows of SDL_GameControllerDB, whose numbers count
//! buttons and axes in the order of their codes. No row has been tested with the gamepad itself.

use evdev::{AbsoluteAxisCode, KeyCode};

use super::capabilities::Capabilities;
use super::mapping::{Axis, AxisName, Button, Mapping, Rest};

/// A known gamepad under one of its drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownPad {
    /// The gamepad, and the driver.
    pub name: &'static str,
    /// The USB vendor ID.
    pub vendor: u16,
    /// The product IDs of these gamepads; empty for all products of the vendor.
    pub products: &'static [u16],
    /// The buttons are numbered in the descriptor's order.
    pub numbered: bool,
    /// The mapping of axes and buttons.
    pub mapping: Mapping,
}

const MICROSOFT: u16 = 0x045e;
const SONY: u16 = 0x054c;
const NINTENDO: u16 = 0x057e;
const LOGITECH: u16 = 0x046d;
const EIGHTBITDO: u16 = 0x2dc8;

/// A mapping with a stick for the throttle.
const fn mapping(throttle: AbsoluteAxisCode, buttons: [KeyCode; 3]) -> Mapping {
    const fn stick(code: AbsoluteAxisCode) -> Axis {
        Axis {
            axis: AxisName(code.0),
            rest: Rest::Middle,
            inverted: false,
        }
    }
    let [dead_man, arm, stop] = buttons;
    Mapping {
        steering: stick(AbsoluteAxisCode::ABS_X),
        throttle: stick(throttle),
        dead_man: Button(dead_man.0),
        arm: Button(arm.0),
        stop: Button(stop.0),
    }
}

/// The layout of the kernel's Documentation/input/gamepad.rst.
const STANDARD: Mapping = mapping(
    AbsoluteAxisCode::ABS_RY,
    [KeyCode::BTN_TL, KeyCode::BTN_START, KeyCode::BTN_EAST],
);

/// The order in Sony's descriptors: square, cross, circle, triangle, L1, R1, L2, R2, share,
/// options; the right stick is Z and RZ, the triggers are RX and RY.
const SONY_NUMBERED: Mapping = mapping(
    AbsoluteAxisCode::ABS_RZ,
    [KeyCode::BTN_WEST, KeyCode::BTN_TR2, KeyCode::BTN_C],
);

/// All known gamepads. The first match is used.
pub const PADS: &[KnownPad] = &[
    // xpad.c: xpad_common_btn, xpad360_btn, xpad_abs, and xpad_set_up_abs: sticks of -32768 to
    // 32767 with a flat of 128, triggers ABS_Z and ABS_RZ. xpadneo's mappings.c gives the same
    // buttons; the axes of its right stick, RX and RY, are from SDL_GameControllerDB
    // (050000005e0400008e02000030110000) and not from its source.
    KnownPad {
        name: "Xbox, xpad or xpadneo",
        vendor: MICROSOFT,
        products: &[],
        numbered: false,
        mapping: STANDARD,
    },
    // Android's Vendor_045e_Product_02e0.kl: LB 0x134, menu 0x137, B 0x131; right stick RX and
    // RY, triggers Z and RZ.
    KnownPad {
        name: "Xbox One S (first firmware) over Bluetooth, hid-generic",
        vendor: MICROSOFT,
        products: &[0x02e0],
        numbered: true,
        mapping: mapping(
            AbsoluteAxisCode::ABS_RY,
            [KeyCode::BTN_WEST, KeyCode::BTN_TR, KeyCode::BTN_EAST],
        ),
    },
    // Android's Vendor_045e_Product_02fd.kl: LB 0x136, menu 0x13b, B 0x131; right stick Z and RZ,
    // triggers GAS and BRAKE. 0b05, 0b13, 0b20 and 0b22 have the same layout according to
    // SDL_GameControllerDB (050000005e040000130b000001050000 and others).
    KnownPad {
        name: "Xbox over Bluetooth, hid-generic or hid-microsoft",
        vendor: MICROSOFT,
        products: &[0x02fd, 0x0b05, 0x0b13, 0x0b20, 0x0b22],
        numbered: true,
        mapping: mapping(
            AbsoluteAxisCode::ABS_RZ,
            [KeyCode::BTN_TL, KeyCode::BTN_START, KeyCode::BTN_EAST],
        ),
    },
    // hid-playstation.c: ps_gamepad_buttons, ps_gamepad_create; hid-sony.c: ds4_keymap,
    // ds4_absmap. Sticks of 0 to 255 without a flat.
    KnownPad {
        name: "DualShock 4, hid-playstation or hid-sony",
        vendor: SONY,
        products: &[0x05c4, 0x09cc, 0x0ba0],
        numbered: false,
        mapping: STANDARD,
    },
    // Android's Vendor_054c_Product_09cc.kl, SDL_GameControllerDB
    // (030000004c050000cc09000011010000). It is not confirmed that the wireless adapter 0ba0 has
    // the same layout.
    KnownPad {
        name: "DualShock 4, hid-generic",
        vendor: SONY,
        products: &[0x05c4, 0x09cc, 0x0ba0],
        numbered: true,
        mapping: SONY_NUMBERED,
    },
    // hid-playstation.c, as the DualShock 4.
    KnownPad {
        name: "DualSense, hid-playstation",
        vendor: SONY,
        products: &[0x0ce6, 0x0df2],
        numbered: false,
        mapping: STANDARD,
    },
    // Android's Vendor_054c_Product_0ce6_fallback.kl, SDL_GameControllerDB
    // (030000004c050000e60c000011010000, and 0df2, the Edge).
    KnownPad {
        name: "DualSense, hid-generic",
        vendor: SONY,
        products: &[0x0ce6, 0x0df2],
        numbered: true,
        mapping: SONY_NUMBERED,
    },
    // hid-nintendo.c: procon_button_mappings, joycon_config_right_stick, joycon_report_right_stick,
    // which inverts Y so that it grows towards the operator.
    KnownPad {
        name: "Switch Pro, hid-nintendo",
        vendor: NINTENDO,
        products: &[0x2009],
        numbered: false,
        mapping: STANDARD,
    },
    // SDL_GameControllerDB (050000007e0500000920000001000000): L is the fifth button, plus the
    // tenth, A (the right one) the second. The names of its right stick's axes, RX and RY, are not
    // confirmed, because SDL only counts them.
    KnownPad {
        name: "Switch Pro over Bluetooth, hid-generic",
        vendor: NINTENDO,
        products: &[0x2009],
        numbered: true,
        mapping: mapping(
            AbsoluteAxisCode::ABS_RY,
            [KeyCode::BTN_WEST, KeyCode::BTN_TR2, KeyCode::BTN_EAST],
        ),
    },
    // xpad.c contains 8BitDo's gamepads in their XInput mode.
    KnownPad {
        name: "8BitDo in XInput mode, xpad",
        vendor: EIGHTBITDO,
        products: &[],
        numbered: false,
        mapping: STANDARD,
    },
    // SDL_GameControllerDB (05000000c82d00001230000000010000 and others): four buttons as on an
    // Xbox pad, B the second.
    KnownPad {
        name: "8BitDo Ultimate in D-input mode, hid-generic",
        vendor: EIGHTBITDO,
        products: &[
            0x3011, 0x3012, 0x3013, 0x3015, 0x3016, 0x3017, 0x301b, 0x301d, 0x6012,
        ],
        numbered: true,
        mapping: mapping(
            AbsoluteAxisCode::ABS_RZ,
            [KeyCode::BTN_TL, KeyCode::BTN_START, KeyCode::BTN_EAST],
        ),
    },
    // SDL_GameControllerDB (05000000c82d00000660000000010000 and others): four buttons as on
    // Nintendo's, A (the right one) the first. Products that it does not list are assumed to have
    // the same layout, which is not confirmed.
    KnownPad {
        name: "8BitDo (SN30 Pro, Pro 2) in D-input mode, hid-generic",
        vendor: EIGHTBITDO,
        products: &[],
        numbered: true,
        mapping: mapping(
            AbsoluteAxisCode::ABS_RZ,
            [KeyCode::BTN_TL, KeyCode::BTN_START, KeyCode::BTN_SOUTH],
        ),
    },
    // xpad.c: F310, F510 and F710 with the switch at X.
    KnownPad {
        name: "Logitech F310, F510 or F710 at X, xpad",
        vendor: LOGITECH,
        products: &[0xc21d, 0xc21e, 0xc21f],
        numbered: false,
        mapping: STANDARD,
    },
    // Android's Vendor_046d_Product_c219.kl, SDL_GameControllerDB
    // (030000006d04000019c2000011010000): X, A, B, Y, LB, RB, LT, RT, back, start; right stick
    // Z and RZ, triggers buttons.
    KnownPad {
        name: "Logitech F310, F510 or F710 at D, hid-generic",
        vendor: LOGITECH,
        products: &[0xc216, 0xc218, 0xc219],
        numbered: true,
        mapping: SONY_NUMBERED,
    },
];

/// The known gamepad that matches a device with `capabilities`.
pub fn find(capabilities: &Capabilities) -> Option<&'static KnownPad> {
    let numbered = capabilities.has_button(Button(KeyCode::BTN_C.0));
    PADS.iter().find(|pad| {
        let products = pad.products;
        pad.vendor == capabilities.vendor
            && (products.is_empty() || products.contains(&capabilities.product))
            && pad.numbered == numbered
            && pad.mapping.has_all(capabilities)
    })
}
