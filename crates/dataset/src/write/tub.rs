//! Writes a Donkeycar tub of version 2, as donkeycar/parts/datastore_v2.py and tub_v2.py do.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use pilotage_vehicle::Domain;
use serde_json::{Map, Value, json};

use super::{PictureFile, WriteError, create, file_error, sync_folder, write_synced};
use crate::domain;
use crate::record::Record;
use crate::tub::{ANGLE, IMAGE, THROTTLE};

/// Records of a catalog.
const CATALOG_LENGTH: u64 = 1000;

/// Writes a tub. Donkeycar names pictures `.jpg`, and reads them by their content.
#[derive(Debug)]
pub struct TubWriter {
    folder: PathBuf,
    extra: Vec<String>,
    created: f64,
    session: String,
    recorded: Option<Domain>,
    catalog: Option<Catalog>,
    catalogs: Vec<String>,
    next: u64,
}

#[derive(Debug)]
struct Catalog {
    name: String,
    file: BufWriter<File>,
    start: u64,
    lengths: Vec<usize>,
}

impl TubWriter {
    /// Creates the folder, or uses an empty one. `extra` are the names of the numbers in
    /// [`Record::extra`] that are written. `created` is the tub's time of creation in seconds from
    /// 1970; `session` the identifier of its only session, as `26-01-31_0`; `recorded` the domain, if
    /// it is known, which the tub's metadata keeps.
    ///
    /// # Errors
    /// When the folder is not empty or cannot be written.
    pub fn create(
        folder: &Path,
        extra: &[String],
        created: f64,
        session: &str,
        recorded: Option<Domain>,
    ) -> Result<Self, WriteError> {
        create(folder)?;
        let images = folder.join("images");
        fs::create_dir(&images).map_err(file_error(&images))?;
        Ok(Self {
            folder: folder.to_owned(),
            extra: extra.to_owned(),
            created,
            session: session.to_owned(),
            recorded,
            catalog: None,
            catalogs: Vec::new(),
            next: 0,
        })
    }

    /// Adds a record with its picture, a JPEG; the record's own path is not used. Where the record
    /// has no time, the time is that of the tub's creation.
    ///
    /// # Errors
    /// When the record has no steering or no throttle, or a file cannot be written.
    pub fn write(&mut self, record: &Record, picture: PictureFile<'_>) -> Result<(), WriteError> {
        let missing = |missing| WriteError::Missing {
            picture: record.picture.clone(),
            missing,
        };
        let steering = record.steering.ok_or_else(|| missing("steering"))?;
        let throttle = record.throttle.ok_or_else(|| missing("throttle"))?;
        if self.next.is_multiple_of(CATALOG_LENGTH) {
            self.begin_catalog()?;
        }
        let index = self.next;
        let name = format!("{index}_cam_image_array_.jpg");
        let path = self.folder.join("images").join(&name);
        fs::write(&path, picture.bytes).map_err(file_error(&path))?;
        let time = record.time.unwrap_or(self.created);
        let mut object = Map::new();
        object.insert("_index".into(), index.into());
        object.insert("_session_id".into(), self.session.as_str().into());
        object.insert("_timestamp_ms".into(), ((time * 1e3).round() as i64).into());
        object.insert(IMAGE.into(), name.into());
        object.insert(ANGLE.into(), (0.0 - steering).into());
        object.insert("user/mode".into(), "user".into());
        object.insert(THROTTLE.into(), throttle.into());
        for (name, value) in &record.extra {
            if self.extra.iter().any(|extra| **extra == **name) {
                object.insert((**name).into(), (*value).into());
            }
        }
        let line = format!("{}\n", Value::Object(object));
        if let Some(catalog) = &mut self.catalog {
            let path = self.folder.join(&catalog.name);
            let written = catalog.file.write_all(line.as_bytes());
            written.map_err(file_error(&path))?;
            catalog.lengths.push(line.len());
        }
        self.next += 1;
        Ok(())
    }

    fn begin_catalog(&mut self) -> Result<(), WriteError> {
        self.end_catalog()?;
        let name = format!("catalog_{}.catalog", self.catalogs.len());
        let path = self.folder.join(&name);
        let file = File::create_new(&path).map_err(file_error(&path))?;
        self.catalogs.push(name.clone());
        self.catalog = Some(Catalog {
            name,
            file: BufWriter::new(file),
            start: self.next,
            lengths: Vec::new(),
        });
        Ok(())
    }

    fn end_catalog(&mut self) -> Result<(), WriteError> {
        let Some(catalog) = self.catalog.take() else {
            return Ok(());
        };
        let path = self.folder.join(&catalog.name);
        let file = catalog
            .file
            .into_inner()
            .map_err(|error| error.into_error());
        file.and_then(|file| file.sync_all())
            .map_err(file_error(&path))?;
        let metadata = json!({
            "created_at": self.created,
            "line_lengths": catalog.lengths,
            "path": catalog.name,
            "start_index": catalog.start,
        });
        let name = format!("{}_manifest", catalog.name);
        write_synced(&self.folder.join(name), format!("{metadata}\n").as_bytes())
    }

    /// Writes the manifest, and waits until all lists are on the disk. Returns the number of
    /// records.
    ///
    /// # Errors
    /// When a list cannot be written.
    pub fn finish(mut self) -> Result<u64, WriteError> {
        if self.catalogs.is_empty() {
            self.begin_catalog()?;
        }
        self.end_catalog()?;
        let mut inputs = vec![IMAGE, ANGLE, THROTTLE, "user/mode"];
        inputs.extend(self.extra.iter().map(String::as_str));
        let mut types = vec!["image_array", "float", "float", "str"];
        types.extend(self.extra.iter().map(|_| "float"));
        let sessions = json!({
            "all_full_ids": [self.session],
            "last_full_id": self.session,
            "last_id": 0,
        });
        let metadata = match self.recorded {
            Some(recorded) => json!({domain::KEY: recorded.name()}),
            None => json!({}),
        };
        let lines = [
            json!(inputs),
            json!(types),
            metadata,
            json!({"created_at": self.created, "sessions": sessions}),
            json!({
                "paths": self.catalogs,
                "current_index": self.next,
                "max_len": CATALOG_LENGTH,
                "deleted_indexes": [],
            }),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        write_synced(&self.folder.join("manifest.json"), text.as_bytes())?;
        sync_folder(&self.folder)?;
        Ok(self.next)
    }
}
