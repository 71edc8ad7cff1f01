//! A drive with the real page's program, and the page in Chromium.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::chromium::Browser;
use crate::{film, pins};

const PILOTAGE: &str = env!("CARGO_BIN_EXE_pilotage");
/// The longest wait for what has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `pilotage`, with a page.
pub struct Drive {
    child: Child,
    lines: Receiver<String>,
    /// The address of the page.
    pub url: String,
}

impl Drive {
    /// Starts `pilotage` with these arguments and a page at a free port.
    pub fn start(arguments: &[&str]) -> Self {
        for program in ["pilotage-guard", "pilotage-watch"] {
            let built = Path::new(PILOTAGE).with_file_name(program);
            assert!(
                built.exists(),
                "{} does not exist: build it with `cargo build --package {program}`",
                built.display()
            );
        }
        let mut command = Command::new(PILOTAGE);
        command
            .args(arguments)
            .args(["--no-log", "--listen", "127.0.0.1:0"]);
        Self::run(command)
    }

    /// Starts the page's program for the recordings in a folder.
    pub fn recordings(folder: &Path) -> Self {
        let program = Path::new(PILOTAGE).with_file_name("pilotage-watch");
        // Its messages are read from standard error.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" >&2"]).arg(program);
        command.arg("--recordings").arg(folder);
        command.args(["--listen", "127.0.0.1:0"]);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = BufReader::new(child.stderr.take().unwrap()).lines();
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in printed.map_while(Result::ok) {
                // Shown when the test fails.
                eprintln!("{line}");
                let _ = send.send(line);
            }
        });
        let mut drive = Self {
            child,
            lines,
            url: String::new(),
        };
        let line = drive.wait_for_message("watch: http");
        drive.url = line.trim_start_matches("watch: ").to_owned();
        drive
    }

    /// The next message with this text.
    pub fn wait_for_message(&self, what: &str) -> String {
        let mut before = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(what) => return line,
                Ok(line) => before += &(line + "\n"),
                Err(_) => panic!("{what:?} was not printed, but: {before}"),
            }
        }
    }

    /// The port of the page.
    pub fn port(&self) -> u16 {
        let address = self.url.trim_start_matches("http://127.0.0.1:");
        address.split('/').next().unwrap().parse().unwrap()
    }

    /// The report of `--json`, at the end of the drive.
    pub fn report(mut self) -> Value {
        let mut text = String::new();
        let mut printed = self.child.stdout.take().unwrap();
        printed.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The page's program, a child of `pilotage`.
    pub fn page_program(&self) -> Pid {
        let list = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(list).unwrap();
        let child = children.split_whitespace().find(|child| {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm"));
            name.is_ok_and(|name| name.trim() == "pilotage-watch")
        });
        let child = child.unwrap_or_else(|| panic!("no pilotage-watch among {children}"));
        Pid::from_raw(child.parse().unwrap()).unwrap()
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        // The guard of a car of its own and the page end with it.
        let _ = rustix::process::kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// A car whose motors are PWM pins that are files.
pub struct Car(tempfile::TempDir);

impl Car {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        film::pictures(&folder.path().join("pictures"));
        let text = format!(
            "[camera]\nkind = \"folder\"\nfolder = \"pictures\"\nrepeat = true\nrate = 50\n\
             [guard]\ndeadline_ms = 200\nsocket = {:?}\n[guard.throttle]\nmax = 0.2\n{}",
            folder.path().join("guard.sock"),
            pins::lay(folder.path())
        );
        std::fs::write(folder.path().join("car.toml"), text).unwrap();
        Self(folder)
    }

    pub fn drive(&self) -> Drive {
        let file = self.0.path().join("car.toml");
        Drive::start(&["drive", "--by-page", "--car", file.to_str().unwrap()])
    }

    pub fn pulses(&self) -> [u32; 2] {
        pins::pulses(self.0.path())
    }

    /// The time since `began` at which the pins have what `is` accepts.
    pub fn time_until(
        &self,
        began: Instant,
        what: &str,
        is: impl Fn([u32; 2]) -> bool,
    ) -> Duration {
        wait(what, || is(self.pulses()));
        began.elapsed()
    }
}

pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "it never happened: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The page in a browser of its own.
pub struct Page {
    pub browser: Browser,
    _profile: tempfile::TempDir,
}

impl Page {
    pub fn open(url: &str, more: &[String]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser =
            Browser::start(profile.path(), more).unwrap_or_else(|error| panic!("{error}"));
        let mut page = Self {
            browser,
            _profile: profile,
        };
        page.show(url);
        if !url.contains("/recordings") {
            let connected = "document.getElementById('connection')?.className === 'live'";
            page.until("the page is connected", connected);
        }
        page
    }

    /// Opens the page in the present tab.
    fn show(&mut self, url: &str) {
        let size = json!({ "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": true });
        let browser = &mut self.browser;
        browser
            .call("Emulation.setDeviceMetricsOverride", size)
            .unwrap();
        browser.call("Page.bringToFront", json!({})).unwrap();
        let page = json!({ "url": url });
        browser.call("Page.navigate", page).unwrap();
    }

    pub fn get(&mut self, script: &str) -> Value {
        self.browser
            .evaluate(script)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until a script's value is true.
    pub fn until(&mut self, what: &str, script: &str) {
        let began = Instant::now();
        // While the page is being loaded, its variables do not exist.
        while !self.browser.evaluate(script).is_ok_and(|it| it == true) {
            if began.elapsed() > PATIENCE {
                let text = self.get("document.body?.innerText");
                panic!("it never happened: {what} ({script}); the page shows: {text}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn click(&mut self, id: &str) {
        self.get(&format!("document.getElementById('{id}').click()"));
    }

    /// Waits until the state begins so.
    pub fn until_state(&mut self, state: &str) {
        let script = format!("document.getElementById('state').textContent.startsWith('{state}')");
        self.until(state, &script);
    }

    pub fn take_the_wheel(&mut self) {
        self.until("the wheel is free", "wheel === 'free'");
        self.click("take");
        self.until("the page holds the wheel", "wheel === 'yours'");
    }

    /// Arms the car as an operator does: with a second press after a moment.
    pub fn arm(&mut self) {
        self.click("arm");
        std::thread::sleep(Duration::from_millis(500));
        self.click("arm");
        self.until_state("driving");
    }

    pub fn press(&mut self, code: &str) {
        self.browser.key("keyDown", code).unwrap();
    }

    pub fn release(&mut self, code: &str) {
        self.browser.key("keyUp", code).unwrap();
    }

    /// Sends a signal to all processes of the browser.
    pub fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.browser.process), signal).unwrap();
    }
}

/// A network between the browser and the page's program. While it is cut, what is sent is lost, and no
/// connection is closed.
pub struct Network {
    cut: Arc<AtomicBool>,
    port: u16,
}

impl Network {
    /// A network to the local `port`.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&cut);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let _ = to.set_nodelay(true);
                    let cut = Arc::clone(&shared);
                    std::thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        Self { cut, port: own }
    }

    /// What makes Chromium use it for `localhost:port`.
    pub fn argument(&self, port: u16) -> String {
        let own = self.port;
        format!("--host-resolver-rules=MAP localhost:{port} 127.0.0.1:{own}")
    }

    pub fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

/// Passes on what arrives, until one end closes.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let is_cut = cut.load(Ordering::SeqCst);
        if !is_cut && to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    if !cut.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}
