//! The thread that keeps the log of a drive.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use pilotage_tap::{NumberedScan, Observer, Picture as Pixels};

use crate::buffer::Buffer;
use crate::entry::{Entry, Frame, Guard, LidarScan, Message, Pause, Picture, Start};
use crate::jpeg::jpeg;
use crate::scheduling::Scheduling;
use crate::store::{LogKind, Store};
use crate::time::Timestamp;
use crate::write::LogWriter;

/// What is kept of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The last seconds before each stop, and before the end.
    Stops,
    /// The whole drive.
    Drive,
}

/// What is kept, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The logs' folder.
    pub store: Store,
    /// What is kept.
    pub keep: Keep,
    /// What is known of the drive.
    pub start: Start,
    /// The drive's clock is CLOCK_MONOTONIC, so that pauses of the pilot can be found.
    pub on_wall_clock: bool,
}

/// From look to look at the tap.
const INTERVAL: Duration = Duration::from_millis(20);
/// A request for pictures holds two seconds.
const REQUEST: Duration = Duration::from_secs(1);
/// How long the last entries are kept before a stop, milliseconds.
const KEPT_MS: f64 = 30_000.0;
/// How much of what follows a stop is part of its log, milliseconds.
const AFTERWARDS: f64 = 1_000.0;
/// When a stop's log is written at the latest.
const LATEST: Duration = Duration::from_secs(2);
/// The most memory of the last entries.
const MOST_MEMORY: usize = 48 << 20;
/// Records by hand that are closer together are left out, milliseconds: a gamepad's events.
const LEAST_STEP: f64 = 10.0;
/// Most messages that wait for the thread.
const MOST_MESSAGES: usize = 64;
/// How often a whole drive's chunk is ended and written to the disk.
const FLUSH: Duration = Duration::from_secs(1);
/// After a failed write, nothing is written for this long.
const PAUSE: Duration = Duration::from_secs(10);
/// The niceness of the thread: the loop comes first.
const NICE: i32 = 5;

impl Keep {
    /// Pictures a second, their greatest width and their JPEG quality. A whole drive is kept to
    /// train with.
    const fn pictures(self) -> (u32, u32, u8) {
        match self {
            Self::Stops => (10, 640, 75),
            Self::Drive => (30, u32::MAX, 90),
        }
    }
}

/// Keeps the log of a drive, on a thread of its own.
#[derive(Debug)]
pub struct Logger {
    notes: SyncSender<Entry>,
    done: Receiver<()>,
}

impl Logger {
    /// Observes the pilot at the other end of `connection`, whose loop runs on the calling thread.
    /// `report` is called on the thread with the one message of a drive that nothing can be
    /// written, and why; the drive goes on.
    ///
    /// It must be started before the pilot's thread requests real-time priority, which a new thread
    /// inherits.
    ///
    /// # Errors
    /// Fails if there is no thread.
    pub fn start(
        connection: OwnedFd,
        settings: Settings,
        report: impl Fn(&str) + Send + 'static,
    ) -> io::Result<Self> {
        let (notes, entries) = sync_channel(MOST_MESSAGES);
        let (finished, done) = channel();
        let pilot = rustix::thread::gettid().as_raw_nonzero().get();
        let thread = std::thread::Builder::new().name("drive log".to_owned());
        thread.spawn(move || {
            // For this thread alone; without the right to it, it is as nice as the loop.
            let _ = rustix::process::setpriority_process(None, NICE);
            let mut log = Log::new(settings, report);
            log.run(connection, &entries, pilot);
            let _ = finished.send(());
        })?;
        Ok(Self { notes, done })
    }

    /// Adds a message or the end of the drive. Never waits: it is lost if the thread does not keep
    /// up.
    pub fn note(&self, entry: Entry) {
        let _ = self.notes.try_send(entry);
    }

    /// Waits at most `patience` until the log is written, after the tap's server has ended. Returns
    /// whether it is.
    pub fn finish(self, patience: Duration) -> bool {
        drop(self.notes);
        !matches!(
            self.done.recv_timeout(patience),
            Err(RecvTimeoutError::Timeout)
        )
    }
}

