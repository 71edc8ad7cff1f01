//! `[camera]`, where its kind is not `simulator`.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use pilotage_camera::v4l::Fourcc;
use pilotage_camera::{CameraConfig, FolderSource, PipeSource, V4lSource};
use pilotage_config::{ConfigError, Source, suggest};

use super::range::{milliseconds, within};
use super::settings::{CameraSettings, ControlSetting};
use pilotage_camera as camera;
use pilotage_vision::PixelFormat;

/// The default time-out of a frame, in frame periods. It is shorter than the guard's deadline, so
/// that the message names the camera.
const PATIENCE: f64 = 2.5;
/// The least default time-out of a frame.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);
/// The least default number of identical frames that count as a frozen picture.
const LEAST_FROZEN: u32 = 10;
/// The largest number of arguments of a command, and the longest argument.
const MOST_ARGUMENTS: usize = 256;

/// The most bytes of padding that a row may have.
const MOST_PADDING: usize = 4096;
/// The program that pads rows to a multiple of 4 bytes, as GStreamer's `GstVideoInfo` states.
const GSTREAMER: &str = "gst-launch";

/// NV12 with its chroma in two planes, which only a pipe may have.
const PLANAR: &str = "I420";

/// The keys that only one kind has.
const OWN_KEYS: [(&str, &[&str]); 3] = [
    ("v4l", &["device", "format", "controls", "first_frame_ms"]),
    (
        "pipe",
        &[
            "command",
            "format",
            "latency_ms",
            "stride",
            "first_frame_ms",
        ],
    ),
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
        let meant = suggest(kind, kinds);
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
        first_frame: match written.first_frame_ms {
            Some(ms) => {
                let ms = within(source, "camera.first_frame_ms", ms, 100.0..=120_000.0)?;
                Some(milliseconds(ms))
            }
            None => None,
        },
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
        let len = fits.map_err(|error| source.error("camera.format", error))?;
        if let camera::Source::Pipe(pipe) = &config.source {
            check_rows(source, pipe, len, (config.width, config.height))?;
        }
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
        ("stride", written.stride.is_some()),
        ("first_frame_ms", written.first_frame_ms.is_some()),
        ("folder", written.folder.is_some()),
        ("repeat", written.repeat.is_some()),
    ];
    let kinds = |key: &str| -> Vec<&str> {
        let of = OWN_KEYS.iter().filter(|(_, keys)| keys.contains(&key));
        of.map(|(kind, _)| *kind).collect()
    };
    let present = present.iter().filter(|(_, present)| *present);
    let present = present.map(|(key, _)| *key);
    let mut wrong = present.filter(|key| !kinds(key).contains(&kind));
    let Some(key) = wrong.next() else {
        return Ok(());
    };
    let mut problem = format!(
        "is for a camera of kind `{}`, and this one is `{kind}`",
        kinds(key).join("` or `")
    );
    let others: Vec<&str> = wrong.collect();
    if !others.is_empty() {
        let others = others.join("` and `");
        problem += &format!("; remove it, and `{others}`, too");
    }
    Err(source.error(&format!("camera.{key}"), problem))
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
            .map(|name| format(source, name, None))
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
        false => format(source, name, Some(PLANAR))?,
    };
    if format == Fourcc::Mjpg {
        let problem = "cannot be MJPG in a pipe: its pictures differ in length; name a raw format";
        return Err(source.error("camera.format", problem));
    }
    Ok(PipeSource {
        command,
        format: format.pixels(),
        planar,
        stride: written.stride,
        latency: match written.latency_ms {
            Some(ms) => milliseconds(within(source, "camera.latency_ms", ms, 0.0..=1000.0)?),
            None => Duration::ZERO,
        },
    })
}

/// The format with this name. `more` is the name of another one that this kind of camera may have.
fn format(
    source: &Source<'_>,
    name: &str,
    more: Option<&'static str>,
) -> Result<Fourcc, ConfigError> {
    Fourcc::from_str(name).map_err(|_| {
        let known = Fourcc::ALL.map(|format| format.to_string());
        let meant = suggest(name, known.iter().map(String::as_str).chain(more));
        source.error(
            "camera.format",
            format!("there is no format `{name}`: {meant}"),
        )
    })
}

/// Checks the bytes of a row against `stride`, and against the padding that GStreamer is known to
/// add. `len` is the length of a frame without padding.
fn check_rows(
    source: &Source<'_>,
    pipe: &PipeSource,
    len: usize,
    (width, height): (u32, u32),
) -> Result<(), ConfigError> {
    let rows = match pipe.format {
        PixelFormat::Nv12 => height + height / 2,
        _ => height,
    };
    let row = len / rows as usize;
    if let Some(stride) = pipe.stride {
        let padded = row..=row + MOST_PADDING;
        if !padded.contains(&(stride as usize)) || (pipe.planar && stride % 2 != 0) {
            let even = if pipe.planar {
                ", and even for I420"
            } else {
                ""
            };
            let problem = format!(
                "must be {row} (the bytes of a row without padding) to {}{even}, not {stride}",
                row + MOST_PADDING
            );
            return Err(source.error("camera.stride", problem));
        }
        return Ok(());
    }
    let is_gstreamer = pipe.command.iter().any(|part| part.contains(GSTREAMER));
    if is_gstreamer && pipe.planar && width % 8 != 0 {
        let problem = format!(
            "is {width}, and GStreamer pads the rows of I420 unless it is a multiple of 8; use one, \
             or NV12"
        );
        return Err(source.error("camera.width", problem));
    }
    if is_gstreamer && !row.is_multiple_of(4) {
        let padded = row.next_multiple_of(4);
        let problem = format!(
            "is {width}, so a row has {row} bytes, and GStreamer pads rows to a multiple of 4: set \
             `stride = {padded}`, or a width whose rows need no padding"
        );
        return Err(source.error("camera.width", problem));
    }
    Ok(())
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
