//! Firmware of a Raspberry Pi Pico that puts out the pulses of a servo and a speed controller, for the
//! guard's actuator `bridge`. docs/bridge.md has its pins and how to install it. What it decides is
//! in crates/bridge, where it is tested; this file only connects that to the chip. It has run
//! in an emulator (`emulator/run.mjs`), and never on a Pico.
//!
//! The chip's watchdog resets it when this loop takes longer than [`WATCHDOG_MILLIS`], also after a
//! panic. A reset chip puts out no pulses.

#![no_std]
#![no_main]

use embedded_hal::pwm::SetDutyCycle;
use panic_halt as _;
use pilotage_bridge::{Bridge, Input};
use rp_pico::entry;
use rp_pico::hal::clocks::init_clocks_and_plls;
use rp_pico::hal::fugit::ExtU32;
use rp_pico::hal::pwm::{InputHighRunning, Slice, SliceId, Slices};
use rp_pico::hal::usb::UsbBus;
use rp_pico::hal::{Sio, Timer, Watchdog, pac};
use usb_device::class_prelude::UsbBusAllocator;
use usb_device::prelude::{StringDescriptors, UsbDeviceBuilder, UsbVidPid};
use usbd_serial::{SerialPort, USB_CLASS_CDC};

/// The crystal of a Pico, Hz.
const CRYSTAL: u32 = 12_000_000;
/// The system clock of 125 MHz divided by this counts microseconds.
const MICROSECONDS: u8 = 125;
/// A servo's period of 20 ms.
const TOP: u16 = 19_999;
const WATCHDOG_MILLIS: u32 = 50;
/// Identifiers that their owner lets any serial port use that has its own name:
/// <https://github.com/obdev/v-usb/blob/master/usbdrv/USB-IDs-for-free.txt>.
const USB_ID: UsbVidPid = UsbVidPid(0x16c0, 0x27dd);

/// Measures the pulses at the pin of a PWM slice's channel B: the slice counts microseconds while
/// the pin is high.
struct Measure<I: SliceId> {
    slice: Slice<I, InputHighRunning>,
    input: Input,
    last: u16,
    looked: u64,
}

impl<I: SliceId> Measure<I> {
    /// Shorter than any pulse's pause, and longer than a step of the counter.
    const INTERVAL: u64 = 20;

    fn new(mut slice: Slice<I, InputHighRunning>, input: Input) -> Self {
        slice.set_div_int(MICROSECONDS);
        slice.set_top(u16::MAX);
        slice.enable();
        Self {
            slice,
            input,
            last: 0,
            looked: 0,
        }
    }

    /// Passes a pulse that has ended to `bridge`: the counter stands still.
    fn look(&mut self, now: u64, bridge: &mut Bridge) {
        if now.saturating_sub(self.looked) < Self::INTERVAL {
            return;
        }
        self.looked = now;
        let count = self.slice.get_counter();
        if count != 0 && count == self.last {
            self.slice.set_counter(0);
            self.last = 0;
            bridge.pulse(now, self.input, count);
        } else {
            self.last = count;
        }
    }
}

#[entry]
fn main() -> ! {
    // Without the chip's parts there is nothing to drive, and the pins put out nothing.
    let Some(mut chip) = pac::Peripherals::take() else {
        panic!();
    };
    let mut watchdog = Watchdog::new(chip.WATCHDOG);
    let Ok(clocks) = init_clocks_and_plls(
        CRYSTAL,
        chip.XOSC,
        chip.CLOCKS,
        chip.PLL_SYS,
        chip.PLL_USB,
        &mut chip.RESETS,
        &mut watchdog,
    ) else {
        panic!();
    };
    let timer = Timer::new(chip.TIMER, &mut chip.RESETS, &clocks);
    let sio = Sio::new(chip.SIO);
    let pins = rp_pico::Pins::new(
        chip.IO_BANK0,
        chip.PADS_BANK0,
        sio.gpio_bank0,
        &mut chip.RESETS,
    );
    let slices = Slices::new(chip.PWM, &mut chip.RESETS);

    let mut outputs = slices.pwm4;
    outputs.set_div_int(MICROSECONDS);
    outputs.set_top(TOP);
    let (servo, motor) = (&mut outputs.channel_a, &mut outputs.channel_b);
    let _ = (servo.set_duty_cycle(0), motor.set_duty_cycle(0));
    servo.output_to(pins.gpio8);
    motor.output_to(pins.gpio9);
    outputs.enable();

    let mut steering = slices.pwm1.into_mode::<InputHighRunning>();
    steering.channel_b.input_from(pins.gpio3);
    let mut throttle = slices.pwm2.into_mode::<InputHighRunning>();
    throttle.channel_b.input_from(pins.gpio5);
    let mut switch = slices.pwm3.into_mode::<InputHighRunning>();
    switch.channel_b.input_from(pins.gpio7);
    let mut steering = Measure::new(steering, Input::Steering);
    let mut throttle = Measure::new(throttle, Input::Throttle);
    let mut switch = Measure::new(switch, Input::Switch);

    let bus = UsbBusAllocator::new(UsbBus::new(
        chip.USBCTRL_REGS,
        chip.USBCTRL_DPRAM,
        clocks.usb_clock,
        true,
        &mut chip.RESETS,
    ));
    let mut serial = SerialPort::new(&bus);
    let names = StringDescriptors::default()
        .manufacturer("Pilotage")
        .product("RP2040 bridge")
        .serial_number("1");
    let builder = UsbDeviceBuilder::new(&bus, USB_ID).device_class(USB_CLASS_CDC);
    // 64 bytes, so that each descriptor is one packet.
    let builder = builder
        .strings(&[names])
        .and_then(|builder| builder.max_packet_size_0(64));
    let Ok(builder) = builder else {
        panic!();
    };
    let mut usb = builder.build();

    let mut bridge = Bridge::new();
    watchdog.start(WATCHDOG_MILLIS.millis());
    loop {
        watchdog.feed();
        let now = timer.get_counter().ticks();
        let mut bytes = [0; 64];
        if usb.poll(&mut [&mut serial])
            && let Ok(length) = serial.read(&mut bytes)
        {
            for byte in &bytes[..length] {
                if let Some(status) = bridge.receive(now, *byte) {
                    // A computer that does not read loses the answer, and notices that.
                    let _ = serial.write(&status);
                }
            }
        }
        steering.look(now, &mut bridge);
        throttle.look(now, &mut bridge);
        switch.look(now, &mut bridge);
        let pulses = bridge.outputs(now);
        let _ = outputs.channel_b.set_duty_cycle(pulses.throttle);
        let _ = outputs.channel_a.set_duty_cycle(pulses.steering);
    }
}