/// A log that is being written as the drive goes on.
struct Open {
    writer: LogWriter<BufWriter<File>>,
    file: File,
    flushed: Instant,
}

struct Log<F> {
    settings: Settings,
    report: F,
    reported: bool,
    buffer: Buffer,
    open: Option<Open>,
    /// Nothing is written before, because writing has failed.
    not_before: Option<Instant>,
    stopped: bool,
    /// When the log of the last stop is to be written: on the drive's clock, or at the latest, when
    /// no more records come.
    due: Option<(f64, Instant)>,
    last_by_hand_ms: f64,
    /// Records that the tap's ring has lost so far.
    lost: u64,
}

impl<F: Fn(&str)> Log<F> {
    fn new(settings: Settings, report: F) -> Self {
        Self {
            settings,
            report,
            reported: false,
            buffer: Buffer::new(KEPT_MS, MOST_MEMORY),
            open: None,
            not_before: None,
            stopped: false,
            due: None,
            last_by_hand_ms: f64::NEG_INFINITY,
            lost: 0,
        }
    }

    fn run(&mut self, connection: OwnedFd, notes: &Receiver<Entry>, pilot: i32) {
        let mut observer = match Observer::over(connection) {
            Ok(observer) => observer,
            Err(error) => return self.failed(&error.to_string()),
        };
        let (rate, widest, quality) = self.settings.keep.pictures();
        let mut scheduling = Scheduling::of_thread(pilot);
        let mut requested: Option<Instant> = None;
        let mut pixels = Pixels::default();
        let mut scan = NumberedScan::default();
        loop {
            // Before the last look, so that nothing of the end is missed.
            let ended = observer.has_ended();
            if !ended && requested.is_none_or(|at| at.elapsed() >= REQUEST) {
                // Without pictures the log has the rest.
                let _ = observer.want_pictures(rate);
                requested = Some(Instant::now());
            }
            // Before the records: what is noted after a record is added after it.
            let noted: Vec<Entry> = notes.try_iter().collect();
            while observer.next_scan(&mut scan) {
                self.add(Entry::Scan(LidarScan {
                    number: scan.number,
                    taken_ms: crate::entry::ms(scan.taken.as_nanos()),
                    scan: scan.scan.clone(),
                }));
            }
            self.take_records(&mut observer);
            if observer.picture(&mut pixels) {
                let (jpeg, pause) = scheduling.during(|| jpeg(&pixels, widest, quality));
                if let Ok(jpeg) = jpeg {
                    self.add(Entry::Picture(Picture {
                        sequence: pixels.sequence,
                        captured_ms: crate::entry::ms(pixels.captured),
                        jpeg,
                    }));
                }
                self.add_pause(pause);
            }
            noted.into_iter().for_each(|entry| self.add(entry));
            if ended {
                return self.end();
            }
            self.flush();
            let pause = scheduling.sleep(INTERVAL);
            self.add_pause(pause);
        }
    }

    fn add_pause(&mut self, pause: Option<Pause>) {
        if let Some(pause) = pause.filter(|_| self.settings.on_wall_clock) {
            self.add(Entry::Pause(pause));
        }
    }

    fn take_records(&mut self, observer: &mut Observer) {
        while let Some(record) = observer.next_record() {
            let lost = observer.lost();
            let frame = Frame::of(&record, lost - self.lost);
            self.lost = lost;
            let is_stopped = frame.guard == Guard::Stopped;
            let changes = is_stopped != self.stopped;
            let step = frame.published_ms - self.last_by_hand_ms;
            let has_frame = frame.captured_ms > 0.0;
            if frame.by_hand && !(changes || has_frame) && step < LEAST_STEP {
                continue;
            }
            self.last_by_hand_ms = frame.published_ms;
            let now_ms = frame.published_ms;
            if is_stopped && !self.stopped {
                self.due = Some((now_ms + AFTERWARDS, Instant::now() + LATEST));
            }
            self.stopped = is_stopped;
            self.add(Entry::Frame(Box::new(frame)));
            self.write_if_due(now_ms);
        }
        self.write_if_due(f64::NEG_INFINITY);
    }

