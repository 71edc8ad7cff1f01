//! The VESC actuator over a pseudo-terminal, with a model VESC at the other end.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use model::{Message, Model};
use outputs::{DISARMED, FAILSAFE, at, output};
use pilotage_guard::drivers::{Vesc, VescSettings};
use pilotage_guard::{Actuator, ActuatorError, Mode};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use tempfile::TempDir;

mod model;
#[path = "../support/outputs.rs"]
mod outputs;
#[path = "../support/pty.rs"]
mod pty;
mod speed;

fn settings(port: &Path) -> VescSettings {
    VescSettings {
        port: port.to_owned(),
        baud: 115_200,
        full_duty: Some(0.5),
        full_erpm: None,
        erpm_per_mps: None,
        failsafe_brake_a: 5.0,
        disarmed_brake_a: 0.0,
        left: 0.1,
        centre: 0.5,
        right: 0.8,
        failsafe: 0.55,
        disarmed: 0.45,
    }
}

/// A model VESC behind a port of the folder, and the actuator there, whose settings are changed first.
fn plugged(change: impl FnOnce(&mut VescSettings)) -> (TempDir, Model, Vesc) {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let model = Model::plug(&port);
    let mut settings = settings(&port);
    change(&mut settings);
    let vesc = Vesc::open(&settings, Duration::ZERO).unwrap();
    (folder, model, vesc)
}

#[test]
fn each_output_is_sent_in_the_vescs_units() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    assert_eq!(model.received(), [], "nothing before the first write");
    let disarmed = output(Mode::Disarmed, 0.0, 0.0);
    vesc.write(at(0), &disarmed).unwrap();
    let rest = [
        Message::Current(0),
        Message::Servo(450),
        Message::Alive,
        Message::Version,
    ];
    assert_eq!(model.received(), rest);
    let cases = [
        (FAILSAFE, Message::Brake(5000), 550),
        (output(Mode::Drive, 1.0, 1.0), Message::Duty(50_000), 100),
        (output(Mode::Drive, -1.0, -0.5), Message::Duty(-25_000), 800),
        (output(Mode::Drive, 0.0, 0.0), Message::Duty(0), 500),
        (output(Mode::Drive, 0.5, 0.25), Message::Duty(12_500), 300),
    ];
    for (index, (output, motor, servo)) in cases.into_iter().enumerate() {
        vesc.write(at(1 + index as u64), &output).unwrap();
        assert_eq!(
            model.received(),
            [motor, Message::Servo(servo), Message::Alive]
        );
    }
}

#[test]
fn a_speed_is_sent_in_electrical_revolutions_per_minute() {
    let (_folder, mut model, mut vesc) = plugged(|settings| {
        settings.full_duty = None;
        settings.full_erpm = Some(-23_250.0);
    });
    for (index, (output, motor)) in [
        (FAILSAFE, Message::Brake(5000)),
        (output(Mode::Drive, 0.0, 1.0), Message::Erpm(-23_250)),
        (output(Mode::Drive, 0.0, -0.2), Message::Erpm(4650)),
        (output(Mode::Drive, 0.0, 0.0), Message::Erpm(0)),
        (output(Mode::Brake, 0.0, 0.0), Message::Brake(5000)),
        (DISARMED, Message::Current(0)),
    ]
    .into_iter()
    .enumerate()
    {
        vesc.write(at(index as u64), &output).unwrap();
        assert_eq!(model.received()[0], motor);
    }
}

#[test]
fn outputs_are_sent_again_and_the_version_is_requested() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    let (mut alive, mut asked) = (0, 0);
    for millis in (0..3000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        for received in model.received() {
            match received {
                Message::Version => {
                    asked += 1;
                    model.answer();
                }
                Message::Alive => alive += 1,
                _ => {}
            }
        }
    }
    assert!((140..=170).contains(&alive), "{alive} in 3 s");
    assert_eq!(asked, 12);
}

#[test]
fn silence_is_an_error_and_an_answer_ends_it() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    for millis in (0..1000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        let _ = model.received();
    }
    let error = vesc.write(at(1000), &FAILSAFE).unwrap_err();
    assert!(
        matches!(error, ActuatorError::Silent { millis: 1000, .. }),
        "{error}"
    );
    assert!(
        model.received().contains(&Message::Brake(5000)),
        "a silent VESC is also sent failsafe"
    );
    // Noise is not an answer.
    model
        .end
        .write_all(&[2, 5, 0, 6, 2, 2, 2, 0, 3, 255])
        .unwrap();
    for millis in (1005..3000).step_by(5) {
        vesc.write(at(millis), &FAILSAFE).unwrap_err();
        if millis < 2600 {
            let _ = model.received();
        }
    }
    // The VESC has power again, and answers each request.
    let mut back = false;
    for millis in (3000..3700).step_by(5) {
        if model.received().contains(&Message::Version) {
            model.answer();
        }
        back |= vesc.write(at(millis), &FAILSAFE).is_ok();
    }
    assert!(back, "requests are sent to a silent VESC");
}

#[test]
fn a_pause_without_requests_is_not_silence() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    // Pauses as while an operator trims, with one answer lost.
    for (index, millis) in [0, 1600, 3200, 60_000, 61_600].into_iter().enumerate() {
        vesc.write(at(millis), &FAILSAFE).unwrap();
        assert!(model.received().contains(&Message::Version));
        if index != 2 {
            model.answer();
        }
    }
}

