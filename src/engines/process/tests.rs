use std::fs;
use std::io::{BufRead, BufReader, Write, stderr, stdin};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use pilotage_engine::{AxisOrder, ElementType};
use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Set in the processes that the tests start: this program, with the first test.
const ROLE: &str = "PILOTAGE_TEST_ROLE";
const FIRST_TEST: &str = "engines::process::tests::ports_answers_and_errors_are_forwarded";

/// Inputs for which the engine does something else than adding one.
const REFUSE: f32 = -1.0;
const PANIC: f32 = 1e6;
const ABORT: f32 = 2e6;
const HANG: f32 = 3e6;
const LOSE: f32 = 4e6;
const BE_LATE: f32 = 5e6;
const EXIT: f32 = 6e6;
/// The answer is the number of the process, which a float of 32 bits represents.
const PROCESS: f32 = 7e6;

/// The engine in the process. When it is dropped it makes the file `gone`.
struct Scripted {
    ports: [Port; 1],
    gone: String,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        fs::write(&self.gone, "").unwrap();
    }
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

impl Engine for Scripted {
    fn describe(&self) -> String {
        // A line of it could be mistaken for one of the pilot's.
        "scripted\nready".into()
    }
    fn inputs(&self) -> &[Port] {
        &self.ports
    }
    fn outputs(&self) -> &[Port] {
        &self.ports
    }
    fn prepare(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    fn infer(
        &mut self,
        inputs: &[TensorRef<'_>],
        outputs: &mut [TensorMut<'_>],
    ) -> Result<Timing, EngineError> {
        let ([TensorRef::F32(given)], [TensorMut::F32(answer)]) = (inputs, outputs) else {
            panic!("the tensors have the types of the ports");
        };
        answer[0] = match given[0] {
            REFUSE => return Err(EngineError::NotFinite),
            PANIC => panic!("requested by the test"),
            ABORT => std::process::abort(),
            HANG => hang(),
            LOSE => {
                let reason = "an illegal address".into();
                return Err(EngineError::Lost { reason });
            }
            BE_LATE => {
                thread::sleep(Duration::from_millis(100));
                0.0
            }
            EXIT => std::process::exit(3),
            PROCESS => std::process::id() as f32,
            given => given + 1.0,
        };
        Ok(Timing {
            device: Some(Duration::from_micros(7)),
            ..Timing::default()
        })
    }
}

/// What the process does that the tests start as an engine's.
fn child() {
    serve(|order, file| {
        assert_eq!(file, FILE);
        match order {
            "refuse" => return Err("no\nplan".to_owned()),
            "hang" => hang(),
            "exit" => std::process::exit(3),
            _ => {}
        }
        let port = Port {
            name: "x".into(),
            shape: vec![1],
            element_type: ElementType::F32,
            layout: AxisOrder::Model,
        };
        Ok(Scripted {
            ports: [port],
            gone: order.to_owned(),
        })
    })
    .unwrap();
}

const FILE: &[u8] = b"an engine file";
const HOUR: Duration = Duration::from_secs(3600);

fn this_program(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", FIRST_TEST, "--nocapture"])
        .env(ROLE, role);
    command
}

fn start(order: &str, limits: Limits) -> Result<ProcessEngine, NotStarted> {
    ProcessEngine::start(|| this_program("child"), order.to_owned(), FILE, limits)
}

fn limits(wait: Wait) -> Limits {
    Limits {
        start: Duration::from_secs(30),
        answer: Duration::from_secs(30),
        wait,
    }
}

/// With a limit that a hanging call passes soon.
fn short() -> Limits {
    Limits {
        answer: Duration::from_millis(20),
        ..limits(Wait::Spin)
    }
}

fn ask(engine: &mut ProcessEngine, given: f32) -> Result<f32, EngineError> {
    let mut answer = [f32::NAN];
    let timing = engine.infer(
        &[TensorRef::F32(&[given])],
        &mut [TensorMut::F32(&mut answer)],
    )?;
    assert_eq!(timing.device, Some(Duration::from_micros(7)));
    Ok(answer[0])
}

/// Asks until there is an answer, as the fallback does.
fn ask_until_answered(engine: &mut ProcessEngine, given: f32) -> f32 {
    loop {
        match ask(engine, given) {
            Ok(answer) => return answer,
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
}

fn process(engine: &mut ProcessEngine) -> Pid {
    let number = ask_until_answered(engine, PROCESS);
    Pid::from_raw(number as i32).unwrap()
}

/// Waits until there is no such process, or only its record for the parent.
fn wait_for_end(of: Pid) {
    let path = format!("/proc/{}/stat", of.as_raw_nonzero());
    while fs::read_to_string(&path).is_ok_and(|stat| !stat.contains(") Z ")) {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Suspends a process, and waits until it is.
fn suspend(process: Pid) {
    kill_process(process, Signal::STOP).unwrap();
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    while !fs::read_to_string(&path).unwrap().contains(") T ") {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn ports_answers_and_errors_are_forwarded() {
    match std::env::var(ROLE).as_deref() {
        Ok("child") => return child(),
        Ok("pilot") => return pilot(),
        _ => {}
    }
    for wait in [Wait::Spin, Wait::Sleep] {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let mut engine = start(gone.to_str().unwrap(), limits(wait)).unwrap();
        assert_eq!(engine.describe(), "scripted ready");
        assert_eq!((engine.inputs().len(), engine.outputs().len()), (1, 1));
        engine.prepare().unwrap();
        for given in 0..100_u8 {
            let given = f32::from(given);
            assert_eq!(ask(&mut engine, given), Ok(given + 1.0));
        }
        assert_eq!(ask(&mut engine, REFUSE), Err(EngineError::NotFinite));
        assert_eq!(ask(&mut engine, 1.0), Ok(2.0));
        let refused = engine.infer(&[], &mut []);
        assert!(matches!(refused, Err(EngineError::PortCount { .. })));
        let process = process(&mut engine);
        // An idle engine is dropped, and its process has ended, before `drop` returns.
        drop(engine);
        assert!(gone.exists());
        let path = format!("/proc/{}", process.as_raw_nonzero());
        assert!(!Path::new(&path).exists());
    }
}

#[test]
fn a_late_answer_is_discarded_and_the_process_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let mut engine = start(gone.to_str().unwrap(), short()).unwrap();
    let before = process(&mut engine);
    let limit = short().answer;
    assert_eq!(ask(&mut engine, BE_LATE), Err(EngineError::Stuck { limit }));
    assert_eq!(ask_until_answered(&mut engine, 10.0), 11.0);
    assert_eq!(process(&mut engine), before);
}

#[test]
fn a_process_that_hangs_crashes_or_loses_its_device_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let mut engine = start(gone.to_str().unwrap(), short()).unwrap();
    let limit = short().answer;
    for given in [HANG, PANIC, ABORT, EXIT, LOSE] {
        let before = process(&mut engine);
        let error = ask(&mut engine, given).unwrap_err();
        match given {
            HANG => assert_eq!(error, EngineError::Stuck { limit }),
            LOSE => assert_eq!(error.to_string(), "an illegal address"),
            // The end of a process may take longer than the limit.
            _ => assert!(
                [ended(), EngineError::Stuck { limit }].contains(&error),
                "{given}: {error}"
            ),
        }
        let after = process(&mut engine);
        assert_ne!(before, after, "{given}");
        wait_for_end(before);
    }
}

#[test]
fn no_call_waits_for_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let first = AtomicBool::new(true);
    // The next process is never ready: it reads until the pilot closes the socket.
    let command = move || match first.swap(false, Ordering::Relaxed) {
        true => this_program("child"),
        false => Command::new("cat"),
    };
    // With these limits a call that waits does not return.
    let limits = Limits {
        start: HOUR,
        answer: HOUR,
        wait: Wait::Sleep,
    };
    let order = gone.to_str().unwrap().to_owned();
    let mut engine = ProcessEngine::start(command, order, FILE, limits).unwrap();
    let lost = ask(&mut engine, LOSE).unwrap_err();
    assert_eq!(lost.to_string(), "an illegal address");
    for _ in 0..100 {
        assert!(ask(&mut engine, 1.0).is_err());
        assert!(engine.prepare().is_err());
    }
}

#[test]
fn an_end_just_before_a_request_is_noticed_at_once() {
    let tensors = Arc::new(Tensors::create(&[], &[]).unwrap());
    let mut running = Running::new(Arc::clone(&tensors));
    tensors.memory().set(CHILD, NO_MORE);
    for wait in [Wait::Spin, Wait::Sleep] {
        let answer = running.ask(Request::Infer, HOUR, wait);
        assert!(matches!(answer, Err(Unanswered::Ended)));
    }
}

#[test]
fn a_process_that_answers_without_a_request_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let mut engine = start(gone.to_str().unwrap(), limits(Wait::Sleep)).unwrap();
    let before = process(&mut engine);
    let State::Running(running) = &engine.state else {
        panic!("it has just answered");
    };
    running.tensors.memory().set(CHILD, 1000);
    let error = ask(&mut engine, 1.0).unwrap_err();
    assert!(error.to_string().contains("without a request"), "{error}");
    assert_ne!(process(&mut engine), before);
}

#[test]
fn a_process_that_is_killed_or_suspended_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let gone = gone.to_str().unwrap();
    // In the middle of a call that never returns; without a limit that could end it.
    let mut engine = start(gone, limits(Wait::Sleep)).unwrap();
    let before = process(&mut engine);
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        kill_process(before, Signal::KILL).unwrap();
    });
    assert_eq!(ask(&mut engine, HANG), Err(ended()));
    killer.join().unwrap();
    assert_eq!(ask_until_answered(&mut engine, 1.0), 2.0);
    // While it is idle.
    let before = process(&mut engine);
    kill_process(before, Signal::KILL).unwrap();
    wait_for_end(before);
    assert_eq!(ask_until_answered(&mut engine, 1.0), 2.0);
    drop(engine);

    let mut engine = start(gone, short()).unwrap();
    let before = process(&mut engine);
    suspend(before);
    let limit = short().answer;
    assert_eq!(ask(&mut engine, 1.0), Err(EngineError::Stuck { limit }));
    assert_ne!(process(&mut engine), before);
    wait_for_end(before);
}

#[test]
fn an_engine_that_is_not_made_is_reported() {
    let refused = start("refuse", limits(Wait::Spin)).err().unwrap();
    assert!(
        matches!(&refused, NotStarted::Failed(reason) if reason == "no plan"),
        "{refused}"
    );
    let ended = start("exit", limits(Wait::Spin)).err().unwrap();
    assert!(
        matches!(&ended, NotStarted::Ended(how) if how == "exit status: 3"),
        "{ended}"
    );
    let soon = Limits {
        start: Duration::from_millis(100),
        ..limits(Wait::Spin)
    };
    let stuck = start("hang", soon).err().unwrap();
    assert!(matches!(stuck, NotStarted::Stuck(_)), "{stuck}");
    let nothing = || Command::new("/nonexistent/pilotage");
    let missing = ProcessEngine::start(nothing, String::new(), FILE, soon);
    assert!(matches!(missing, Err(NotStarted::System(_))));
    // A program that is no engine's process.
    let other = || Command::new("true");
    let other = ProcessEngine::start(other, String::new(), FILE, limits(Wait::Spin));
    assert!(matches!(
        other,
        Err(NotStarted::Ended(_) | NotStarted::System(_))
    ));
}

/// A pilot whose engine hangs: in a call, or suspended. It reports the engine's process, and waits
/// for a line; then its main function returns.
fn pilot() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let mut engine = start(gone.to_str().unwrap(), short()).unwrap();
    let process = process(&mut engine);
    if std::env::var_os("PILOTAGE_TEST_SUSPEND").is_some() {
        suspend(process);
    }
    assert!(ask(&mut engine, HANG).is_err());
    let mut out = stderr().lock();
    writeln!(out, "process {}", process.as_raw_nonzero()).unwrap();
    let mut line = String::new();
    stdin().read_line(&mut line).unwrap();
    drop(engine);
}

#[test]
fn a_process_that_hangs_neither_holds_its_pilot_nor_outlives_it() {
    for suspend in [false, true] {
        for kill in [false, true] {
            let mut command = this_program("pilot");
            if suspend {
                command.env("PILOTAGE_TEST_SUSPEND", "1");
            }
            let mut pilot = command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(pilot.stderr.take().unwrap()).lines();
            let mut numbers = lines.map_while(Result::ok).filter_map(|line| {
                let (_, number) = line.split_once("process ")?;
                Pid::from_raw(number.parse().ok()?)
            });
            let process = numbers.next().unwrap();
            if kill {
                pilot.kill().unwrap();
                pilot.wait().unwrap();
            } else {
                drop(pilot.stdin.take());
                assert!(pilot.wait().unwrap().success());
            }
            wait_for_end(process);
        }
    }
}

#[test]
fn the_process_gets_no_descriptor_of_the_pilot() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let mut engine = start(gone.to_str().unwrap(), short()).unwrap();
    // As a camera and a guard's socket: opened before the process that replaces the first one.
    let camera = fs::File::create(folder.path().join("camera")).unwrap();
    let (guard, _) = std::os::unix::net::UnixStream::pair().unwrap();
    let links = |process: &str| -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let links = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        links.map(|link| link.display().to_string()).collect()
    };
    let before = process(&mut engine);
    kill_process(before, Signal::KILL).unwrap();
    wait_for_end(before);
    let after = process(&mut engine);
    assert_ne!(after, before);
    let own = links("self");
    let found = links(&after.as_raw_nonzero().to_string());
    let is_camera = |link: &String| link.ends_with("/camera");
    assert!(own.iter().any(is_camera) && !found.iter().any(is_camera));
    let sockets = |links: &[String]| -> Vec<String> {
        let sockets = links.iter().filter(|link| link.starts_with("socket:"));
        sockets.cloned().collect()
    };
    let own = sockets(&own);
    assert!(own.len() >= 2);
    for socket in sockets(&found) {
        assert!(!own.contains(&socket), "{socket} of {own:?}");
    }
    drop((camera, guard));
}