    /// Writes the log of the last stop if it is due.
    fn write_if_due(&mut self, now_ms: f64) {
        let is_due = |(ms, latest): (f64, Instant)| now_ms >= ms || Instant::now() >= latest;
        if self.due.is_some_and(is_due) {
            self.due = None;
            self.write_last(LogKind::Stop);
        }
    }

    /// Adds an entry to memory, or writes it.
    fn add(&mut self, entry: Entry) {
        match self.settings.keep {
            Keep::Stops => self.buffer.push(entry),
            Keep::Drive => {
                let written = self.opened().map(|open| match open {
                    Some(open) => open.writer.write(&entry),
                    None => Ok(()),
                });
                self.check(written.and_then(|written| written));
            }
        }
    }

    /// The log of the whole drive, unless writing has failed a moment ago.
    fn opened(&mut self) -> io::Result<Option<&mut Open>> {
        if self.open.is_none() {
            if self.not_before.is_some_and(|time| Instant::now() < time) {
                return Ok(None);
            }
            let (file, _) = self.create(LogKind::Drive)?;
            let buffered = BufWriter::new(file.try_clone()?);
            self.open = Some(Open {
                writer: LogWriter::new(buffered, &self.settings.start)?,
                file,
                flushed: Instant::now(),
            });
        }
        Ok(self.open.as_mut())
    }

    fn create(&self, kind: LogKind) -> io::Result<(File, PathBuf)> {
        let drive = Timestamp(self.settings.start.started_ns);
        self.settings.store.create(drive, kind)
    }

    /// Ends the chunk of the whole drive's log once a second.
    fn flush(&mut self) {
        let Some(open) = &mut self.open else {
            return;
        };
        if open.flushed.elapsed() < FLUSH {
            return;
        }
        open.flushed = Instant::now();
        let flushed = open.writer.flush().and_then(|()| {
            open.file.sync_data()?;
            open.file.metadata().map(|metadata| metadata.len())
        });
        if matches!(flushed, Ok(length) if length >= self.settings.store.most_bytes_of_a_log()) {
            let closed = self.close();
            self.check(closed);
        } else {
            self.check(flushed.map(drop));
        }
    }

    /// Ends the whole drive's log; another continues it.
    fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some(open) => finish(open.writer, &open.file),
            None => Ok(()),
        }
    }

    /// Writes what is in memory as a log.
    fn write_last(&mut self, kind: LogKind) {
        if self.settings.keep == Keep::Stops {
            let written = self.create(kind).and_then(|(file, path)| {
                let written = self.write_buffer(&file);
                if written.is_err() {
                    // A part of a log that did not fit.
                    let _ = std::fs::remove_file(path);
                }
                written
            });
            self.check(written);
        }
    }

    fn write_buffer(&self, file: &File) -> io::Result<()> {
        let buffered = BufWriter::new(file.try_clone()?);
        let mut writer = LogWriter::new(buffered, &self.settings.start)?;
        for entry in self.buffer.entries() {
            writer.write(entry)?;
        }
        finish(writer, file)
    }

    fn end(&mut self) {
        match self.settings.keep {
            Keep::Stops => {
                let kind = match self.due {
                    Some(_) => LogKind::Stop,
                    None => LogKind::End,
                };
                self.write_last(kind);
            }
            Keep::Drive => {
                let closed = self.close();
                self.check(closed);
            }
        }
    }

    fn check(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.open = None;
            self.not_before = Some(Instant::now() + PAUSE);
            let folder = self.settings.store.folder.display().to_string();
            self.failed(&format!("{folder}: {error}"));
        }
    }

    fn failed(&mut self, reason: &str) {
        if !self.reported {
            self.reported = true;
            (self.report)(reason);
        }
    }
}

fn finish(writer: LogWriter<BufWriter<File>>, file: &File) -> io::Result<()> {
    let mut inner = writer.finish()?;
    inner.flush()?;
    file.sync_data()
}

impl From<Message> for Entry {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}
