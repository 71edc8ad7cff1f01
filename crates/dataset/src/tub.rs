//! Donkeycar's tubs. Version 2 (donkeycar/parts/datastore_v2.py and tub_v2.py, from 4.0 on):
//! `manifest.json` of five lines of JSON, catalogs with a JSON object for each record, pictures in
//! `images/`. Version 1 (datastore.py): `record_N.json` files beside the pictures.
//!
//! `user/angle` is positive to the right and is negated.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotage_vehicle::Domain;
use serde_json::{Map, Value};

use crate::domain::of_object;
use crate::error::{DatasetError, RowProblem};
use crate::file;
use crate::limits::{MOST_RECORDS, tolerable};
use crate::lines::Lines;
use crate::notes::Note;
use crate::order::natural;
use crate::path::{ListedPath, PathProblem};
use crate::record::{Found, Record};

const MANIFEST: &str = "manifest.json";
/// The longest line of a manifest, bytes: the indexes of [`MOST_RECORDS`] deleted records.
const LONGEST_MANIFEST_LINE: usize = 96 << 20;
/// The longest record, bytes: there may be arrays of sensors.
const LONGEST_RECORD: usize = 1 << 22;
pub(crate) const IMAGE: &str = "cam/image_array";
pub(crate) const ANGLE: &str = "user/angle";
pub(crate) const THROTTLE: &str = "user/throttle";

/// Counts of what a tub's records lack.
struct Reader {
    /// The key of the pictures.
    image: String,
    /// The folder of the pictures, relative to the tub.
    images: PathBuf,
    names: BTreeMap<String, Arc<str>>,
    bad: usize,
    first_bad: Option<String>,
    no_picture: usize,
    piloted: usize,
}

pub(crate) fn read_v2(folder: &Path) -> Result<Found, DatasetError> {
    let path = folder.join(MANIFEST);
    let mut found = Found::default();
    let manifest = Manifest::read(folder, &path)?;
    found.domain = manifest.domain;
    let mut reader = Reader::new(manifest.image, PathBuf::from("images"));
    let catalogs = match manifest.catalogs {
        Some(catalogs) => catalogs,
        None => {
            found.notes.push(Note::NoCatalogList { path: path.clone() });
            listed(folder, |name| {
                name.starts_with("catalog_") && name.ends_with(".catalog")
            })?
        }
    };
    let (mut index, mut deleted) = (0_u64, 0);
    for catalog in &catalogs {
        let mut lines = Lines::open(folder, catalog, LONGEST_RECORD)?;
        let catalog = lines.path().to_owned();
        while let Some(line) = lines.next()? {
            let number = line.number;
            if line.text().is_ok_and(|text| text.trim().is_empty()) {
                continue;
            }
            // Donkeycar marks records by their place in all catalogs together.
            let place = index;
            index += 1;
            if manifest.deleted.contains(&place) {
                deleted += 1;
                continue;
            }
            match line.text().and_then(object) {
                Ok(object) => {
                    let list = (&*catalog, number);
                    reader.record(&object, list, &mut found)?;
                }
                Err(_) if !line.ended => found.notes.push(Note::CutRow {
                    path: catalog.clone(),
                    line: number,
                }),
                Err(problem) => reader.bad((&catalog, number), "", &problem),
            }
        }
    }
    if deleted > 0 {
        found.notes.push(Note::Deleted {
            path,
            count: deleted,
        });
    }
    reader.finish(folder, found)
}

pub(crate) fn read_v1(folder: &Path) -> Result<Found, DatasetError> {
    let excluded = excluded(folder)?;
    let mut reader = Reader::new(IMAGE.to_owned(), PathBuf::new());
    let mut found = Found::default();
    let mut deleted = 0;
    for name in listed(folder, |name| number(OsStr::new(name)).is_some())? {
        let index = number(OsStr::new(&name)).unwrap_or(0);
        if excluded.contains(&index) {
            deleted += 1;
            continue;
        }
        let path = folder.join(&name);
        let opened = file::open(folder, Path::new(&name)).map_err(|refused| refused.at(&path))?;
        let mut text = String::new();
        let mut limited = opened.take(LONGEST_RECORD as u64);
        let list = (&*path, index);
        match limited.read_to_string(&mut text) {
            Ok(_) => match object(&text) {
                Ok(object) => reader.record(&object, list, &mut found)?,
                Err(problem) => reader.bad(list, "", &problem),
            },
            Err(_) => reader.bad(list, "", &RowProblem::NotUtf8),
        }
    }
    if deleted > 0 {
        let path = folder.join(EXCLUDE);
        found.notes.push(Note::Deleted {
            path,
            count: deleted,
        });
    }
    reader.finish(folder, found)
}

impl Reader {
    fn new(image: String, images: PathBuf) -> Self {
        Self {
            image,
            images,
            names: BTreeMap::new(),
            bad: 0,
            first_bad: None,
            no_picture: 0,
            piloted: 0,
        }
    }

