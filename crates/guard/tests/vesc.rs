//! The VESC's actuator over a pseudo-terminal, with a model VESC at its other end.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pilotage_guard::actuators::{Vesc, VescSettings};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output};
use pilotage_vehicle::Time;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::thread::CapabilitySet;

/// What a VESC is told, decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    Version,
    Duty(i32),
    Current(i32),
    Brake(i32),
    Servo(i16),
    Alive,
    Other(u8),
}

/// The other end of the line.
struct Model {
    end: File,
    left: Vec<u8>,
}

impl Model {
    /// Plugs one in, so that `port` leads to it.
    fn plug(port: &Path) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let end = rustix::pty::openpt(flags).unwrap();
        rustix::pty::grantpt(&end).unwrap();
        rustix::pty::unlockpt(&end).unwrap();
        let name = rustix::pty::ptsname(&end, Vec::new()).unwrap();
        rustix::fs::fcntl_setfl(&end, OFlags::NONBLOCK).unwrap();
        let _ = std::fs::remove_file(port);
        std::os::unix::fs::symlink(OsStr::from_bytes(name.as_bytes()), port).unwrap();
        Self {
            end: File::from(end),
            left: Vec::new(),
        }
    }

    /// All that it was told since, and nothing but whole packets.
    fn told(&mut self) -> Vec<Told> {
        let mut bytes = [0; 4096];
        loop {
            match self.end.read(&mut bytes) {
                Ok(length) => self.left.extend(&bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Nobody has the line open.
                Err(_) => break,
            }
        }
        let mut told = Vec::new();
        while let [2, length, rest @ ..] = self.left.as_slice() {
            let length = usize::from(*length);
            let (payload, tail) = rest.split_at(length);
            assert_eq!(u16::from_be_bytes([tail[0], tail[1]]), remainder(payload));
            assert_eq!(tail[2], 3);
            let number = || i32::from_be_bytes(payload[1..].try_into().unwrap());
            told.push(match payload[0] {
                0 => Told::Version,
                5 => Told::Duty(number()),
                6 => Told::Current(number()),
                7 => Told::Brake(number()),
                12 => Told::Servo(i16::from_be_bytes(payload[1..].try_into().unwrap())),
                30 => Told::Alive,
                other => Told::Other(other),
            });
            self.left.drain(..length + 5);
        }
        assert!(self.left.is_empty(), "no half packets: {:?}", self.left);
        told
    }

    fn answer(&mut self) {
        let payload = [0, 6, 2, b'V', 0];
        let [high, low] = remainder(&payload).to_be_bytes();
        self.end.write_all(&[2, 5]).unwrap();
        self.end.write_all(&payload).unwrap();
        self.end.write_all(&[high, low, 3]).unwrap();
    }
}

/// CRC-16/XMODEM as what it is: the message's remainder by x^16 + x^12 + x^5 + 1.
fn remainder(payload: &[u8]) -> u16 {
    let bits = payload
        .iter()
        .chain(&[0, 0])
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(*byte) >> bit & 1));
    let rest = bits.fold(0_u32, |rest, bit| {
        let rest = rest << 1 | bit;
        if rest & 0x1_0000 == 0 {
            rest
        } else {
            rest ^ 0x1_1021
        }
    });
    rest as u16
}

fn settings(port: &Path) -> VescSettings {
    VescSettings {
        port: port.to_owned(),
        baud: 115_200,
        full_duty: 0.5,
        failsafe_brake_a: 5.0,
        disarmed_brake_a: 0.0,
        left: 0.1,
        centre: 0.5,
        right: 0.8,
        failsafe: 0.55,
        disarmed: 0.45,
    }
}

fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000 * (millis + 1))
}

fn output(mode: Mode, steering: f32, throttle: f32) -> Output {
    Output {
        mode,
        steering,
        throttle,
    }
}

const FAILSAFE: Output = Output {
    mode: Mode::Failsafe,
    steering: 0.0,
    throttle: 0.0,
};

