//! Observers of a drive that must not change it: the page, open in Chromium, a log of the whole drive, and
//! an observer that hangs. PILOTAGE_OBSERVED=1 asks for them. The test declares the module `chromium`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::chromium::Browser;

/// Whether they are asked for.
pub fn asked() -> bool {
    std::env::var_os("PILOTAGE_OBSERVED").is_some()
}

/// The arguments of `pilotage drive` with which it has them; the socket and the logs are in `folder`.
pub fn arguments(folder: &Path) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let (log, tap) = (path("logs"), path("car.tap"));
    ["--listen", "127.0.0.1:0", "--log", &log, "--tap", &tap]
        .map(str::to_owned)
        .to_vec()
}

/// The page's address in what a drive prints.
pub fn address(printed: &str) -> Option<&str> {
    let (_, after) = printed.rsplit_once("watch: http")?;
    let end = after.find(char::is_whitespace)?;
    let start = printed.len() - after.len() - "http".len();
    printed.get(start..start + "http".len() + end)
}

/// The browser and the observer that hangs.
pub struct Observers {
    browser: Browser,
    hung: Option<Child>,
    _profile: tempfile::TempDir,
}

impl Observers {
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Browser::start(profile.path(), &[]);
        Self {
            browser: browser.unwrap_or_else(|error| panic!("{error}")),
            hung: None,
            _profile: profile,
        }
    }

    /// Opens the page of a drive, and lets another observer of it connect and hang. Returns when the page
    /// shows a picture.
    pub fn watch(&mut self, program: &Path, url: &str, folder: &Path) {
        let page = json!({ "url": url });
        self.browser.call("Page.navigate", page).unwrap();
        let seen = "document.getElementById('view')?.className === '' && frames.length > 0";
        let began = Instant::now();
        while !self.browser.evaluate(seen).is_ok_and(|seen| seen == true) {
            let late = began.elapsed() > Duration::from_secs(30);
            assert!(!late, "the page shows no picture");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.end_the_hung();
        let observer = Command::new(program.with_file_name("pilotage-watch"))
            .arg("--tap")
            .arg(folder.join("car.tap"))
            .args(["--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It connects, and reads for a moment.
        std::thread::sleep(Duration::from_millis(300));
        kill_process(Pid::from_child(&observer), Signal::STOP).unwrap();
        self.hung = Some(observer);
    }

    /// How many frames the page has counted since it was opened.
    pub fn shown(&mut self) -> u64 {
        self.browser.evaluate("counted").unwrap().as_u64().unwrap()
    }

    fn end_the_hung(&mut self) {
        if let Some(mut hung) = self.hung.take() {
            let _ = hung.kill();
            let _ = hung.wait();
        }
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        self.end_the_hung();
    }
}
