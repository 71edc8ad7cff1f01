//! The screen of the terminal view.

use std::fmt::Write;
use std::time::{Duration, Instant};

use pilotage_drivelog::{Input, plain};
use pilotage_tap::{FrameRecord, GuardState, flags};
use pilotage_vehicle::Measurement;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline, Wrap};

use super::seen::{Seen, ms, quantile};
use crate::telemetry::in_words;

/// Values that are older never look like present ones.
const SILENT: Duration = Duration::from_secs(1);
/// The longest text of a pilot on a line, characters.
const LONGEST: usize = 200;
const KEYS: &str = "Space, s, Esc: STOP   q: quit this view, the car drives on";

/// Draws what was seen at the time `now`.
pub(super) fn draw(frame: &mut Frame<'_>, seen: &Seen, now: Instant) {
    let rows = [
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Min(4),
        Constraint::Length(9),
        Constraint::Length(2),
    ];
    let [title, state, command, strip, numbers, keys] = Layout::vertical(rows).areas(frame.area());
    let drive = seen.drive.as_ref();
    let name = drive.map_or("no drive", |drive| drive.name.as_str());
    let heading = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(plain(name, LONGEST), heading), title);
    let (text, colour) = in_state(seen, now);
    let style = Style::new().fg(Color::White).bg(colour);
    let text = Paragraph::new(text).style(style.add_modifier(Modifier::BOLD));
    frame.render_widget(text.wrap(Wrap { trim: true }), state);
    if let Some(last) = seen.frames.back() {
        commands(frame, last, command);
        stages(frame, seen, strip);
        let text: Vec<Line<'_>> = values(seen, last).into_iter().map(value).collect();
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(numbers);
        let (first, second) = text.split_at(text.len().min(usize::from(numbers.height)));
        frame.render_widget(Paragraph::new(first.to_vec()), left);
        frame.render_widget(Paragraph::new(second.to_vec()), right);
    }
    let notice = seen.notice.as_ref().map(|notice| match notice.is_bad {
        true => Line::styled(
            plain(&notice.text, LONGEST),
            Style::new().fg(Color::White).bg(Color::Red),
        ),
        false => Line::raw(plain(&notice.text, LONGEST)),
    });
    let lines = vec![notice.unwrap_or_default(), Line::styled(KEYS, heading)];
    frame.render_widget(Paragraph::new(lines), keys);
}

/// The state in words, and its colour.
fn in_state(seen: &Seen, now: Instant) -> (String, Color) {
    let Some(last) = seen.frames.back() else {
        let without = seen.without.as_deref().unwrap_or("no frames yet");
        return (plain(without, LONGEST), Color::DarkGray);
    };
    let words = in_words(last);
    let silent = seen
        .newest
        .map(|newest| now.saturating_duration_since(newest));
    let silent = silent.filter(|silent| *silent > SILENT);
    match (&seen.without, silent) {
        (Some(reason), _) => (
            format!("{}; last state: {words}", plain(reason, LONGEST)),
            Color::Red,
        ),
        (None, Some(silent)) => {
            let seconds = silent.as_secs();
            (
                format!("no frames for {seconds} s; last state: {words}"),
                Color::Red,
            )
        }
        (None, None) => {
            let colour = match last.guard() {
                GuardState::Driving => Color::Green,
                GuardState::Armed | GuardState::Trimming => Color::Yellow,
                GuardState::Stopped(_) => Color::Red,
                GuardState::Unknown | GuardState::Disarmed => Color::DarkGray,
            };
            (words, colour)
        }
    }
}

/// Steering and throttle: what was asked as a mark, what was granted as a bar.
fn commands(frame: &mut Frame<'_>, last: &FrameRecord, area: Rect) {
    let granted = last.has(flags::GRANTED).then_some(last.granted);
    let width = usize::from(area.width).saturating_sub(34).clamp(11, 61);
    let line = |name: &str, index: usize, sign: f32| {
        let (asked, granted) = (last.asked[index], granted.map(|granted| granted[index]));
        let shown = granted.map_or("?".to_owned(), |granted| format!("{granted:+.2}"));
        Line::from(vec![
            Span::raw(format!("{name} ")),
            Span::styled(
                bar(width, sign * asked, granted.map(|granted| sign * granted)),
                Style::new().fg(Color::Cyan),
            ),
            Span::raw(format!(" asked {asked:+.2}, got {shown}")),
        ])
    };
    // Steering to the left is drawn to the left.
    let lines = vec![line("Steering", 0, -1.0), line("Throttle", 1, 1.0)];
    frame.render_widget(Paragraph::new(lines), area);
}

/// A bar from the middle to `granted`, and a mark at `asked`, both -1 to 1 from left to right.
pub(super) fn bar(width: usize, asked: f32, granted: Option<f32>) -> String {
    let middle = width / 2;
    // A cast saturates, and gives 0 for what is no number.
    let place = |value: f32| ((value.clamp(-1.0, 1.0) + 1.0) * middle as f32).round() as usize;
    let end = granted.map_or(middle, place);
    let filled = middle.min(end)..=middle.max(end);
    let cell = |at: usize| match at {
        at if at == place(asked) => '|',
        at if at == middle => '+',
        at if filled.contains(&at) => '=',
        _ => '-',
    };
    let cells: String = (0..=2 * middle).map(cell).collect();
    format!("[{cells}]")
}

