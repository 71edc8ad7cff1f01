//! An actuator on a separate thread: if it hangs, the guard must not hang.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pilotage_guard::drivers::{OpenError, OutputEnable, Worker};
use pilotage_guard::{Actuator, ActuatorError, Mode, Output, conformance};
use pilotage_vehicle::Time;

/// The state of a stand-in device.
#[derive(Default)]
struct Device {
    written: Mutex<Vec<Output>>,
    /// How long the next write takes.
    hang: Mutex<Duration>,
    broken: AtomicBool,
    /// Whether the driver exists.
    open: AtomicBool,
}

impl Device {
    fn last(&self) -> Option<Output> {
        self.written.lock().unwrap().last().copied()
    }

    fn hang(&self, time: Duration) {
        *self.hang.lock().unwrap() = time;
    }
}

/// The device's driver, which is not `Send` and stays on its thread.
struct Driver(Arc<Device>, f32, std::marker::PhantomData<std::rc::Rc<()>>);

impl Actuator for Driver {
    fn name(&self) -> &str {
        "driver"
    }

    fn write(&mut self, _: Time, output: &Output) -> Result<(), ActuatorError> {
        let hang = std::mem::take(&mut *self.0.hang.lock().unwrap());
        std::thread::sleep(hang);
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(ActuatorError::Write {
                device: "driver".into(),
                reason: std::io::Error::from_raw_os_error(5),
            });
        }
        let mut output = *output;
        output.steering *= self.1;
        self.0.written.lock().unwrap().push(output);
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}

fn started() -> (Arc<Device>, Worker<Driver>) {
    let device = Arc::new(Device::default());
    let driver_device = Arc::clone(&device);
    let worker = Worker::start("stand-in", "/dev/stand-in", move || {
        driver_device.open.store(true, Ordering::Relaxed);
        Ok(Driver(driver_device, 1.0, std::marker::PhantomData))
    });
    (device, worker.unwrap())
}

fn at(millis: u64) -> Time {
    Time::from_nanos(1_000_000 * (millis + 1))
}

fn output(mode: Mode, throttle: f32) -> Output {
    Output {
        mode,
        steering: 0.0,
        throttle,
    }
}

/// The write timeout of 10 ms, with a margin for a busy machine.
const SOON: Duration = Duration::from_millis(300);

#[test]
fn without_a_hang_it_behaves_like_its_actuator() {
    let (device, mut worker) = started();
    assert_eq!(worker.name(), "stand-in");
    conformance::actuator(&mut worker, 0.0, |_| {
        let last = device.last().unwrap();
        (last.steering, last.throttle)
    });
    assert_eq!(device.written.lock().unwrap().len(), 24);
}

