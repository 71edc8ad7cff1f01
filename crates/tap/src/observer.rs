//! An observer's end: it maps the pilot's memory read-only.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use pilotage_linux::SharedView;
use pilotage_vehicle::{Rays, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};

use crate::layout::{
    LONGEST_NAME, Layout, MAGIC, PICTURE_HEAD, RECORD_WORDS, SCAN_HEAD, VERSION, at,
};
use crate::protocol::{BYTES, Invalid, Reply, Request};
use crate::{
    Drive, EngineInputs, FrameRecord, NumberedScan, ObserveError, Picture, PixelFormat, ring,
};

/// How long to wait for the pilot's server, which answers within milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads a pilot's records and pictures.
#[derive(Debug)]
pub struct Observer {
    connection: OwnedFd,
    view: SharedView,
    layout: Layout,
    drive: Drive,
    /// The number of the next record to read.
    next: u64,
    lost: u64,
    /// The number of the last picture that was read.
    picture: Option<u64>,
    /// The number of scans that were read or passed over.
    scans: u64,
}

impl Observer {
    /// Connects to the pilot that serves `path`.
    ///
    /// # Errors
    /// When no pilot of this version serves it, or it does not answer.
    pub fn connect(path: &Path) -> Result<Self, ObserveError> {
        let unreachable = |reason: Errno| ObserveError::Unreachable {
            path: path.to_owned(),
            reason: reason.into(),
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::SEQPACKET;
        let connection = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None);
        let connection = connection.map_err(unreachable)?;
        let address = SocketAddrUnix::new(path).map_err(unreachable)?;
        rustix::net::connect(&connection, &address).map_err(unreachable)?;
        Self::over(connection)
    }

