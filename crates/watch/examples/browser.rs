//! Opens the page in Chromium, takes pictures of it, presses STOP and checks what the page shows.
//! Run by hand beside the example `synthetic_drive`; needs Debian's package `chromium`. What the page does
//! is tested in tests/browser.
//!
//!     cargo run -p pilotage-watch --example browser -- 'http://127.0.0.1:8642/?token=...' FOLDER
//!
//! It also sets a command, if the page may (`synthetic_drive SOCKET COMMANDS`).
//!
//! With a third argument `drive`, it drives the simulated car of `pilotage drive --by-page` with the
//! keyboard and the stick, stops and arms it, and checks what the car does.

#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use serde_json::json;

#[path = "../../../tests/browser/chromium.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod chromium;

use chromium::Browser;

/// How long the page receives frames before a picture is taken.
const WATCHED: Duration = Duration::from_secs(9);

/// Shows the page in a window of this size.
fn resize(
    browser: &mut Browser,
    width: u32,
    height: u32,
    phone: bool,
) -> Result<(), Box<dyn Error>> {
    let size = json!({
        "width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone,
    });
    browser.call("Emulation.setDeviceMetricsOverride", size)?;
    Ok(())
}

fn prefer(browser: &mut Browser, scheme: &str) -> Result<(), Box<dyn Error>> {
    let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
    let features = json!({ "features": [feature] });
    browser.call("Emulation.setEmulatedMedia", features)?;
    Ok(())
}

fn picture(browser: &mut Browser, file: &Path) -> Result<(), Box<dyn Error>> {
    let shot = browser.call("Page.captureScreenshot", json!({ "format": "png" }))?;
    let data = shot["data"].as_str().ok_or("no picture")?;
    let engine = base64::engine::general_purpose::STANDARD;
    std::fs::write(file, engine.decode(data)?)?;
    println!("{}", file.display());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: browser URL FOLDER [drive]".into());
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    let profile = tempfile::tempdir()?;
    let mut browser = Browser::start(profile.path(), &[])?;
    resize(&mut browser, 1280, 800, false)?;
    browser.call("Page.navigate", json!({ "url": url }))?;
    if arguments.next().as_deref() == Some("drive") {
        return drive(&mut browser, folder);
    }
    std::thread::sleep(WATCHED);
    for (name, width, height) in [("laptop", 1280, 800), ("phone", 390, 844)] {
        resize(&mut browser, width, height, name == "phone")?;
        for scheme in ["light", "dark"] {
            prefer(&mut browser, scheme)?;
            std::thread::sleep(Duration::from_millis(600));
            picture(&mut browser, &folder.join(format!("{name}-{scheme}.png")))?;
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
        picture(&mut browser, &folder.join("phone-inputs-dark.png"))?;
    }
    browser.evaluate("document.getElementById('stop').click()")?;
    std::thread::sleep(Duration::from_secs(1));
    let state = browser.evaluate("document.getElementById('state').textContent")?;
    check(
        state == "stopped: an operator stopped the car",
        "STOP stops the car, and the page shows why",
    )?;
    picture(&mut browser, &folder.join("phone-stopped.png"))?;
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
    browser.key("keyDown", "ArrowUp")?;
    std::thread::sleep(Duration::from_millis(900));
    check(speed(browser)? > 1.0, "an arrow key drives the car")?;
    picture(browser, &folder.join("laptop-drive-light.png"))?;
    browser.key("keyUp", "ArrowUp")?;
    pause();
    check(speed(browser)? < 0.1, "letting go stands still")?;

    resize(browser, 390, 844, true)?;
    prefer(browser, "dark")?;
    browser.evaluate("document.getElementById('stick').scrollIntoView({ block: 'end' })")?;
    let at = |which: &str| {
        format!("Math.round(document.getElementById('stick').getBoundingClientRect().{which})")
    };
    let x = browser.evaluate(&at("left"))?.as_f64().ok_or("no stick")? + 150.0;
    let y = browser.evaluate(&at("top"))?.as_f64().ok_or("no stick")? + 120.0;
    browser.mouse("mousePressed", x, y)?;
    std::thread::sleep(Duration::from_millis(200));
    browser.mouse("mouseMoved", x - 4.0, y - 40.0)?;
    std::thread::sleep(Duration::from_millis(900));
    check(speed(browser)? > 1.0, "the stick drives the car")?;
    picture(browser, &folder.join("phone-drive-dark.png"))?;
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
    browser.mouse("mouseReleased", x, y)?;
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
    browser.key("keyDown", "ArrowUp")?;
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
