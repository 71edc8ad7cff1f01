//! A diagnosis as text, for one screen.

use std::fmt::Write;

use crate::Timestamp;
use crate::diagnosis::{Before, Cause, Diagnosis};
use crate::entry::{EndKind, Guard, Level};
use crate::inputs::Input;
use crate::window::Window;

/// Messages that are shown, from the end.
const MESSAGES: usize = 4;
/// How long before the stop a message is shown, milliseconds.
const MESSAGES_FROM: f64 = 10_000.0;
/// The longest text from a log that is shown, characters.
const LONGEST: usize = 200;

impl Diagnosis {
    /// The diagnosis of `window` as text of about twenty lines.
    pub fn text(&self, window: &Window) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut text, window);
        text
    }

    fn write(&self, out: &mut String, window: &Window) -> std::fmt::Result {
        let start = &window.start;
        let frames = &window.frames;
        let ends = frames.front().zip(frames.back());
        let seconds = ends.map_or(0.0, |(a, b)| (b.published_ms - a.published_ms) * 1e-3);
        writeln!(
            out,
            "{}, driven by {}; drive of {}; {} iterations in {seconds:.1} s",
            shown(&start.car),
            shown(&start.driver),
            Timestamp(start.started_ns),
            frames.len()
        )?;
        if window.damaged {
            writeln!(
                out,
                "the log's end is missing or damaged; the rest was read"
            )?;
        }
        writeln!(out)?;
        match self.stop {
            Some(stop) => writeln!(out, "stopped   {}", stop.words())?,
            None => writeln!(out, "not stopped by the guard")?,
        }
        let cause = self.cause.words(window);
        // Nothing more is known of an operator's stop.
        if self.stop.is_none_or(|stop| stop.words() != cause) {
            writeln!(out, "because   {}", shown(&cause))?;
        }
        if window.stops > 1 {
            writeln!(
                out,
                "          the last of {} stops in this log",
                window.stops
            )?;
        }
        self.write_stages(out, window)?;
        self.write_guard(out)?;
        write_before(out, &self.before)?;
        write_messages(out, window)?;
        if let (Some(end), Some(_)) = (&window.end, window.stop)
            && end.kind != EndKind::Stopped
        {
            writeln!(out, "end       {}", shown(&end.text))?;
        }
        writeln!(out)?;
        writeln!(out, "to do     {}", self.cause.advice())
    }

    fn write_stages(&self, out: &mut String, window: &Window) -> std::fmt::Result {
        if self.stages.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        write!(out, "{:<17} {:>9} {:>9}", "stage, ms", "median", "99 %")?;
        let shows = self.stages.iter().any(|times| times.late.is_some());
        writeln!(out, "{}", if shows { "  the late one" } else { "" })?;
        for times in &self.stages {
            let name = times.stage.name();
            write!(out, "{name:<17} {:>9.1} {:>9.1}", times.median, times.p99)?;
            if let Some(late) = times.late {
                write!(out, " {late:>13.1}")?;
                if self.late == Some(times.stage) {
                    // A camera that is late all the time has no usual time.
                    let most = window.start.frame_period_ms;
                    write!(out, "  late by {:.0} ms", late - times.median.min(most))?;
                }
            }
            writeln!(out)?;
        }
        writeln!(
            out,
            "the guard's deadline is {:.0} ms, the frame period {:.0} ms",
            window.start.deadline_ms, window.start.frame_period_ms
        )
    }

    fn write_guard(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out)?;
        let state = match self.before.guard {
            Some(Guard::Driving) => "driving",
            Some(Guard::Armed) => "armed, without a good command",
            Some(Guard::Disarmed) => "disarmed",
            Some(Guard::Trimming) => "trimming",
            Some(Guard::Stopped | Guard::Unknown) | None => "not known",
        };
        write!(out, "guard     before: {state}")?;
        if let Some(granted) = self.before.granted {
            write!(out, ", granted {}", command(granted))?;
        }
        match (self.stop, self.cause) {
            (Some(stop), _) => writeln!(out, "; then stopped: {}", stop.words()),
            (None, Cause::GuardGone) => writeln!(out, "; then it was gone"),
            (None, _) => writeln!(out),
        }
    }
}

fn write_before(out: &mut String, before: &Before) -> std::fmt::Result {
    write!(
        out,
        "before    in the last second {} iterations, {} frames missed",
        before.iterations, before.missed
    )?;
    if let Some(asked) = before.asked {
        write!(out, "; asked {}", command(asked))?;
    }
    if let Some(reaction) = before.longest_reaction_ms {
        write!(out, "; capture to guard at most {reaction:.0} ms")?;
    }
    writeln!(out)?;
    let input = before.replaced_input.map_or("input", Input::words);
    let replaced = format!("commands with a constant in place of the {input}");
    let counts = [
        (
            before.without_command as u64,
            "iterations without a command",
        ),
        (before.fallbacks as u64, "answers of the fallback"),
        (before.replaced as u64, &replaced),
        (before.resets as u64, "new starts of the network's memory"),
        (before.lost, "records lost by the log"),
        (before.paused_ms as u64, "ms in which the pilot was not run"),
    ];
    let known: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !known.is_empty() {
        writeln!(out, "          {}", known.join(", "))?;
    }
    Ok(())
}

fn write_messages(out: &mut String, window: &Window) -> std::fmt::Result {
    let end = window.frames.back().map(|frame| frame.published_ms);
    let at = window.stop_ms().or(end).unwrap_or_default();
    let near = window.messages.iter().rev();
    let near = near.filter(|message| message.time_ms >= at - MESSAGES_FROM);
    let mut last: Vec<_> = near.take(MESSAGES).collect();
    last.reverse();
    for message in last {
        let level = match message.level {
            Level::Info => "",
            level => level.name(),
        };
        writeln!(
            out,
            "{:>+7.2} s {level:<7} {}",
            (message.time_ms - at) * 1e-3,
            shown(&message.text)
        )?;
    }
    Ok(())
}

fn command([steering, throttle]: [f32; 2]) -> String {
    format!("steering {steering:+.2} throttle {throttle:+.2}")
}

fn shown(text: &str) -> String {
    plain(text, LONGEST)
}

/// At most `most` characters of a text from a log, without control characters: a log may come from
/// anywhere, and a terminal obeys them.
pub fn plain(text: &str, most: usize) -> String {
    let kept = text.chars().take(most);
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