    fn bad(&mut self, (path, line): (&Path, u64), column: &str, problem: &RowProblem) {
        self.bad += 1;
        self.first_bad.get_or_insert_with(|| {
            let key = match column {
                "" => String::new(),
                column => format!(", key `{column}`"),
            };
            match number(path.file_name().unwrap_or_default()) {
                Some(_) => format!("{}{key}: {problem}", path.display()),
                None => format!("{}, line {line}{key}: {problem}", path.display()),
            }
        });
    }

    /// Adds a record; one that cannot be read is counted.
    fn record(
        &mut self,
        object: &Map<String, Value>,
        list: (&Path, u64),
        found: &mut Found,
    ) -> Result<(), DatasetError> {
        let Some(picture) = object.get(&self.image).filter(|value| !value.is_null()) else {
            self.no_picture += 1;
            return Ok(());
        };
        let picture = match picture_of(picture) {
            Ok(picture) => self.images.join(picture),
            Err(problem) => {
                let key = self.image.clone();
                self.bad(list, &key, &problem);
                return Ok(());
            }
        };
        let mut commands = [None; 2];
        for (command, key) in commands.iter_mut().zip([ANGLE, THROTTLE]) {
            match command_of(object, key) {
                Ok(value) => *command = value,
                Err(problem) => {
                    self.bad(list, key, &problem);
                    return Ok(());
                }
            }
        }
        let mode = object.get("user/mode").and_then(Value::as_str);
        self.piloted += usize::from(mode.is_some_and(|mode| mode != "user"));
        let milliseconds = object
            .get("_timestamp_ms")
            .or_else(|| object.get("milliseconds"));
        let record = Record {
            picture,
            steering: commands[0].map(|angle| 0.0 - angle),
            throttle: commands[1],
            time: milliseconds.and_then(Value::as_f64).map(|ms| ms / 1e3),
            extra: self.extra(object),
            line: list.1,
            ..Record::default()
        };
        found.push(list.0, record)
    }

    fn extra(&mut self, object: &Map<String, Value>) -> Vec<(Arc<str>, f64)> {
        let mut extra = Vec::new();
        for (key, value) in object {
            let (true, Some(value)) = (key.starts_with("pilot/"), value.as_f64()) else {
                continue;
            };
            let name = match self.names.get(key) {
                Some(name) => Arc::clone(name),
                None => {
                    let name: Arc<str> = key.as_str().into();
                    self.names.insert(key.clone(), Arc::clone(&name));
                    name
                }
            };
            extra.push((name, value));
        }
        extra
    }

    fn finish(self, folder: &Path, mut found: Found) -> Result<Found, DatasetError> {
        let of = found.records.len() + self.bad;
        if let Some(first) = self.first_bad {
            let (folder, bad) = (folder.to_owned(), self.bad);
            if !tolerable(bad, of) {
                return Err(DatasetError::BadRecords {
                    folder,
                    bad,
                    of,
                    first,
                });
            }
            found.notes.push(Note::BadRecords {
                folder,
                count: bad,
                first,
            });
        }
        let folder = folder.to_owned();
        let count = self.no_picture;
        if count > 0 {
            let folder = folder.clone();
            found.notes.push(Note::NoPicture { folder, count });
        }
        let count = self.piloted;
        if count > 0 {
            found.notes.push(Note::Piloted { folder, count });
        }
        Ok(found)
    }
}

fn object(text: &str) -> Result<Map<String, Value>, RowProblem> {
    serde_json::from_str(text).map_err(|error| RowProblem::Json(error.to_string()))
}

/// A picture's name: tubs name files, not paths.
fn picture_of(value: &Value) -> Result<PathBuf, RowProblem> {
    let name = value.as_str().unwrap_or("");
    // Old versions wrote the whole path.
    ListedPath::new(name)?;
    let last = name.rsplit(['/', '\\']).next().unwrap_or("");
    match last {
        "" => Err(PathProblem::Empty.into()),
        last => Ok(last.into()),
    }
}

fn command_of(object: &Map<String, Value>, key: &str) -> Result<Option<f64>, RowProblem> {
    let Some(value) = object.get(key).filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let shown = || value.to_string().chars().take(40).collect::<String>();
    let number = value
        .as_f64()
        .ok_or_else(|| RowProblem::NotNumber(shown()))?;
    match number.abs() <= 1.0 + 1e-3 {
        true => Ok(Some(number.clamp(-1.0, 1.0))),
        false => Err(RowProblem::Range {
            value: shown(),
            range: "-1 to 1",
        }),
    }
}

/// What a manifest of version 2 states.
struct Manifest {
    /// The key of the pictures.
    image: String,
    /// The catalogs' names in order; `None` where the last line is missing.
    catalogs: Option<Vec<String>>,
    deleted: HashSet<u64>,
    /// By the user's metadata, which `TubWriter` writes.
    domain: Option<Domain>,
}