#[test]
fn each_output_is_told_in_the_vescs_units() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    assert_eq!(model.told(), [], "nothing before the first write");
    let disarmed = output(Mode::Disarmed, 0.0, 0.0);
    vesc.write(at(0), &disarmed).unwrap();
    let rest = [
        Told::Current(0),
        Told::Servo(450),
        Told::Alive,
        Told::Version,
    ];
    assert_eq!(model.told(), rest);
    let cases = [
        (FAILSAFE, Told::Brake(5000), 550),
        (output(Mode::Drive, 1.0, 1.0), Told::Duty(50_000), 100),
        (output(Mode::Drive, -1.0, -0.5), Told::Duty(-25_000), 800),
        (output(Mode::Drive, 0.0, 0.0), Told::Duty(0), 500),
        (output(Mode::Drive, 0.5, 0.25), Told::Duty(12_500), 300),
    ];
    for (index, (output, motor, servo)) in cases.into_iter().enumerate() {
        vesc.write(at(1 + index as u64), &output).unwrap();
        assert_eq!(model.told(), [motor, Told::Servo(servo), Told::Alive]);
    }
}

#[test]
fn what_holds_is_told_again_and_the_vesc_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let (mut alive, mut asked) = (0, 0);
    for millis in (0..3000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        for told in model.told() {
            match told {
                Told::Version => {
                    asked += 1;
                    model.answer();
                }
                Told::Alive => alive += 1,
                _ => {}
            }
        }
    }
    assert!((140..=170).contains(&alive), "{alive} in 3 s");
    assert_eq!(asked, 12);
}

#[test]
fn silence_is_an_error_and_an_answer_ends_it() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    for millis in (0..1000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        let _ = model.told();
    }
    let error = vesc.write(at(1000), &FAILSAFE).unwrap_err();
    assert!(
        matches!(error, ActuatorError::Silent { millis: 1000, .. }),
        "{error}"
    );
    assert!(
        model.told().contains(&Told::Brake(5000)),
        "it is told all the same"
    );
    // Noise is no answer.
    model
        .end
        .write_all(&[2, 5, 0, 6, 2, 2, 2, 0, 3, 255])
        .unwrap();
    for millis in (1005..3000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap_err();
        if millis < 2600 {
            let _ = model.told();
        }
    }
    // Its battery is back: it answers when asked, and only then.
    let mut back = false;
    for millis in (3000..3700).step_by(5) {
        if model.told().contains(&Told::Version) {
            model.answer();
        }
        back |= vesc.write(at(millis), &FAILSAFE).is_ok();
    }
    assert!(back, "it is asked while it is silent");
}

#[test]
fn a_pause_in_which_it_is_not_asked_is_no_silence() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    // An operator looks at the wheels between two values; one answer is lost besides.
    for (index, millis) in [0, 1600, 3200, 60_000, 61_600].into_iter().enumerate() {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        assert!(model.told().contains(&Told::Version));
        if index != 2 {
            model.answer();
        }
    }
}

#[test]
fn noise_holds_up_no_answer() {
    for noise in [
        vec![0xAA; 4000],
        // Each byte begins a packet; as many end one; and one that would be long.
        vec![2; 4000],
        vec![3; 4000],
        [2, 250, 0].repeat(1333),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let port = folder.path().join("vesc");
        let mut model = Model::plug(&port);
        let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
        // Questions without an answer, up to the moment at which they are silence.
        for millis in (0..1000).step_by(5) {
            vesc.write(at(millis), &FAILSAFE).unwrap();
            let _ = model.told();
        }
        model.end.write_all(&noise).unwrap();
        model.answer();
        // The answer behind the noise is read at once, and each one after it.
        for millis in (1000..4000).step_by(5) {
            vesc.write(at(millis), &FAILSAFE).unwrap();
            if model.told().contains(&Told::Version) {
                model.answer();
            }
        }
    }
}