#[test]
fn a_hang_delays_no_write_and_then_the_newest_output_is_written() {
    let (device, mut worker) = started();
    worker.write(at(0), &output(Mode::Drive, 0.1)).unwrap();
    let hang = Duration::from_secs(1);
    device.hang(hang);
    let began = Instant::now();
    let (mut longest, mut count, mut last, mut prompt) = (Duration::ZERO, 0, 0, 0);
    // Ticks of a guard that drives, then stops.
    while began.elapsed() < Duration::from_millis(800) {
        let mode = if count < 10 {
            Mode::Drive
        } else {
            Mode::Failsafe
        };
        let before = Instant::now();
        let error = worker.write(at(5 * count), &output(mode, 0.2 * count as f32));
        longest = longest.max(before.elapsed());
        prompt += u64::from(before.elapsed() < Duration::from_millis(8));
        let Err(ActuatorError::Stuck { device, millis }) = error else {
            panic!("{error:?}");
        };
        assert_eq!(&*device, "/dev/stand-in");
        assert!(millis >= last.max(9), "{millis}");
        last = millis;
        count += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(longest < SOON, "{longest:?}");
    assert!(last >= 700, "{last}");
    // Only the first write waits.
    assert!(prompt > count / 2, "{prompt} of {count} took no time");
    // No more outputs are submitted. Failsafe is written when the hang ends.
    while began.elapsed() < hang + SOON && device.written.lock().unwrap().len() < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let written: Vec<Mode> = device
        .written
        .lock()
        .unwrap()
        .iter()
        .map(|o| o.mode)
        .collect();
    // The output during the hang, and the newest output; none of those between.
    assert_eq!(written, [Mode::Drive, Mode::Drive, Mode::Failsafe]);
    let newest = 0.2 * (count - 1) as f32;
    assert!((device.last().unwrap().throttle - newest).abs() < 1e-6);
    // Writes succeed again.
    worker
        .write(at(2000), &output(Mode::Failsafe, 0.0))
        .unwrap();
}

/// An output-enable pin, with its last value.
struct Pin(Arc<Mutex<Option<bool>>>);

impl OutputEnable for Pin {
    fn set(&mut self, through: bool) -> std::io::Result<()> {
        *self.0.lock().unwrap() = Some(through);
        Ok(())
    }
}

/// A pin that records what it was set to.
struct History(Arc<Mutex<Vec<bool>>>);

impl OutputEnable for History {
    fn set(&mut self, through: bool) -> std::io::Result<()> {
        self.0.lock().unwrap().push(through);
        Ok(())
    }
}

/// A pin that counts its beats, or refuses them.
struct Beating(Arc<Mutex<Result<u32, ()>>>);

impl OutputEnable for Beating {
    fn set(&mut self, _: bool) -> std::io::Result<()> {
        Ok(())
    }

    fn beat(&mut self) -> std::io::Result<()> {
        match &mut *self.0.lock().unwrap() {
            Ok(count) => *count += 1,
            Err(()) => return Err(std::io::ErrorKind::BrokenPipe.into()),
        }
        Ok(())
    }
}

/// A charge pump on the pin disables the outputs when the beats end.
#[test]
fn the_pin_beats_with_each_write_that_succeeds_and_with_no_other() {
    let beats = Arc::new(Mutex::new(Ok(0)));
    let (device, worker) = started();
    let mut worker = worker.with_output_enable(Beating(Arc::clone(&beats)));
    let drive = output(Mode::Drive, 0.5);
    for count in 1..=3 {
        worker.write(at(5 * u64::from(count)), &drive).unwrap();
        assert_eq!(*beats.lock().unwrap(), Ok(count));
    }
    device.broken.store(true, Ordering::Relaxed);
    worker.write(at(20), &drive).unwrap_err();
    device.broken.store(false, Ordering::Relaxed);
    device.hang(Duration::from_millis(300));
    for millis in [25, 30, 35] {
        worker.write(at(millis), &drive).unwrap_err();
    }
    assert_eq!(*beats.lock().unwrap(), Ok(3));
    std::thread::sleep(Duration::from_millis(400));
    worker.write(at(500), &drive).unwrap();
    assert_eq!(*beats.lock().unwrap(), Ok(4));
    // Without beats nothing drives, so the guard must not count the write as done.
    *beats.lock().unwrap() = Err(());
    worker.write(at(505), &drive).unwrap_err();
}

#[test]
fn during_a_hang_the_pin_disables_the_outputs() {
    let set = Arc::new(Mutex::new(None));
    let (device, worker) = started();
    let mut worker = worker.with_output_enable(Pin(Arc::clone(&set)));
    let failsafe = output(Mode::Failsafe, 0.0);
    worker.write(at(0), &output(Mode::Drive, 0.5)).unwrap();
    assert_eq!(
        *set.lock().unwrap(),
        None,
        "the actuator sets the pin itself"
    );
    device.hang(Duration::from_millis(300));
    worker.write(at(5), &failsafe).unwrap_err();
    assert_eq!(*set.lock().unwrap(), Some(false));
    worker.write(at(10), &failsafe).unwrap_err();
    assert_eq!(*set.lock().unwrap(), Some(false));
    std::thread::sleep(Duration::from_millis(400));
    worker.write(at(500), &failsafe).unwrap();
    assert_eq!(*set.lock().unwrap(), Some(true));
    // After the hang, writes fail.
    device.hang(Duration::from_millis(300));
    worker.write(at(505), &failsafe).unwrap_err();
    device.broken.store(true, Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(400));
    worker.write(at(1000), &failsafe).unwrap_err();
    assert_eq!(*set.lock().unwrap(), Some(false));
}

#[test]
fn outputs_that_are_held_back_stay_so_whatever_is_written() {
    let set = Arc::new(Mutex::new(None));
    let (device, worker) = started();
    let mut worker = worker.with_output_enable(Pin(Arc::clone(&set)));
    let drive = output(Mode::Drive, 0.5);
    worker.write(at(0), &drive).unwrap();
    worker.hold_back(true);
    for millis in [5, 10] {
        // As the actuator does when it sets its device up anew.
        *set.lock().unwrap() = Some(true);
        worker.write(at(millis), &drive).unwrap();
        assert_eq!(*set.lock().unwrap(), Some(false));
    }
    worker.hold_back(false);
    assert_eq!(*set.lock().unwrap(), Some(true));
    // The end of the trial does not enable the outputs of an actuator that hangs.
    worker.hold_back(true);
    device.hang(Duration::from_millis(300));
    worker.write(at(15), &drive).unwrap_err();
    worker.hold_back(false);
    assert_eq!(*set.lock().unwrap(), Some(false));
    std::thread::sleep(Duration::from_millis(400));
    worker.write(at(500), &drive).unwrap();
    assert_eq!(*set.lock().unwrap(), Some(true));
    // Neither does it after a write that failed.
    worker.hold_back(true);
    worker.write(at(505), &drive).unwrap();
    device.broken.store(true, Ordering::Relaxed);
    worker.write(at(510), &drive).unwrap_err();
    worker.hold_back(false);
    assert_eq!(*set.lock().unwrap(), Some(false));

    let beats = Arc::new(Mutex::new(Ok(0)));
    let (_, worker) = started();
    let mut worker = worker.with_output_enable(Beating(Arc::clone(&beats)));
    for (held_back, count) in [(false, 1), (true, 1), (true, 1), (false, 2)] {
        worker.hold_back(held_back);
        worker.write(at(5), &drive).unwrap();
        assert_eq!(*beats.lock().unwrap(), Ok(count));
    }
}

#[test]
fn outputs_that_are_held_back_stay_so_when_a_hang_ends() {
    let all = Arc::new(Mutex::new(Vec::new()));
    let (device, worker) = started();
    let mut worker = worker.with_output_enable(History(Arc::clone(&all)));
    let drive = output(Mode::Drive, 0.5);
    worker.write(at(0), &drive).unwrap();
    worker.hold_back(true);
    device.hang(Duration::from_millis(300));
    worker.write(at(5), &drive).unwrap_err();
    std::thread::sleep(Duration::from_millis(400));
    worker.write(at(500), &drive).unwrap();
    let all = all.lock().unwrap();
    assert!(
        all.len() >= 2 && all.iter().all(|&through| !through),
        "{all:?}"
    );
}

#[test]
fn errors_and_success_of_the_actuator_are_returned() {
    let (device, mut worker) = started();
    worker.write(at(0), &output(Mode::Failsafe, 0.0)).unwrap();
    device.broken.store(true, Ordering::Relaxed);
    for millis in [5, 5, 10] {
        let error = worker.write(at(millis), &output(Mode::Failsafe, 0.0));
        let Err(ActuatorError::Write { device, reason }) = error else {
            panic!("{error:?}");
        };
        assert_eq!((&*device, reason.raw_os_error()), ("driver", Some(5)));
    }
    device.broken.store(false, Ordering::Relaxed);
    worker.write(at(15), &output(Mode::Failsafe, 0.0)).unwrap();
}

#[test]
fn the_first_write_and_a_slow_cars_bus_may_take_longer() {
    let (device, mut worker) = started();
    device.hang(Duration::from_millis(200));
    worker.write(at(0), &output(Mode::Disarmed, 0.0)).unwrap();
    worker.set_deadline(Duration::from_secs(6));
    device.hang(Duration::from_millis(100));
    worker.write(at(5), &output(Mode::Disarmed, 0.0)).unwrap();
    worker.set_deadline(Duration::from_millis(150));
    device.hang(Duration::from_millis(100));
    worker
        .write(at(10), &output(Mode::Disarmed, 0.0))
        .unwrap_err();
}

#[test]
fn adjustments_apply_from_the_next_write_on() {
    let (device, mut worker) = started();
    let steer = Output {
        steering: 1.0,
        ..output(Mode::Drive, 0.0)
    };
    worker.write(at(0), &steer).unwrap();
    worker.adjust(|driver| driver.1 = 2.0);
    worker.adjust(|driver| driver.1 = 3.0);
    worker.write(at(5), &steer).unwrap();
    let steering: Vec<f32> = device
        .written
        .lock()
        .unwrap()
        .iter()
        .map(|o| o.steering)
        .collect();
    assert_eq!(steering, [1.0, 3.0]);
}

#[test]
fn a_build_error_is_returned_by_start() {
    let none = Worker::<Driver>::start("stand-in", "nowhere", || Err(OpenError::Simulated));
    assert!(matches!(none.err(), Some(OpenError::Simulated)));
}

#[test]
fn dropping_it_writes_the_last_output_and_releases_the_device() {
    let (device, mut worker) = started();
    worker.write(at(0), &output(Mode::Drive, 0.5)).unwrap();
    device.hang(Duration::from_millis(30));
    worker.write(at(5), &output(Mode::Drive, 0.5)).unwrap_err();
    worker
        .write(at(10), &output(Mode::Failsafe, 0.0))
        .unwrap_err();
    drop(worker);
    assert_eq!(device.last().unwrap().mode, Mode::Failsafe);
    assert!(!device.open.load(Ordering::Relaxed));
    // An actuator that hangs for long is abandoned.
    let (device, mut worker) = started();
    worker.write(at(0), &output(Mode::Drive, 0.5)).unwrap();
    device.hang(Duration::from_secs(2));
    worker.write(at(5), &output(Mode::Drive, 0.5)).unwrap_err();
    let began = Instant::now();
    drop(worker);
    assert!(began.elapsed() < Duration::from_secs(1));
    assert!(device.open.load(Ordering::Relaxed));
}

#[test]
fn a_write_does_not_allocate() {
    let (device, mut worker) = started();
    device.written.lock().unwrap().reserve(1000);
    worker.write(at(0), &output(Mode::Drive, 0.5)).unwrap();
    let counted = allocation_counter::measure(|| {
        for step in 1..500_u16 {
            let taken = worker.write(at(step.into()), &output(Mode::Drive, f32::from(step)));
            taken.unwrap();
        }
    });
    assert_eq!(counted.count_total, 0);
}
