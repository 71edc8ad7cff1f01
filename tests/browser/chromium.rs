//! A headless Chromium with one page, over the Chrome DevTools Protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

/// Debian's package of this name has the program.
pub const CHROMIUM: &str = "chromium";

/// A Chromium process, the leader of its process group, with a connection to one page.
pub struct Browser {
    pub process: Child,
    socket: WebSocket<TcpStream>,
    number: u64,
    session: Option<String>,
    pub target: Value,
}

impl Browser {
    /// Starts Chromium with its files in the folder `profile`, and `more` arguments.
    pub fn start(profile: &Path, more: &[String]) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(CHROMIUM)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
            ])
            .args(more)
            .arg(format!("--user-data-dir={}", profile.display()))
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| {
                format!("{CHROMIUM}: {error}; Debian's package chromium has it, and `cargo xtask test --install` installs it")
            })?;
        let stderr = process.stderr.take().ok_or("no standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let url = loop {
            let line = lines.next().ok_or("chromium ended")??;
            if let Some(url) = line.strip_prefix("DevTools listening on ") {
                break url.to_owned();
            }
        };
        // Reads the rest of its messages, so that it does not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let address = url.trim_start_matches("ws://");
        let address = address.split('/').next().ok_or("no address")?;
        let stream = TcpStream::connect(address)?;
        let (socket, _) = tungstenite::client(url.as_str(), stream)?;
        let mut browser = Self {
            process,
            socket,
            number: 0,
            session: None,
            target: Value::Null,
        };
        browser.new_tab()?;
        Ok(browser)
    }

    /// Opens a tab, to which all further calls go.
    pub fn new_tab(&mut self) -> Result<(), Box<dyn Error>> {
        self.session = None;
        let mut target = self.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        self.target = target["targetId"].take();
        let attach = json!({ "targetId": self.target, "flatten": true });
        let attached = self.call("Target.attachToTarget", attach)?;
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        Ok(())
    }

    /// Sends a message without waiting for its answer.
    pub fn send(&mut self, method: &str, parameters: Value) -> Result<(), Box<dyn Error>> {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        Ok(self.socket.send(Message::text(message.to_string()))?)
    }

    pub fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Box<dyn Error>> {
        self.send(method, parameters)?;
        loop {
            let Message::Text(text) = self.socket.read()? else {
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] == self.number {
                return match answer.get("error") {
                    Some(error) => Err(format!("{method}: {error}").into()),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    /// The value of a script's last expression. A script that throws is an error.
    pub fn evaluate(&mut self, script: &str) -> Result<Value, Box<dyn Error>> {
        let mut answer = self.call("Runtime.evaluate", json!({ "expression": script }))?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(format!("{script}: {thrown}").into()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Presses (`keyDown`) or releases (`keyUp`) a key.
    pub fn key(&mut self, kind: &str, code: &str) -> Result<(), Box<dyn Error>> {
        let event = json!({ "type": kind, "code": code, "key": code });
        self.call("Input.dispatchKeyEvent", event).map(drop)
    }

    /// A mouse event with the left button, at a place of the window.
    pub fn mouse(&mut self, kind: &str, x: f64, y: f64) -> Result<(), Box<dyn Error>> {
        let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", event).map(drop)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helper processes would go on for a while, and those that are suspended for ever.
        let _ = kill_process_group(Pid::from_child(&self.process), Signal::KILL);
        let _ = self.process.wait();
    }
}