    /// Uses an open connection to a pilot's server.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn over(connection: OwnedFd) -> Result<Self, ObserveError> {
        send(&connection, Request::Hello)?;
        let memory = receive_memory(&connection)?;
        let view = SharedView::open(memory.as_fd()).map_err(ObserveError::System)?;
        let layout = layout(&view)?;
        let drive = drive(&view, &layout)?;
        let published = view.load(at::RECORDS);
        // The older half of the ring may be overwritten while it is read.
        let next = published.saturating_sub(layout.record_slots as u64 / 2);
        let scans = view.load(at::SCANS);
        let scans = scans.saturating_sub(layout.scan_slots as u64 / 2);
        Ok(Self {
            connection,
            view,
            layout,
            drive,
            next,
            lost: 0,
            picture: None,
            scans,
        })
    }

    /// The properties of the drive, which do not change.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// The next record, in order; `None` when all records so far have been read. Records that were
    /// overwritten before they were read are skipped and counted.
    pub fn next_record(&mut self) -> Option<FrameRecord> {
        // Bounded, also for a memory whose numbers are wrong.
        for _ in 0..self.layout.record_slots {
            let published = self.view.load(at::RECORDS);
            // The slots are read after the number.
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if self.next >= published {
                return None;
            }
            let oldest = published.saturating_sub(self.layout.record_slots as u64);
            if self.next < oldest {
                self.lost += oldest - self.next;
                self.next = oldest;
            }
            let number = self.next;
            self.next += 1;
            let slot = (number % self.layout.record_slots as u64) as usize;
            let start = self.layout.record(slot);
            let words = ring::read(&self.view, start, number, |start| {
                let mut words = [0; RECORD_WORDS];
                for (index, word) in words.iter_mut().enumerate() {
                    *word = self.view.load(start + index);
                }
                words
            });
            match words {
                Some(words) => return Some(zerocopy::transmute!(words)),
                None => self.lost += 1,
            }
        }
        None
    }

    /// How many records were overwritten before they were read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Copies the newest picture to `into`, if it is newer than the last one. Returns whether it
    /// is. If it returns false, `into` may have been changed.
    pub fn picture(&mut self, into: &mut Picture) -> bool {
        let published = self.view.load(at::PICTURES);
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        let Some(newest) = published.checked_sub(1) else {
            return false;
        };
        if self.picture == Some(newest) {
            return false;
        }
        let slot = (newest % self.layout.picture_slots as u64) as usize;
        let start = self.layout.picture(slot);
        let copied = ring::read(&self.view, start, newest, |start| self.copy(start, into));
        if copied == Some(true) {
            self.picture = Some(newest);
        }
        copied == Some(true)
    }

    /// Copies a picture whose words may be torn. Returns whether its head is valid.
    fn copy(&self, start: usize, into: &mut Picture) -> bool {
        let mut head = [0; PICTURE_HEAD];
        for (index, word) in head.iter_mut().enumerate() {
            *word = self.view.load(start + index);
        }
        let [sequence, captured, format, size, bytes] = head;
        let (width, height) = (size as u32, (size >> 32) as u32);
        let Some(format) = PixelFormat::of_code(format) else {
            return false;
        };
        let expected = format.bytes(width, height);
        let expected = expected
            .filter(|&expected| expected <= self.layout.picture_bytes && expected as u64 == bytes);
        let Some(expected) = expected else {
            return false;
        };
        into.data.clear();
        into.data.reserve(expected + 8);
        for index in 0..expected.div_ceil(8) {
            let word = self.view.load(start + PICTURE_HEAD + index);
            into.data.extend_from_slice(&word.to_ne_bytes());
        }
        into.data.truncate(expected);
        (into.format, into.width, into.height) = (format, width, height);
        (into.sequence, into.captured) = (sequence, captured);
        true
    }

    /// Copies the next scan to `into`, in order. Returns false when all so far have been read; then `into` may
    /// have been changed. Scans that were overwritten before they were read are passed over.
    pub fn next_scan(&mut self, into: &mut NumberedScan) -> bool {
        let slots = self.layout.scan_slots as u64;
        // Bounded, also for a memory whose numbers are wrong.
        for _ in 0..slots {
            let published = self.view.load(at::SCANS);
            std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
            if self.scans >= published {
                return false;
            }
            let number = self.scans.max(published.saturating_sub(slots));
            self.scans = number.saturating_add(1);
            let start = self.layout.scan((number % slots) as usize);
            let copied = ring::read(&self.view, start, number, |start| {
                self.copy_scan(start, into)
            });
            if copied == Some(true) {
                into.number = self.scans;
                return true;
            }
        }
        false
    }

    /// Copies a scan whose words may be torn. Returns whether its head is valid.
    fn copy_scan(&self, start: usize, into: &mut NumberedScan) -> bool {
        let head: [u64; SCAN_HEAD] = [0, 1, 2].map(|index| self.view.load(start + index));
        let [taken, count, angles] = head;
        let [first, last] = [angles as u32, (angles >> 32) as u32].map(f32::from_bits);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let rays = Rays::new(count, first, last);
        let Some(rays) = rays.filter(|_| count <= self.layout.scan_rays) else {
            return false;
        };
        into.taken = Time::from_nanos(taken);
        into.scan.rays = rays;
        into.scan.millimetres.clear();
        for index in 0..count.div_ceil(4) {
            let word = self.view.load(start + SCAN_HEAD + index);
            let distances = [0, 16, 32, 48].map(|by| (word >> by) as u16);
            into.scan.millimetres.extend_from_slice(&distances);
        }
        into.scan.millimetres.truncate(count);
        true
    }

    /// Requests pictures for the next two seconds: at most `per_second`, and at most
    /// [`MAX_PICTURES_PER_SECOND`](crate::MAX_PICTURES_PER_SECOND), per second; 0 ends the request.
    ///
    /// # Errors
    /// When the pilot has ended, or does not read its requests.
    pub fn want_pictures(&self, per_second: u32) -> Result<(), ObserveError> {
        send(&self.connection, Request::Pictures(per_second))
    }

    /// A second handle of the connection, for another thread, that can only request a stop.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn stopper(&self) -> Result<Stopper, ObserveError> {
        match self.connection.try_clone() {
            Ok(connection) => Ok(Stopper { connection }),
            Err(error) => Err(ObserveError::System(error)),
        }
    }

    /// Whether the pilot has ended, or has closed the connection.
    pub fn has_ended(&self) -> bool {
        let received = rustix::net::recv(&self.connection, &mut [0; BYTES], RecvFlags::DONTWAIT);
        match received {
            Ok((_, length)) => length == 0,
            Err(error) => !matches!(error, Errno::AGAIN | Errno::INTR),
        }
    }
}

/// Requests an operator's stop of a pilot whose guard has no socket: that of a simulated car.
#[derive(Debug)]
pub struct Stopper {
    connection: OwnedFd,
}