impl Manifest {
    /// The lines: inputs, their types, the user's metadata, sessions, and the catalogs.
    fn read(folder: &Path, path: &Path) -> Result<Self, DatasetError> {
        let wrong = |line: u64, problem: String| DatasetError::Manifest {
            path: path.to_owned(),
            line,
            problem,
        };
        let mut lines = Lines::open(folder, MANIFEST, LONGEST_MANIFEST_LINE)?;
        let mut values = Vec::new();
        while let Some(line) = lines.next()? {
            let (number, ended) = (line.number, line.ended);
            if number > 5 {
                break;
            }
            let value = line.text().map_err(|problem| problem.to_string());
            let value = value.and_then(|text| {
                serde_json::from_str::<Value>(text).map_err(|error| error.to_string())
            });
            match value {
                Ok(value) => values.push(value),
                // Donkeycar writes the last line anew for each record: a power cut may leave a part.
                Err(_) if number == 5 && !ended => break,
                Err(problem) => return Err(wrong(number, problem)),
            }
        }
        let (Some(Value::Array(inputs)), Some(Value::Array(types))) =
            (values.first(), values.get(1))
        else {
            let problem = "the inputs and their types are missing, so this is no tub's manifest";
            return Err(wrong(1, problem.to_owned()));
        };
        let pictures = inputs.iter().zip(types);
        let pictures = pictures.filter(|(_, kind)| kind.as_str() == Some("image_array"));
        let pictures: Vec<_> = pictures.filter_map(|(input, _)| input.as_str()).collect();
        let image = match pictures.first() {
            Some(first) if !pictures.contains(&IMAGE) => first,
            _ => IMAGE,
        };
        let (catalogs, deleted) = match values.get(4) {
            None => (None, HashSet::new()),
            Some(last) => catalogs(last).map_err(|problem| wrong(5, problem.to_owned()))?,
        };
        // Another program may keep something else under this key.
        let domain = values.get(2).and_then(|it| of_object(it).ok().flatten());
        Ok(Self {
            domain,
            image: image.to_owned(),
            catalogs,
            deleted,
        })
    }
}

/// The catalogs and the deleted records in a manifest's last line.
fn catalogs(line: &Value) -> Result<(Option<Vec<String>>, HashSet<u64>), &'static str> {
    let paths = line.get("paths").and_then(Value::as_array);
    let mut catalogs = Vec::new();
    for path in paths.ok_or("`paths`, the list of catalogs, is missing")? {
        let name = path.as_str().unwrap_or("");
        let is_name = !name.is_empty() && name != ".." && !name.contains(['/', '\\', '\0']);
        if !is_name {
            return Err("a catalog's path is not the name of a file in the tub");
        }
        catalogs.push(name.to_owned());
    }
    let deleted = line.get("deleted_indexes").and_then(Value::as_array);
    let deleted = deleted.into_iter().flatten().filter_map(Value::as_u64);
    Ok((Some(catalogs), deleted.collect()))
}

const EXCLUDE: &str = "exclude.json";

/// The indexes that version 1 leaves out.
fn excluded(folder: &Path) -> Result<HashSet<u64>, DatasetError> {
    let path = folder.join(EXCLUDE);
    if path.symlink_metadata().is_err() {
        return Ok(HashSet::new());
    }
    let opened = file::open(folder, Path::new(EXCLUDE)).map_err(|refused| refused.at(&path))?;
    let mut bytes = Vec::new();
    let mut limited = opened.take(LONGEST_MANIFEST_LINE as u64);
    limited
        .read_to_end(&mut bytes)
        .map_err(|reason| DatasetError::File {
            path: path.clone(),
            reason,
        })?;
    let excluded: Vec<u64> =
        serde_json::from_slice(&bytes).map_err(|error| DatasetError::Manifest {
            path,
            line: error.line() as u64,
            problem: error.to_string(),
        })?;
    Ok(excluded.into_iter().collect())
}

/// The files of a folder whose names `is_listed` selects, in natural order.
fn listed(folder: &Path, is_listed: impl Fn(&str) -> bool) -> Result<Vec<String>, DatasetError> {
    let failed = |reason| DatasetError::File {
        path: folder.to_owned(),
        reason,
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string()
            && is_listed(&name)
        {
            names.push(name);
        }
    }
    if names.len() > MOST_RECORDS {
        let path = folder.to_owned();
        return Err(DatasetError::TooMany { path });
    }
    names.sort_by(|one, other| natural(one, other));
    Ok(names)
}

/// The number of a `record_N.json`.
pub(crate) fn number(name: &OsStr) -> Option<u64> {
    let name = name.to_str()?.strip_prefix("record_")?;
    name.strip_suffix(".json")?.parse().ok()
}
