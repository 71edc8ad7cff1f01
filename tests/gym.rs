//! A car behind the protocol of Donkeycar's simulator, driven as a physical car is: its camera by a
//! pipe, its motors by a serial port, armed by an operator.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use pilotage_gym::relay::{self, RelayError, Wanted};
use pilotage_gym::{Options, Pace, Server};
use rustix::process::Signal;
use serde_json::Value;

use running::{Running, err, out, wait_for};

#[path = "support/physical.rs"]
mod physical;
#[path = "support/running.rs"]
mod running;

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");
/// The limit for whatever a busy machine does.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands between a relay and the simulator, and sees the car.
#[derive(Clone)]
struct Between {
    address: SocketAddr,
    telemetry: Arc<Mutex<Vec<Value>>>,
    stream: Arc<Mutex<Option<TcpStream>>>,
}

impl Between {
    fn new(simulator: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = Self {
            address: listener.local_addr().unwrap(),
            telemetry: Arc::default(),
            stream: Arc::default(),
        };
        let seen = between.clone();
        thread::spawn(move || {
            let (mut relay, _) = listener.accept().unwrap();
            let mut car = TcpStream::connect(simulator).unwrap();
            *seen.stream.lock().unwrap() = Some(car.try_clone().unwrap());
            let (mut up, mut down) = (relay.try_clone().unwrap(), car.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut up, &mut down));
            let mut lines = BufReader::new(&mut car);
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
                let mut message: Value = serde_json::from_str(&line).unwrap();
                if message["msg_type"] == "telemetry" {
                    message["image"].take();
                    seen.telemetry.lock().unwrap().push(message);
                }
                if relay.write_all(line.as_bytes()).is_err() {
                    return;
                }
                line.clear();
            }
            let _ = relay.shutdown(Shutdown::Both);
        });
        between
    }

    fn all(&self, key: &str) -> Vec<f64> {
        let telemetry = self.telemetry.lock().unwrap();
        let numbers = telemetry.iter().map(|it| it[key].as_f64().unwrap());
        numbers.collect()
    }

    fn last(&self, key: &str) -> f64 {
        self.all(key).pop().unwrap()
    }

    fn cut(&self) {
        let stream = self.stream.lock().unwrap().take().unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
}

fn car(folder: &Path, relay: &Path) -> PathBuf {
    let gym = Path::new(PILOTAGE).with_file_name("pilotage-gym");
    assert!(gym.exists(), "build it first: cargo build -p pilotage-gym");
    physical::write_engine(&folder.join("mine.engine"));
    let text = format!(
        "[engine]\nfile = \"mine.engine\"\n\
         [camera]\nkind = \"pipe\"\ncommand = [{gym:?}, \"frames\", {relay:?}]\nformat = \"RGB3\"\n\
         width = 640\nheight = 480\nrate = 20\ntimeout_ms = 1000\n\
         [mixer]\nwheelbase = 0.257\nsteering_range = 0.42\nspeed_to_throttle = [[0.0, 0.0], [8.5, 1.0]]\n\
         [actuator]\nkind = \"bridge\"\n[actuator.bridge]\nport = {:?}\n\
         [actuator.bridge.steering]\nleft_us = 1000\ncentre_us = 1500\nright_us = 2000\nfailsafe_us = 1500\n\
         disarmed_us = 1500\n\
         [actuator.bridge.throttle]\nahead_us = 2000\nneutral_us = 1500\nreverse_us = 1500\n\
         failsafe_us = 1500\ndisarmed_us = 1500\nbrake = {{ us = 1000, ms = 2000 }}\n\
         [guard]\nsocket = {:?}\ndeadline_ms = 1000\n[guard.throttle]\nmax = 0.4\nmin = 0.0\n",
        relay.join(relay::MOTORS),
        folder.join("guard.sock")
    );
    let file = folder.join("car.toml");
    fs::write(&file, text).unwrap();
    file
}

fn command(car: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PILOTAGE);
    command.args(arguments).arg("--car").arg(car);
    command.stdin(Stdio::null());
    command
}

fn run(car: &Path, word: &str) -> Output {
    command(car, &[word]).output().unwrap()
}

fn wait_state(car: &Path, state: &str) {
    wait_for(PATIENCE, state, || {
        out(&run(car, "status")).starts_with(state)
    });
}

#[test]
fn a_car_of_another_simulator_is_driven_and_stopped_as_a_physical_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::new("127.0.0.1:0", Options::default(), Pace::Real).unwrap();
    let between = Between::new(server.address().unwrap());
    thread::spawn(move || server.run());
    let at = folder.path().join("relay");
    let (ready, is_ready) = mpsc::channel();
    let (place, address) = (at.clone(), between.address.to_string());
    let relayed = thread::spawn(move || {
        let wanted = Wanted {
            scene: "simple".to_owned(),
            width: 640,
            height: 480,
        };
        relay::relay(address.as_str(), wanted, &place, || ready.send(()).unwrap())
    });
    is_ready.recv_timeout(PATIENCE).unwrap();

    let car = car(folder.path(), &at);
    let drive = Running::start(command(&car, &["drive", "--json", "--no-log"]));
    wait_state(&car, "disarmed");
    assert_eq!(
        between.last("speed"),
        0.0,
        "nothing moves before it is armed"
    );
    assert!(run(&car, "arm").status.success());
    let length = |it: &Between| it.all("speed").iter().sum::<f64>() / 20.0;
    wait_for(PATIENCE, "it drives 12 m", || length(&between) > 12.0);
    let furthest = between
        .all("cte")
        .into_iter()
        .fold(0.0, |most: f64, it| most.max(it.abs()));
    assert!(furthest < 1.0, "{furthest} m from the line");
    assert!(between.last("speed") > 1.0);

    // An operator's stop brakes.
    assert!(out(&run(&car, "stop")).starts_with("stopped"));
    wait_for(PATIENCE, "it stands", || between.last("speed") < 0.1);
    assert!(run(&car, "arm").status.success());
    wait_for(PATIENCE, "it drives again", || between.last("speed") > 1.0);
    between.cut();
    let ended = relayed.join().unwrap();
    assert!(matches!(ended, Err(RelayError::Connection(_))), "{ended:?}");
    wait_state(&car, "stopped");
    drive.kill(Signal::TERM);
    let ended = drive.end();
    assert!(!out(&ended).is_empty(), "{}", err(&ended));
}

#[test]
fn a_relay_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = |scene: &str| Wanted {
        scene: scene.to_owned(),
        width: 64,
        height: 48,
    };
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let relay = |address: SocketAddr, scene| {
        relay::relay(
            address.to_string().as_str(),
            wanted(scene),
            folder.path(),
            || (),
        )
        .unwrap_err()
    };
    let nobody = relay(free, "simple").to_string();
    assert!(nobody.contains("start it first"), "{nobody}");
    let server = Server::new("127.0.0.1:0", Options::default(), Pace::Real).unwrap();
    let address = server.address().unwrap();
    thread::spawn(move || server.run());
    let moon = relay(address, "the moon").to_string();
    assert!(
        moon.contains("`the moon`") && moon.contains("generated_road"),
        "{moon}"
    );
}