#[test]
fn noise_does_not_hide_answers() {
    for noise in [
        vec![0xAA; 4000],
        // Bytes that each start a packet, bytes that each end one, and starts of long packets.
        vec![2; 4000],
        vec![3; 4000],
        [2, 250, 0].repeat(1333),
    ] {
        let (_folder, mut model, mut vesc) = plugged(|_| ());
        // Requests without an answer, until just before the VESC counts as silent.
        for millis in (0..1000).step_by(5) {
            vesc.write(at(millis), &FAILSAFE).unwrap();
            let _ = model.received();
        }
        model.end.write_all(&noise).unwrap();
        model.answer();
        // The answer after the noise is found at once, and each one after it.
        for millis in (1000..4000).step_by(5) {
            vesc.write(at(millis), &FAILSAFE).unwrap();
            if model.received().contains(&Message::Version) {
                model.answer();
            }
        }
    }
}

#[test]
fn an_unplugged_port_is_an_error_and_is_opened_again() {
    let (folder, model, mut vesc) = plugged(|_| ());
    let port = folder.path().join("vesc");
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
    let received = [
        Message::Brake(5000),
        Message::Servo(550),
        Message::Alive,
        Message::Version,
    ];
    assert_eq!(model.received(), received);
    // The port is locked again; as root only by the lock, because root may open it a second time.
    Vesc::open(&settings(&port), Duration::ZERO).unwrap_err();
}

#[test]
fn a_port_with_a_new_name_is_reported_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ttyACM0");
    let model = Model::plug(&port);
    let mut vesc = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    vesc.write(at(0), &FAILSAFE).unwrap();
    drop(model);
    std::fs::remove_file(&port).unwrap();
    let _elsewhere = Model::plug(&folder.path().join("ttyACM1"));
    // First the port is hung up; after that the path does not exist.
    let first = vesc.write(at(5), &FAILSAFE).unwrap_err();
    assert!(
        first
            .to_string()
            .starts_with(&format!("{}: ", port.display()))
    );
    for millis in (10..2000).step_by(5) {
        let error = vesc.write(at(millis), &FAILSAFE).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, ActuatorError::Gone { .. }), "{message}");
        assert!(
            message.starts_with(&format!("{}: ", port.display())),
            "{message}"
        );
        assert!(message.contains("/dev/serial/by-id"), "{message}");
    }
}

#[test]
fn a_port_that_is_not_read_never_blocks() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    let began = Instant::now();
    let mut failed = false;
    // 60,000 packets of about 30 bytes; a port buffers a few thousand bytes.
    for millis in 0..60_000 {
        if millis % 500 == 0 {
            model.answer();
        }
        let value = (millis % 100) as f32 / 100.0;
        failed |= vesc
            .write(at(millis), &output(Mode::Drive, value, value))
            .is_err();
    }
    assert!(failed, "a full port is reported");
    assert!(began.elapsed() < Duration::from_secs(20));
}

/// A VESC that is late is not unplugged: the port stays open, so what it has not read yet is not
/// discarded.
#[test]
fn a_port_that_is_not_read_stays_open() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    assert_eq!(vesc.name(), "vesc");
    let mut failures = 0;
    for millis in 0..60_000 {
        model.answer();
        let value = (millis % 100) as f32 / 100.0;
        let written = vesc.write(at(millis), &output(Mode::Drive, value, value));
        failures += u32::from(written.is_err());
        // Longer than the pause until the next attempt.
        if failures == 500 {
            break;
        }
    }
    assert_eq!(failures, 500);
    let mut waiting = [0; 1 << 16];
    let length = model.end.read(&mut waiting).unwrap();
    assert!(length > 1000, "only {length} bytes are left");
}

#[test]
fn garbage_from_the_port_is_ignored() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    let mut noise = 1_u32;
    for millis in (0..5000).step_by(5) {
        let bytes: [u8; 40] = std::array::from_fn(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        });
        model.end.write_all(&bytes).unwrap();
        if model.received().contains(&Message::Version) {
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
    // The lock refuses root, the kernel refuses other users.
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

/// For example ModemManager, which does not use the guard's lock.
#[test]
fn no_other_program_can_open_the_port() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("vesc");
    let _model = Model::plug(&port);
    let held = Vesc::open(&settings(&port), Duration::ZERO).unwrap();
    let open_again = || {
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        rustix::fs::open(&port, flags, rustix::fs::Mode::empty())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            // CAP_SYS_ADMIN, which allows opening the port again, is dropped for this thread only.
            let mut rights = rustix::thread::capabilities(None).unwrap();
            rights.effective -= CapabilitySet::SYS_ADMIN;
            rustix::thread::set_capabilities(None, rights).unwrap();
            open_again().map(drop)
        });
        assert_eq!(other.join().unwrap(), Err(Errno::BUSY));
    });
    drop(held);
    open_again().unwrap();
}

#[test]
fn after_the_first_a_write_does_not_allocate() {
    let (_folder, mut model, mut vesc) = plugged(|_| ());
    vesc.write(at(0), &FAILSAFE).unwrap();
    for millis in (5..3000).step_by(5) {
        model.answer();
        let counted = allocation_counter::measure(|| {
            vesc.write(at(millis), &FAILSAFE).unwrap();
        });
        assert_eq!(counted.count_total, 0);
        let _ = model.received();
    }
}