#[test]
fn an_unplugged_line_is_an_error_and_opened_again_when_back() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    vesc.write(at(0), &output(Mode::Drive, 0.0, 1.0)).unwrap();
    drop(model);
    for millis in (5..1000).step_by(5) {
        let error = vesc.write(at(millis), &FAILSAFE).unwrap_err();
        assert!(
            matches!(
                error,
                ActuatorError::Write { .. } | ActuatorError::Gone { .. }
            ),
            "{error}"
        );
    }
    let mut model = Model::plug(&port);
    let back = (1000..1400)
        .step_by(5)
        .find(|millis| vesc.write(at(*millis), &FAILSAFE).is_ok());
    assert!(back.is_some_and(|millis| millis <= 1325), "{back:?}");
    let told = [
        Told::Brake(5000),
        Told::Servo(550),
        Told::Alive,
        Told::Version,
    ];
    assert_eq!(model.told(), told);
    // It is held as before: by its lock at least, as root may open it again.
    Vesc::open(&settings(&port), Duration::ZERO).unwrap_err();
}

#[test]
fn one_that_came_back_under_another_name_is_reported_with_the_name_to_use() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ttyACM0");
    let model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    vesc.write(at(0), &FAILSAFE).unwrap();
    drop(model);
    std::fs::remove_file(&port).unwrap();
    let _elsewhere = Model::plug(&folder.path().join("ttyACM1"));
    // The line hung up; from then on the reason is that nothing has this name.
    let first = vesc.write(at(5), &FAILSAFE).unwrap_err();
    assert!(
        first
            .to_string()
            .starts_with(&format!("{}: ", port.display()))
    );
    for millis in (10..2000).step_by(5) {
        let error = vesc.write(at(millis), &FAILSAFE).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, ActuatorError::Gone { .. }), "{said}");
        assert!(said.starts_with(&format!("{}: ", port.display())), "{said}");
        assert!(said.contains("/dev/serial/by-id"), "{said}");
    }
}

#[test]
fn a_line_that_nobody_reads_never_blocks() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let began = Instant::now();
    let mut failed = false;
    // 60,000 packets of about 30 bytes; a line holds a few thousand bytes.
    for millis in 0..60_000 {
        if millis % 500 == 0 {
            model.answer();
        }
        let value = (millis % 100) as f32 / 100.0;
        failed |= vesc
            .write(at(millis), &output(Mode::Drive, value, value))
            .is_err();
    }
    assert!(failed, "what the line does not take is said");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn garbage_from_the_line_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let mut noise = 1_u32;
    for millis in (0..5000).step_by(5) {
        let bytes: [u8; 40] = std::array::from_fn(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        model.end.write_all(&bytes).unwrap();
        if model.told().contains(&Told::Version) {
            model.answer();
        }
        vesc.write(at(millis), &FAILSAFE).unwrap();
    }
}

#[test]
fn a_second_holder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let _model = Model::plug(&port);
    let first = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let refused = Vesc::open(&settings(&port), Duration::ZERO).unwrap_err();
    // Root is refused by the lock, others by the kernel.
    assert!(
        matches!(
            refused.kind(),
            ErrorKind::WouldBlock | ErrorKind::ResourceBusy
        ),
        "{refused}"
    );
    drop(first);
    Vesc::open(&settings(&port), Duration::from_secs(1)).unwrap();
}

/// ModemManager and others that know of no lock of ours.
#[test]
fn no_other_program_can_open_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let _model = Model::plug(&port);
    let held = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let opened = || {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        rustix::fs::open(&port, flags, rustix::fs::Mode::empty())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            // Of this thread alone; only with it may a port be opened again.
            let mut rights = rustix::thread::capabilities(None).unwrap();
            rights.effective -= CapabilitySet::SYS_ADMIN;
            rustix::thread::set_capabilities(None, rights).unwrap();
            opened().map(drop)
        });
        assert_eq!(other.join().unwrap(), Err(Errno::BUSY));
    });
    drop(held);
    opened().unwrap();
}

#[test]
fn after_the_first_a_write_does_not_allocate() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let mut model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    vesc.write(at(0), &FAILSAFE).unwrap();
    for millis in (5..3000).step_by(5) {
        model.answer();
        let counted = allocation_counter::measure(|| {
            vesc.write(at(millis), &FAILSAFE).unwrap();
        });
        assert_eq!(counted.count_total, 0);
        let _ = model.told();
    }
}
