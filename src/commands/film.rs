//! `pilotage film`: a short film of a drive log or a recording.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pilotage_console::{print, say, say_always};

use super::drive::choose_engine;
use super::log::newest_if_any;
use crate::car::Car;
use crate::drive::catch_signals;
use crate::film::footage::Footage;
use crate::film::output::{Finished, Target};
use crate::film::plan::{Plan, Range};
use crate::film::saliency::Saliency;
use crate::film::{self, Made};

/// The range of a film's width, pixels.
const WIDTHS: std::ops::RangeInclusive<i64> = 160..=1920;

/// Options of `pilotage film`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A drive log, as `pilotage log list` names it; the folder of `drive --log`, of which it is the
    /// newest; or a recording in any format of docs/recordings.md
    #[arg(value_name = "LOG|RECORDING")]
    source: PathBuf,
    /// The film: a GIF, or a new folder for numbered PNG files, of which ffmpeg makes a video
    #[arg(value_name = "OUT.gif|FOLDER")]
    out: PathBuf,
    /// Begin this many seconds after the first picture
    #[arg(long, value_name = "S", value_parser = seconds)]
    from: Option<f64>,
    /// End this many seconds after the first picture
    #[arg(long, value_name = "S", value_parser = seconds)]
    to: Option<f64>,
    /// Show only this many seconds at the end
    #[arg(long, value_name = "S", value_parser = seconds, conflicts_with_all = ["from", "to"])]
    last: Option<f64>,
    /// Frames of the film in a second, 1 to 50
    #[arg(long, value_name = "N", default_value = "10",
        value_parser = clap::value_parser!(u32).range(1..=50))]
    rate: u32,
    /// How many times faster than the drive the film is, 0.1 to 100
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    speed_up: f64,
    /// The film's width, 160 to 1920 pixels
    #[arg(long, value_name = "PIXELS", default_value = "480",
        value_parser = clap::value_parser!(u32).range(WIDTHS))]
    width: u32,
    /// Colour what this engine steers by: a compiled-in engine's name, or an .engine file. It answers
    /// 109 times to each picture
    #[arg(long, value_name = "NAME|FILE")]
    engine: Option<String>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.0, 1e9).ok_or_else(|| "must be seconds, 0 or more".to_owned())
}

fn factor(text: &str) -> Result<f64, String> {
    number(text, 0.1, 100.0).ok_or_else(|| "must be 0.1 to 100".to_owned())
}

fn number(text: &str, least: f64, most: f64) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    (least..=most).contains(&number).then_some(number)
}

/// Makes the film. The exit status is 1 if a signal came before its end.
///
/// # Errors
/// Fails if the log or recording cannot be read or has no pictures, the range is empty, or the film
/// cannot be written.
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    // An even width, as videos need.
    let width = options.width / 2 * 2;
    let target = Target::new(&options.out, options.force)?;
    let footage = Footage::read(&source(&options.source)?)?;
    for note in footage.notes() {
        say(format_args!("warning: {note}"));
    }
    let range = Range {
        from: options.from,
        to: options.to,
        last: options.last,
    };
    let rate = f64::from(options.rate);
    let plan = Plan::new(footage.length(), range, rate, options.speed_up)?;
    let saliency = match options.engine.as_deref() {
        Some(engine) => Some(saliency(engine, &footage)?),
        None => None,
    };
    let signalled = catch_signals()?;
    let made = film::make(&footage, &plan, width, &target, saliency, &signalled)?;
    Ok(match made {
        Made::Film(film) => {
            print(summary(&film, options.rate));
            ExitCode::SUCCESS
        }
        Made::Interrupted => {
            say_always("interrupted: no film is written");
            ExitCode::FAILURE
        }
    })
}

/// The newest log of a folder of logs, or what was named.
fn source(named: &Path) -> anyhow::Result<PathBuf> {
    let log = match named.is_dir() {
        true => newest_if_any(named)?,
        false => None,
    };
    Ok(log.unwrap_or_else(|| named.to_owned()))
}

fn saliency(engine: &str, footage: &Footage) -> anyhow::Result<Saliency> {
    let car = Car::load_with(None, |settings| {
        choose_engine(&mut settings.engine, Some(engine));
    })?;
    let saliency = Saliency::new(&car, footage)?;
    for note in saliency.notes() {
        say(format_args!("note: {note}"));
    }
    Ok(saliency)
}

fn summary(film: &Finished, rate: u32) -> String {
    let (width, height) = film.size;
    let text = format!(
        "{}: {} frames of {width}x{height} pixels, {:.1} s, {:.2} MB",
        film.path.display(),
        film.frames,
        f64::from(film.frames) / f64::from(rate),
        film.bytes as f64 * 1e-6
    );
    if !film.is_folder {
        return text;
    }
    let quoted = |path: PathBuf| format!("'{}'", path.display().to_string().replace('\'', "'\\''"));
    format!(
        "{text}\nfor a video: ffmpeg -framerate {rate} -i {} -pix_fmt yuv420p {}",
        quoted(film.path.join("%05d.png")),
        quoted(film.path.with_extension("mp4"))
    )
}
