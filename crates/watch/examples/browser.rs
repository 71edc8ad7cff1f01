//! Opens the page in Chromium, takes pictures of it, presses STOP and checks what the page shows.
//! Run by hand beside the example `synthetic_drive`; needs Debian's package `chromium`.
//!
//!     cargo run -p pilotage-watch --example browser -- 'http://127.0.0.1:8642/?token=...' FOLDER
//!
//! It also sets a command, if the page may (`synthetic_drive SOCKET COMMANDS`).
//!
//! With a third argument `drive`, it drives the simulated car of `pilotage drive --by-page` with the
//! keyboard and the stick, stops and arms it, and checks what the car does.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine;
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const CHROMIUM: &str = "chromium";
/// How long the page receives frames before a picture is taken.
const WATCHED: Duration = Duration::from_secs(9);

/// A Chromium process with a connection to one page, over the Chrome DevTools Protocol
/// (<https://chromedevtools.github.io/devtools-protocol/>).
struct Browser {
    process: Child,
    socket: WebSocket<TcpStream>,
    number: u64,
    session: Option<String>,
}

impl Browser {
    fn start(profile: &Path) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(CHROMIUM)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
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
        };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        Ok(browser)
    }

    fn call(&mut self, method: &str, parameters: Value) -> Result<Value, Box<dyn Error>> {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.socket.send(Message::text(message.to_string()))?;
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

    /// Shows the page in a window of this size.
    fn resize(&mut self, width: u32, height: u32, phone: bool) -> Result<(), Box<dyn Error>> {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone,
        });
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        Ok(())
    }

    fn scheme(&mut self, scheme: &str) -> Result<(), Box<dyn Error>> {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call(
            "Emulation.setEmulatedMedia",
            json!({ "features": [feature] }),
        )?;
        Ok(())
    }

    fn picture(&mut self, file: &Path) -> Result<(), Box<dyn Error>> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        let data = shot["data"].as_str().ok_or("no picture")?;
        let engine = base64::engine::general_purpose::STANDARD;
        std::fs::write(file, engine.decode(data)?)?;
        println!("{}", file.display());
        Ok(())
    }

    fn evaluate(&mut self, script: &str) -> Result<Value, Box<dyn Error>> {
        let mut answer = self.call("Runtime.evaluate", json!({ "expression": script }))?;
        Ok(answer["result"]["value"].take())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: browser URL FOLDER [drive]".into());
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let profile = tempfile::tempdir()?;
    let mut browser = Browser::start(profile.path())?;
    browser.resize(1280, 800, false)?;
    browser.call("Page.navigate", json!({ "url": url }))?;
    if arguments.next().as_deref() == Some("drive") {
        return drive(&mut browser, folder);
    }
    std::thread::sleep(WATCHED);
    for (name, width, height) in [("laptop", 1280, 800), ("phone", 390, 844)] {
        browser.resize(width, height, name == "phone")?;
        for scheme in ["light", "dark"] {
            browser.scheme(scheme)?;
            std::thread::sleep(Duration::from_millis(600));
            browser.picture(&folder.join(format!("{name}-{scheme}.png")))?;
        }
        let wide = browser.evaluate("document.documentElement.scrollWidth <= innerWidth")?;
        check(wide == true, "the page is no wider than the window")?;
    }
    let state = browser.evaluate("document.getElementById('state').textContent")?;
    check(state == "driving", "the car drives")?;
    let set = "document.querySelector('#turns [aria-pressed=true]')?.textContent";
    if browser.evaluate("!document.getElementById('inputs').hidden && SETS")? == true {
        browser.evaluate("document.querySelector('#turns button').click()")?;
        std::thread::sleep(Duration::from_secs(1));
        check(
            browser.evaluate(set)? == "left",
            "a button sets the command",
        )?;
        browser.evaluate("document.getElementById('inputs').scrollIntoView({ block: 'start' })")?;
        std::thread::sleep(Duration::from_millis(600));
        browser.picture(&folder.join("phone-inputs-dark.png"))?;
    }
    browser.evaluate("document.getElementById('stop').click()")?;
    std::thread::sleep(Duration::from_secs(1));
    let state = browser.evaluate("document.getElementById('state').textContent")?;
    check(
        state == "stopped: an operator stopped the car",
        "STOP stops the car, and the page shows why",
    )?;
    browser.picture(&folder.join("phone-stopped.png"))?;
    Ok(())
}

