//! The recordings of a folder: a page that shows them, and marks ranges of records that are left out. What
//! it shows and writes is what `pilotage data show` and `pilotage data mark` do (`pilotage-dataset`).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use pilotage_dataset::{DatasetError, Histogram, Marks, PictureProblem, Recording};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::html;

/// The page.
const PAGE: &str = include_str!("recordings.html");
/// Most records that the page shows: an hour and a half at 30 a second.
const MOST_RECORDS: usize = 200_000;
/// Most recordings in the list.
const MOST_LISTED: usize = 1000;

/// The recordings in a folder.
#[derive(Debug)]
pub struct Recordings {
    folder: PathBuf,
    /// Whether a drive is shown, too, so that the page has a STOP.
    beside_a_drive: bool,
    /// The recording that is shown.
    shown: Mutex<Option<(String, Arc<Recording>)>>,
    /// One request at a time reads files, so that many cannot keep a stop waiting.
    turn: Arc<Semaphore>,
}

/// Why a recording is not shown or marked.
#[derive(Debug, thiserror::Error)]
enum RecordingsError {
    #[error("there is no recording of this name")]
    Unknown,
    #[error("it has no record {0}")]
    NoRecord(usize),
    #[error(
        "it has {0} records, and the page shows at most {MOST_RECORDS}: split it (`pilotage data split`)"
    )]
    TooLong(usize),
    #[error("{0}")]
    Dataset(Box<DatasetError>),
    #[error("the picture cannot be read: {0}")]
    Picture(PictureProblem),
    #[error("the picture is neither PNG nor JPEG")]
    Format,
    #[error("an error of this program, see its messages")]
    Itself,
}

impl From<DatasetError> for RecordingsError {
    fn from(error: DatasetError) -> Self {
        Self::Dataset(Box::new(error))
    }
}

impl IntoResponse for RecordingsError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown | Self::NoRecord(_) => StatusCode::NOT_FOUND,
            Self::Itself => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// A recording in the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    format: &'static str,
}

/// What is shown of a recording.
#[derive(Debug, Serialize)]
struct Shown {
    format: &'static str,
    /// Of each record, in its units (docs/recordings.md).
    steering: Vec<Option<f64>>,
    throttle: Vec<Option<f64>>,
    time: Vec<Option<f64>>,
    marked: Vec<bool>,
    /// Of the steering of the records that are not marked.
    bars: Vec<usize>,
    limit: f64,
    notes: Vec<String>,
}

