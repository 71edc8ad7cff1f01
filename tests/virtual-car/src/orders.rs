//! What the host asks, a line of JSON each, and what it is told.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use pilotage_guard::monotonic;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bus::Cable;
use crate::feeder::Feeder;
use crate::pad::Pad;
use crate::state::{Picture, Shared};

/// Of a program's output more is not told.
const LONGEST: u64 = 1 << 20;

/// What the host asks for.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Order {
    /// The time.
    Now,
    /// A shell's line, for so long at most.
    Run { line: String, seconds: f64 },
    /// A signal to a service's main process. Answers with the moment before.
    Signal { unit: String, signal: String },
    /// A file written to the kernel in one go, with the moment before.
    Write { file: String, text: String },
    /// Every change of the pulses from the `from`-th on.
    Pulses { from: usize },
    /// Where the car is.
    Place,
    /// The car back to the start.
    Restart,
    /// What the camera shows.
    Picture { is: String },
    /// Whether the chip answers.
    Chip { answers: bool },
    /// The chip loses its power and has it again.
    ResetChip,
    /// The adapter's cable.
    Cable { plugged: bool },
    /// The gamepad's.
    Pad { plugged: bool },
    /// A button of the gamepad's.
    Press { button: String },
}

/// What orders are about.
pub struct Rig {
    /// Chip and faults.
    pub shared: Shared,
    /// Car and camera.
    pub feeder: Feeder,
    /// The adapter's cable, when it is plugged.
    pub cable: Option<Cable>,
    /// The gamepad, when it is plugged.
    pub pad: Option<Pad>,
}

impl Rig {
    /// Takes orders over `line` until it ends.
    ///
    /// # Errors
    /// When the line fails.
    pub fn serve(&mut self, line: File) -> anyhow::Result<()> {
        let mut answers = line.try_clone()?;
        let mut orders = BufReader::new(line);
        let mut text = String::new();
        loop {
            text.clear();
            if orders.read_line(&mut text)? == 0 {
                // Nobody is at the other end yet, or any more.
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            // Its number comes back with the answer: one given up on is known by it.
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
                    // Rust's own handler takes the first for a fault that comes again when it
                    // returns, as a true one does.
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
            Order::ResetChip => {
                self.shared.lock().reset_chip();
                json!({ "at": at })
            }
            Order::Cable { plugged } => {
                match (plugged, self.cable.take()) {
                    (true, None) => self.cable = Some(Cable::plug(&self.shared)?.0),
                    (false, Some(cable)) => cable.pull()?,
                    (_, as_it_was) => self.cable = as_it_was,
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
    let told = Command::new("systemctl")
        .args(["show", "--property=MainPID", "--value", unit])
        .output()?;
    let told = String::from_utf8_lossy(&told.stdout);
    let pid: i32 = told.trim().parse().context("systemctl names no process")?;
    // 0 is no process to systemd, and this one's whole group to kill(2).
    Pid::from_raw(pid).with_context(|| format!("{unit} does not run"))
}

/// Runs a line of the shell's; one that takes longer is killed.
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