/// Drives with the page.
fn drive(browser: &mut Browser, folder: &Path) -> Result<(), Box<dyn Error>> {
    let pause = || std::thread::sleep(Duration::from_secs(2));
    let text = |id: &str| format!("document.getElementById('{id}').textContent");
    let click = |id: &str| format!("document.getElementById('{id}').click()");
    pause();
    browser.evaluate(&click("take"))?;
    pause();
    let drives = browser.evaluate(&text("take"))?;
    check(drives == "Release the wheel", "the page holds the wheel")?;
    let speed = |browser: &mut Browser| -> Result<f64, Box<dyn Error>> {
        let shown = browser.evaluate(&text("speed"))?;
        let number = shown
            .as_str()
            .and_then(|text| text.split(' ').next()?.parse().ok());
        Ok(number.ok_or_else(|| format!("the page shows no speed, but {shown}"))?)
    };
    let key = |kind: &str, code: &str| json!({ "type": kind, "code": code, "key": code });
    browser.call("Input.dispatchKeyEvent", key("keyDown", "ArrowUp"))?;
    std::thread::sleep(Duration::from_millis(900));
    check(speed(browser)? > 1.0, "an arrow key drives the car")?;
    browser.picture(&folder.join("laptop-drive-light.png"))?;
    browser.call("Input.dispatchKeyEvent", key("keyUp", "ArrowUp"))?;
    pause();
    check(speed(browser)? < 0.1, "letting go stands still")?;

    browser.resize(390, 844, true)?;
    browser.scheme("dark")?;
    browser.evaluate("document.getElementById('stick').scrollIntoView({ block: 'end' })")?;
    let at = |which: &str| {
        format!("Math.round(document.getElementById('stick').getBoundingClientRect().{which})")
    };
    let x = browser.evaluate(&at("left"))?.as_f64().ok_or("no stick")? + 150.0;
    let y = browser.evaluate(&at("top"))?.as_f64().ok_or("no stick")? + 120.0;
    let mouse = |kind: &str, x: f64, y: f64| json!({ "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1 });
    browser.call("Input.dispatchMouseEvent", mouse("mousePressed", x, y))?;
    std::thread::sleep(Duration::from_millis(200));
    browser.call(
        "Input.dispatchMouseEvent",
        mouse("mouseMoved", x - 4.0, y - 40.0),
    )?;
    std::thread::sleep(Duration::from_millis(900));
    check(speed(browser)? > 1.0, "the stick drives the car")?;
    browser.picture(&folder.join("phone-drive-dark.png"))?;
    browser.evaluate(&click("stop"))?;
    pause();
    let state = browser.evaluate(&text("state"))?;
    let stopped = state
        .as_str()
        .is_some_and(|state| state.starts_with("stopped"));
    check(
        stopped && speed(browser)? < 0.1,
        "STOP stops the car while the stick is held",
    )?;
    browser.call("Input.dispatchMouseEvent", mouse("mouseReleased", x, y))?;
    browser.evaluate(&click("arm"))?;
    browser.evaluate(&click("arm"))?;
    pause();
    let state = browser.evaluate(&text("state"))?;
    let still = state
        .as_str()
        .is_some_and(|state| state.starts_with("stopped"));
    check(still, "a double click does not arm")?;
    browser.evaluate(&click("arm"))?;
    pause();
    let state = browser.evaluate(&text("state"))?;
    check(state == "driving", "the car is armed after a second press")?;
    browser.call("Input.dispatchKeyEvent", key("keyDown", "ArrowUp"))?;
    pause();
    check(speed(browser)? > 1.0, "the car drives again")?;
    // The page is left while it drives.
    browser.call("Page.navigate", json!({ "url": "about:blank" }))?;
    Ok(())
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    match holds {
        true => {
            println!("passed: {what}");
            Ok(())
        }
        false => Err(format!("failed: {what}")),
    }
}