impl Recordings {
    /// The recordings in `folder`. `beside_a_drive`: the same program shows a drive, which their page stops.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn of(folder: PathBuf, beside_a_drive: bool) -> io::Result<Self> {
        std::fs::read_dir(&folder)?;
        Ok(Self {
            folder,
            beside_a_drive,
            shown: Mutex::new(None),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// The recordings, by name. A folder or file that is none is left out.
    fn list(&self) -> Vec<Listed> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort_by(|a, b| pilotage_dataset::natural(a, b));
        let listed = names.into_iter().filter_map(|name| {
            let path = self.folder.join(&name);
            // Of the files, only logs of messages are recordings.
            if path.is_file() && path.extension().is_none_or(|it| it != "mcap") {
                return None;
            }
            let format = Recording::detect(&path).ok()?.name();
            Some(Listed { name, format })
        });
        listed.take(MOST_LISTED).collect()
    }

    /// Reads a recording anew.
    fn open(&self, name: &str) -> Result<Arc<Recording>, RecordingsError> {
        // Only names of the list: no path leads elsewhere.
        if !self.list().iter().any(|listed| listed.name == name) {
            return Err(RecordingsError::Unknown);
        }
        let recording = Arc::new(Recording::open_marked(&self.folder.join(name))?);
        let shown = Some((name.to_owned(), Arc::clone(&recording)));
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        Ok(recording)
    }

    /// The recording that is shown, or reads another one.
    fn get(&self, name: &str) -> Result<Arc<Recording>, RecordingsError> {
        // The lock is released here: opening another recording takes it again.
        let shown = {
            let shown = self.shown.lock();
            shown.unwrap_or_else(PoisonError::into_inner).clone()
        };
        match shown {
            Some((of, recording)) if of == name => Ok(recording),
            _ => self.open(name),
        }
    }

    fn show(recording: &Recording) -> Result<Shown, RecordingsError> {
        let records = recording.records();
        if records.len() > MOST_RECORDS {
            return Err(RecordingsError::TooLong(records.len()));
        }
        let marks = Marks::open(recording.folder())?;
        let marked: Vec<bool> = records
            .iter()
            .map(|it| marks.is_marked(&it.picture))
            .collect();
        let used = records.iter().zip(&marked).filter(|(_, marked)| !**marked);
        let steering: Vec<f64> = used.filter_map(|(record, _)| record.steering).collect();
        let histogram = Histogram::of(&steering);
        Ok(Shown {
            format: recording.format().name(),
            steering: records.iter().map(|it| it.steering).collect(),
            throttle: records.iter().map(|it| it.throttle).collect(),
            time: records.iter().map(|it| it.time).collect(),
            marked,
            bars: histogram.bars.to_vec(),
            limit: histogram.limit,
            notes: recording.notes().iter().map(ToString::to_string).collect(),
        })
    }

    fn picture(&self, name: &str, index: usize) -> Result<Response, RecordingsError> {
        let recording = self.get(name)?;
        let record = recording.records().get(index);
        let record = record.ok_or(RecordingsError::NoRecord(index))?;
        let bytes = recording.picture_file(record);
        let bytes = bytes.map_err(RecordingsError::Picture)?;
        let kind = match &*bytes {
            [0x89, b'P', b'N', b'G', ..] => "image/png",
            [0xff, 0xd8, 0xff, ..] => "image/jpeg",
            _ => return Err(RecordingsError::Format),
        };
        Ok(([(header::CONTENT_TYPE, kind)], bytes).into_response())
    }

    /// Runs what reads or writes files on another thread, one at a time.
    async fn run<T: Send + 'static>(
        self: Arc<Self>,
        action: impl FnOnce(&Self) -> Result<T, RecordingsError> + Send + 'static,
    ) -> Result<T, RecordingsError> {
        let turn = Arc::clone(&self.turn).acquire_owned().await;
        // The thread has the turn until it is done, also when the client has disconnected.
        let done = tokio::task::spawn_blocking(move || {
            let done = action(&self);
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|error| {
            log::error!("a recording cannot be shown: {error}");
            Err(RecordingsError::Itself)
        })
    }
}

fn json(value: impl Serialize) -> Response {
    let text = serde_json::to_string(&value).unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

type Shared = State<Arc<Recordings>>;

/// The routes below `/recordings`.
pub(crate) fn routes(recordings: Arc<Recordings>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/list", get(list))
        .route("/of/{name}", get(show))
        .route("/of/{name}/{index}", get(picture))
        .route("/of/{name}/mark/{from}/{to}", post(mark))
        .route("/of/{name}/use/{from}/{to}", post(use_again))
        .with_state(recordings)
}

async fn page(State(recordings): Shared) -> Response {
    let stops = recordings.beside_a_drive.to_string();
    html::page(&PAGE.replace("{{stops}}", &stops))
}

async fn list(State(recordings): Shared) -> Response {
    let listed = recordings.run(|it| Ok(it.list())).await;
    listed.map(json).into_response()
}

async fn show(State(recordings): Shared, Path(name): Path<String>) -> Response {
    let shown = recordings.run(move |it| Recordings::show(&*it.open(&name)?));
    shown.await.map(json).into_response()
}

async fn picture(
    State(recordings): Shared,
    Path((name, index)): Path<(String, usize)>,
) -> Response {
    let picture = recordings.run(move |it| it.picture(&name, index));
    picture.await.into_response()
}

async fn mark(
    State(recordings): Shared,
    Path((name, from, to)): Path<(String, usize, usize)>,
) -> Response {
    change(recordings, name, (from, to), false).await
}

async fn use_again(
    State(recordings): Shared,
    Path((name, from, to)): Path<(String, usize, usize)>,
) -> Response {
    change(recordings, name, (from, to), true).await
}

/// Marks records of the recording that is shown, or removes their marks, and shows what it then is.
async fn change(
    recordings: Arc<Recordings>,
    name: String,
    range: (usize, usize),
    used: bool,
) -> Response {
    let changed = recordings.run(move |it| {
        let recording = it.get(&name)?;
        let count = recording.mark(range, used)?;
        log::info!(
            "{count} records of {name:?} are {}",
            if used { "used again" } else { "left out" }
        );
        Recordings::show(&recording)
    });
    changed.await.map(json).into_response()
}
