//! The host's orders and the rig's answers, one line of JSON each.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_vehicle::monotonic;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bus::Cable;
use crate::feeder::Feeder;
use crate::pad::Pad;
use crate::state::{Picture, Shared};

/// The longest output of a program that is returned, in bytes.
const LONGEST: u64 = 1 << 20;

/// An order of the host.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order {
    /// Report the time.
    Now,
    /// Run a shell command, for at most `seconds`.
    Run { line: String, seconds: f64 },
    /// Send a signal to the main process of a service. The answer has the time just before.
    Signal { unit: String, signal: String },
    /// Write a file with one write, such as a file of the kernel. The answer has the time just
    /// before.
    Write { file: String, text: String },
    /// Report every change of the pulses from number `from` on.
    Pulses { from: usize },
    /// Report where the car is.
    Place,
    /// Put the car back to the start.
    Restart,
    /// Set what the camera shows.
    Picture { is: String },
    /// Set whether the chip acknowledges.
    Chip { answers: bool },
    /// Let the next transfer on the bus block for this long, and fail then.
    Hang { millis: u64 },
    /// Power-cycle the chip.
    ResetChip,
    /// Set whether the adapter makes SMBus commands only, from its next plugging in on.
    Adapter { smbus: bool },
    /// Plug in or unplug the adapter.
    Cable { plugged: bool },
    /// Plug in or unplug the gamepad.
    Pad { plugged: bool },
    /// Press a button of the gamepad.
    Press { button: String },
}

/// The parts that orders act on.
pub struct Rig {
    /// The chip and the faults.
    pub shared: Shared,
    /// The car and the camera.
    pub feeder: Feeder,
    /// The adapter's cable, when it is plugged.
    pub cable: Option<Cable>,
    /// The gamepad, when it is plugged.
    pub pad: Option<Pad>,
}

impl Rig {
    /// Handles the orders that arrive at `port`.
    ///
    /// # Errors
    /// When reading or writing fails.
    pub fn serve(&mut self, port: File) -> anyhow::Result<()> {
        let mut answers = port.try_clone()?;
        let mut orders = BufReader::new(port);
        let mut text = String::new();
        loop {
            text.clear();
            if orders.read_line(&mut text)? == 0 {
                // The host is not connected at the moment.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            // The answer has the order's number, so that the host can skip answers to orders that
            // have timed out.
            let number = serde_json::from_str(&text)
                .ok()
                .and_then(|order: Value| order.get("n").cloned());
            let mut answer = match self.order(&text) {
                Ok(answer) => answer,
                Err(error) => json!({ "error": format!("{error:#}") }),
            };
            answer["n"] = number.unwrap_or(Value::Null);
            answers.write_all(format!("{answer}\n").as_bytes())?;
        }
    }

    fn order(&mut self, text: &str) -> anyhow::Result<Value> {
        let order: Order = serde_json::from_str(text).context("no such order")?;
        let at = monotonic().as_nanos();
        Ok(match order {
            Order::Now => {
                let state = self.shared.lock();
                json!({ "at": at, "frames": state.frames, "drawing": state.drawing,
                        "refused": state.refused, "pulses": state.pulses.len() })
            }
            Order::Run { line, seconds } => run(&line, Duration::from_secs_f64(seconds))?,
            Order::Signal { unit, signal } => {
                let pid = main_process(&unit)?;
                let signal = match signal.as_str() {
                    "KILL" => Signal::KILL,
                    "STOP" => Signal::STOP,
                    "SEGV" => Signal::SEGV,
                    other => bail!("no signal {other}"),
                };
                if signal == Signal::SEGV {
                    // Rust's handler restores the default action at the first SIGSEGV, and expects
                    // a real fault to repeat when the handler returns.
                    kill_process(pid, signal)?;
                    std::thread::sleep(Duration::from_millis(200));
                }
                let at = monotonic().as_nanos();
                kill_process(pid, signal)?;
                json!({ "at": at })
            }
            Order::Write { file, text } => {
                std::fs::write(&file, text).with_context(|| file.clone())?;
                json!({ "at": at })
            }
            Order::Pulses { from } => {
                let state = self.shared.lock();
                let pulses = state.pulses.get(from..).unwrap_or_default();
                json!({ "at": at, "pulses": pulses, "next": state.pulses.len() })
            }
            Order::Place => {
                let (place, length) = self.feeder.place()?;
                json!({ "place": place, "length": length })
            }
            Order::Restart => {
                self.feeder.restart()?;
                json!({ "at": at })
            }
            Order::Picture { is } => {
                self.shared.lock().picture = match is.as_str() {
                    "live" => Picture::Live,
                    "frozen" => Picture::Frozen,
                    "black" => Picture::Black,
                    "gone" => Picture::Gone,
                    other => bail!("no picture {other}"),
                };
                json!({ "at": at })
            }
            Order::Chip { answers } => {
                self.shared.lock().acknowledges = answers;
                json!({ "at": at })
            }
            Order::Hang { millis } => {
                self.shared.lock().hang = Some(Duration::from_millis(millis));
                json!({ "at": at })
            }
            Order::ResetChip => {
                self.shared.lock().reset_chip();
                json!({ "at": at })
            }
            Order::Adapter { smbus } => {
                self.shared.lock().smbus = smbus;
                json!({ "at": at })
            }
            Order::Cable { plugged } => {
                match (plugged, self.cable.take()) {
                    (true, None) => self.cable = Some(Cable::plug(&self.shared)?.0),
                    (false, Some(cable)) => cable.pull()?,
                    (_, unchanged) => self.cable = unchanged,
                }
                json!({ "at": at })
            }
            Order::Pad { plugged } => {
                match (plugged, self.pad.take()) {
                    (true, None) => self.pad = Some(Pad::plug()?),
                    (true, plugged) => self.pad = plugged,
                    (false, _) => {}
                }
                json!({ "at": at })
            }
            Order::Press { button } => {
                let pad = self.pad.as_mut().context("no gamepad is plugged in")?;
                pad.press(&button)?;
                json!({ "at": at })
            }
        })
    }
}

fn main_process(unit: &str) -> anyhow::Result<Pid> {
    let output = Command::new("systemctl")
        .args(["show", "--property=MainPID", "--value", unit])
        .output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    let pid: i32 = output
        .trim()
        .parse()
        .context("systemctl names no process")?;
    // systemd reports 0 when no process runs; for kill(2), 0 is the caller's process group.
    Pid::from_raw(pid).with_context(|| format!("{unit} does not run"))
}

/// Runs a shell command, and kills it when it takes longer than `patience`.
fn run(line: &str, patience: Duration) -> anyhow::Result<Value> {
    let output = tempfile("rig-output")?;
    let (out, err) = (output.try_clone()?, output.try_clone()?);
    let mut child = Command::new("timeout")
        .args([
            "--kill-after=5",
            &patience.as_secs_f64().to_string(),
            "sh",
            "-c",
            line,
        ])
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .context("no shell")?;
    let began = Instant::now();
    let status = child.wait()?;
    let mut text = Vec::new();
    let mut output = File::open(Path::new("/run").join("rig-output"))?;
    (&mut output).take(LONGEST).read_to_end(&mut text)?;
    Ok(json!({
        "at": monotonic().as_nanos(),
        "code": status.code(),
        "took": began.elapsed().as_secs_f64(),
        "output": String::from_utf8_lossy(&text),
    }))
}

fn tempfile(name: &str) -> anyhow::Result<File> {
    let path = Path::new("/run").join(name);
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    file.set_len(0)?;
    Ok(file)
}
