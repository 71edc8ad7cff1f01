//! `[camera]`, where its kind is not `simulator`.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use pilotage_camera::v4l::Fourcc;
use pilotage_camera::{CameraConfig, FolderSource, PipeSource, V4lSource};
use pilotage_config::{ConfigError, Source, nearest};

use super::range::{milliseconds, within};
use super::settings::{CameraSettings, ControlSetting};
use pilotage_camera as camera;

/// The default time-out of a frame, in frame periods. It is shorter than the guard's deadline, so
/// that the message names the camera.
const PATIENCE: f64 = 2.5;
/// The least default time-out of a frame.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// The least default number of identical frames that count as a frozen picture.
const LEAST_FROZEN: u32 = 10;
/// The largest number of arguments of a command, and the longest argument.
const MOST_ARGUMENTS: usize = 256;

/// NV12 with its chroma in two planes, which only a pipe may have.
const PLANAR: &str = "I420";

/// The keys that only one kind has.
const OWN_KEYS: [(&str, &[&str]); 3] = [
    ("v4l", &["device", "format", "controls"]),
    ("pipe", &["command", "format", "latency_ms"]),
    ("folder", &["folder", "repeat"]),
];

/// The camera that `written` describes; `None` for the simulator's camera.
pub(super) fn capture(
    source: &Source<'_>,
    written: &CameraSettings,
    folder: &Path,
) -> Result<Option<CameraConfig>, ConfigError> {
    let kind = written.kind.as_str();
    let kinds = ["simulator", "v4l", "pipe", "folder"];
    if !kinds.contains(&kind) {
        let meant = nearest(kind, kinds).map_or_else(
            || format!("name one of {}", kinds.join(", ")),
            |meant| format!("did you mean `{meant}`?"),
        );
        return Err(source.error("camera.kind", format!("there is no `{kind}`: {meant}")));
    }
    belongs(source, written)?;
    let pictures = match kind {
        "v4l" => camera::Source::V4l(v4l(source, written)?),
        "pipe" => camera::Source::Pipe(pipe(source, written)?),
        "folder" => camera::Source::Folder(FolderSource {
            folder: folder.join(required(source, "folder", &written.folder)?),
            repeat: written.repeat.unwrap_or(false),
        }),
        _ => return Ok(None),
    };
    let patience = Duration::from_secs_f64(PATIENCE / written.rate).max(LEAST_PATIENCE);
    let timeout = match written.timeout_ms {
        Some(ms) => milliseconds(within(source, "camera.timeout_ms", ms, 10.0..=10_000.0)?),
        None => patience,
    };
    // The number of frames in one second.
    let frames = (written.rate.ceil() as u32).max(LEAST_FROZEN);
    let frames = |key: &str, written: Option<u32>| match written {
        // A run of one frame is always identical.
        Some(1) => Err(source.error(&format!("camera.{key}"), "must be 0, or at least 2")),
        written => Ok(written.unwrap_or(frames)),
    };
    let config = CameraConfig {
        source: pictures,
        width: written.width,
        height: written.height,
        rate: written.rate,
        timeout,
        frozen_frames: frames("frozen_frames", written.frozen_frames)?,
        black_frames: frames("black_frames", written.black_frames)?,
    };
    let format = match &config.source {
        camera::Source::V4l(v4l) => v4l.format.map(Fourcc::pixels),
        camera::Source::Pipe(pipe) => Some(pipe.format),
        camera::Source::Folder(_) => None,
    };
    if let Some(format) = format {
        let fits = format.frame_len(config.width, config.height);
        fits.map_err(|error| source.error("camera.format", error))?;
    }
    Ok(Some(config))
}

/// Checks that each key that is set belongs to this kind.
fn belongs(source: &Source<'_>, written: &CameraSettings) -> Result<(), ConfigError> {
    let kind = written.kind.as_str();
    let present = [
        ("device", written.device.is_some()),
        ("format", written.format.is_some()),
        ("controls", written.controls.is_some()),
        ("command", written.command.is_some()),
        ("latency_ms", written.latency_ms.is_some()),
        ("folder", written.folder.is_some()),
        ("repeat", written.repeat.is_some()),
    ];
    for (key, _) in present.iter().filter(|(_, present)| *present) {
        let of = |(kind, keys): &(&'static str, &[&str])| keys.contains(key).then_some(*kind);
        let kinds: Vec<_> = OWN_KEYS.iter().filter_map(of).collect();
        if !kinds.contains(&kind) {
            let kinds = kinds.join("` or `");
            let problem = format!("is for a camera of kind `{kinds}`, and this one is `{kind}`");
            return Err(source.error(&format!("camera.{key}"), problem));
        }
    }
    Ok(())
}

fn v4l(source: &Source<'_>, written: &CameraSettings) -> Result<V4lSource, ConfigError> {
    let controls = written.controls.iter().flatten();
    let controls = controls.map(|(name, setting)| {
        let value = match *setting {
            ControlSetting::Switch(on) => i64::from(on),
            ControlSetting::Number(number) => number,
        };
        (name.clone(), value)
    });
    Ok(V4lSource {
        device: required(source, "device", &written.device)?.into(),
        format: written
            .format
            .as_deref()
            .map(|name| format(source, name))
            .transpose()?,
        controls: controls.collect(),
    })
}

fn pipe(source: &Source<'_>, written: &CameraSettings) -> Result<PipeSource, ConfigError> {
    let command = written.command.clone().unwrap_or_default();
    let whole = command.iter().all(|part| !part.contains('\0'));
    if command.first().is_none_or(String::is_empty) || command.len() > MOST_ARGUMENTS || !whole {
        let problem = "must be a program and its arguments, as [\"gst-launch-1.0\", \"...\"]";
        return Err(source.error("camera.command", problem));
    }
    let name = required(source, "format", &written.format)?;
    let planar = name == PLANAR;
    let format = match planar {
        true => Fourcc::Nv12,
        false => format(source, name)?,
    };
    if format == Fourcc::Mjpg {
        let problem = "cannot be MJPG in a pipe: its pictures differ in length; name a raw format";
        return Err(source.error("camera.format", problem));
    }
    Ok(PipeSource {
        command,
        format: format.pixels(),
        planar,
        latency: match written.latency_ms {
            Some(ms) => milliseconds(within(source, "camera.latency_ms", ms, 0.0..=1000.0)?),
            None => Duration::ZERO,
        },
    })
}

fn format(source: &Source<'_>, name: &str) -> Result<Fourcc, ConfigError> {
    Fourcc::from_str(name).map_err(|error| source.error("camera.format", error))
}

/// The text of a key that this kind requires.
fn required<'a>(
    source: &Source<'_>,
    key: &str,
    written: &'a Option<String>,
) -> Result<&'a str, ConfigError> {
    let text = written.as_deref().unwrap_or("");
    if text.is_empty() || text.contains('\0') {
        let what = match key {
            "device" => "must name the camera: \"/dev/video0\", or its link in /dev/v4l/by-id",
            "folder" => "must name the folder of the pictures",
            _ => "must name one of YUYV, UYVY, NV12, I420, BGR3, RGB3, GREY",
        };
        return Err(source.error(&format!("camera.{key}"), what));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