/// The times from capture to command of the latest frames.
fn stages(frame: &mut Frame<'_>, seen: &Seen, area: Rect) {
    let times: Vec<f64> = seen.times().collect();
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    let deadline = seen.drive.as_ref().map_or(Duration::ZERO, |it| it.deadline);
    let deadline = deadline.as_secs_f64() * 1e3;
    let [median, slowest] = [0.5, 1.0].map(|share| quantile(&sorted, share));
    let title = format!(
        "capture to command: median {median:.1} ms, slowest {slowest:.1} ms; deadline {deadline:.0} ms"
    );
    let block = Block::new().title(title);
    let width = usize::from(area.width);
    let newest = times.len().saturating_sub(width);
    // Tenths of a millisecond: a bar as high as the area is the deadline.
    let bars = times.iter().skip(newest).map(|it| (10.0 * it) as u64);
    let most = (10.0 * deadline.max(1.0)) as u64;
    let late = slowest > deadline;
    let colour = if late { Color::Red } else { Color::Blue };
    let strip = Sparkline::default().block(block).max(most);
    let strip = strip.data(bars.collect::<Vec<_>>());
    frame.render_widget(strip.style(Style::new().fg(colour)), area);
}

/// A name, its value, and whether it is wrong.
type Value = (&'static str, String, bool);

fn value((name, text, is_wrong): Value) -> Line<'static> {
    let style = match is_wrong {
        true => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
        false => Style::new(),
    };
    Line::from(vec![
        Span::styled(format!("{name:<17}"), Style::new().fg(Color::DarkGray)),
        Span::styled(text, style),
    ])
}

/// The numbers of the page.
fn values(seen: &Seen, last: &FrameRecord) -> Vec<Value> {
    let rate = seen.rate().map_or("-".to_owned(), |it| format!("{it:.1}"));
    let of = seen.answered.saturating_add(seen.missed);
    let reaction = match last.reaction {
        0 => "-".to_owned(),
        nanos => format!("{:.1} ms", ms(nanos)),
    };
    let mut values = vec![
        ("frames a second", rate, false),
        ("missed", format!("{} of {of}", seen.missed), false),
        ("not shown here", seen.lost.to_string(), false),
        ("capture to guard", reaction, false),
        ("by fallback", seen.fallbacks.to_string(), false),
        ("outputs", outputs(last), false),
        ("stages, ms", parts(last), false),
    ];
    if let Some(car) = last.simulated() {
        let lap = format!("{:.0} %, {:+.2} m", 100.0 * car.lap, car.offset);
        values.push(("speed", format!("{:.1} m/s", car.speed), false));
        values.push(("lap, offset", lap, false));
    }
    if let Some(drive) = &seen.drive {
        inputs(seen, drive, last, &mut values);
    }
    values
}

/// The stages of the latest frame.
fn parts(last: &FrameRecord) -> String {
    let waited = ms(last.arrived.saturating_sub(last.captured));
    let (vision, inference) = (ms(last.vision), ms(last.inference));
    format!("camera {waited:.1}, vision {vision:.1}, inference {inference:.1}")
}

fn outputs(last: &FrameRecord) -> String {
    if last.has(flags::BY_HAND) {
        return "driven by hand".to_owned();
    }
    let outputs = last.outputs().iter().map(|it| format!("{it:.3}"));
    outputs.collect::<Vec<_>>().join("  ")
}

/// What the network gets besides the picture.
fn inputs(seen: &Seen, drive: &pilotage_tap::Drive, last: &FrameRecord, values: &mut Vec<Value>) {
    let sensed = last.sensed();
    let names = ["measured speed", "yaw rate", "acceleration", "to the left"];
    let units = ["m/s", "rad/s", "m/s2", "m/s2"];
    for (index, measurement) in Measurement::ALL.into_iter().enumerate() {
        if !drive.inputs.gets(measurement) {
            continue;
        }
        let lacks = sensed.lacking[index];
        let replacement = drive.inputs.replacements.get(measurement);
        let replacement = replacement.filter(|_| lacks);
        let mut text = match sensed.measured.get(measurement) {
            Some(_) if lacks => format!("{} ms old", sensed.measured_age.as_millis()),
            Some(number) => format!("{number:+.2} {}", units[index]),
            None => "missing".to_owned(),
        };
        if let Some(replacement) = replacement {
            // Writing to a String does not fail.
            let _ = write!(text, "; network got {replacement}");
        }
        values.push((names[index], text, lacks));
    }
    if let Some(command) = last.high_level() {
        values.push(("command", plain(command, LONGEST), false));
    }
    if drive.inputs.scan.is_some() || drive.lidar_rays > 0 {
        let mut text = match last.scan {
            0 => format!("no {}", Input::Scan.words()),
            _ => format!("{} ms old", sensed.scan_age.as_millis()),
        };
        if let Some((metres, degrees)) = seen.nearest.filter(|_| last.scan > 0) {
            let _ = write!(text, ", {metres:.2} m at {degrees:+.0} degrees");
        }
        values.push(("scan, nearest", text, sensed.scan_lacking));
    }
    if drive.inputs.memory {
        values.push(("memory anew", seen.resets.to_string(), false));
    }
}