impl Stopper {
    /// Sends the request. A later record shows whether the guard has stopped the car.
    ///
    /// # Errors
    /// When the pilot has ended, or does not read its requests.
    pub fn stop(&self) -> Result<(), ObserveError> {
        send(&self.connection, Request::Stop)
    }
}

fn send(connection: &OwnedFd, request: Request) -> Result<(), ObserveError> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    match rustix::net::send(connection, &request.write(), flags) {
        Ok(_) => Ok(()),
        Err(Errno::PIPE | Errno::CONNRESET) => Err(ObserveError::Ended),
        Err(Errno::AGAIN) => Err(ObserveError::Silent),
        Err(error) => Err(ObserveError::System(error.into())),
    }
}

/// Waits for the reply to hello.
fn receive_memory(connection: &OwnedFd) -> Result<OwnedFd, ObserveError> {
    let until = Instant::now() + PATIENCE;
    let mut bytes = [0; BYTES + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(connection, &mut parts, &mut ancillary, flags) {
            Ok(message) if message.bytes == 0 => return Err(ObserveError::Ended),
            Ok(message) => break message.bytes,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Err(ObserveError::Ended),
            Err(error) => return Err(ObserveError::System(error.into())),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ObserveError::Silent);
        }
        let left = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut waiting = [PollFd::new(connection, PollFlags::IN)];
        // The result is ignored: the connection is read next.
        let _ = poll(&mut waiting, Some(&left));
    };
    match Reply::read(bytes.get(..length).unwrap_or_default()) {
        Ok(Reply::Memory) => {}
        Ok(Reply::TooMany) => return Err(ObserveError::TooMany),
        Err(Invalid::Version(pilot)) => {
            let own = VERSION;
            return Err(ObserveError::Version { pilot, own });
        }
        Err(Invalid::Malformed) => return Err(ObserveError::Malformed("its reply")),
    }
    let mut memory = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            memory = descriptors.last().or(memory);
        }
    }
    memory.ok_or(ObserveError::Malformed("its reply has no memory"))
}

/// The sizes in the memory, checked.
fn layout(view: &SharedView) -> Result<Layout, ObserveError> {
    if view.load(at::MAGIC) != MAGIC {
        return Err(ObserveError::Malformed("the start of its memory"));
    }
    std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
    let pilot = view.load(at::VERSION);
    if pilot != u64::from(VERSION) {
        return Err(ObserveError::Version {
            pilot: u32::try_from(pilot).unwrap_or(u32::MAX),
            own: VERSION,
        });
    }
    let size = |index| usize::try_from(view.load(index)).unwrap_or(usize::MAX);
    let layout = Layout {
        record_slots: size(at::RECORD_SLOTS),
        picture_slots: size(at::PICTURE_SLOTS),
        picture_bytes: size(at::PICTURE_BYTES),
        track_points: size(at::TRACK_POINTS),
        scan_slots: size(at::SCAN_SLOTS),
        scan_rays: size(at::SCAN_RAYS),
    };
    match layout.is_valid() && layout.words() <= view.len() {
        true => Ok(layout),
        false => Err(ObserveError::Malformed("the sizes in its memory")),
    }
}

fn drive(view: &SharedView, layout: &Layout) -> Result<Drive, ObserveError> {
    let length = view.load(at::NAME_LENGTH);
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length <= LONGEST_NAME)
        .ok_or(ObserveError::Malformed("the name in its memory"))?;
    let words = (0..LONGEST_NAME / 8).map(|index| view.load(at::NAME + index));
    let mut name: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
    name.truncate(length);
    let point = |index| {
        let word = view.load(at::TRACK + index);
        [
            f32::from_bits(word as u32),
            f32::from_bits((word >> 32) as u32),
        ]
    };
    Ok(Drive {
        name: String::from_utf8_lossy(&name).into_owned(),
        simulated: view.load(at::SIMULATED) & 1 == 1,
        deadline: Duration::from_nanos(view.load(at::DEADLINE)),
        frame_period: Duration::from_nanos(view.load(at::FRAME_PERIOD)),
        track: (0..layout.track_points).map(point).collect(),
        inputs: EngineInputs::read(view),
        lidar_rays: layout.scan_rays,
    })
}
