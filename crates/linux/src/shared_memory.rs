//! Memory that one process writes and others read.
//!
//! The writer makes a memfd of fixed size ([`SharedMemory::create`]) and passes a descriptor
//! ([`SharedMemory::read_only_descriptor`]); a reader maps it ([`SharedView::open`]). All access is by
//! atomic 64-bit words, so that a reader that reads while the writer writes sees old and new words
//! mixed, which is no data race. The words' protocol is the caller's.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes of a word.
const WORD: usize = size_of::<u64>();
/// Most words of a memory, 1 GiB: a size from outside is checked before it is mapped.
const MOST_WORDS: usize = (1 << 30) / WORD;

/// Memory that this process writes. Its size never changes.
#[derive(Debug)]
pub struct SharedMemory {
    map: Map,
    file: OwnedFd,
}

/// Memory that another process writes, and that this process can only read.
#[derive(Debug)]
pub struct SharedView {
    map: Map,
}

impl SharedMemory {
    /// Makes a memory of `words` zero words and touches every page, so that a later write does not
    /// wait for the kernel to supply one. `name` appears in /proc/PID/maps.
    ///
    /// The memory cannot grow or shrink. From Linux 5.1 on no other mapping of it can be writable.
    ///
    /// # Errors
    /// When `words` is 0 or more than 1 GiB, or the system has no memory or no descriptor left.
    pub fn create(name: &str, words: usize) -> io::Result<Self> {
        let bytes = length(words)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&file, bytes as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        let map = Map::new(file.as_fd(), words, ProtFlags::READ | ProtFlags::WRITE)?;
        // Without this seal (before Linux 5.1), file mode and a read-only descriptor keep observers
        // of other users from writing.
        match rustix::fs::fcntl_add_seals(&file, SealFlags::FUTURE_WRITE) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL)?;
        let memory = Self { map, file };
        for word in memory.words() {
            word.store(0, Ordering::Relaxed);
        }
        Ok(memory)
    }

    /// The words, for reading and writing.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: `start` points to `words` words that are mapped readable and writable until
        // `self` is dropped, and page-aligned, so aligned for u64. The file cannot shrink (sealed
        // before it was mapped), so each access is backed. Any bits are a valid u64. This process
        // and others access the words only as atomics.
        unsafe { std::slice::from_raw_parts(self.map.start.as_ptr(), self.map.words) }
    }

    /// A descriptor of this memory that can only be read, for an observer.
    ///
    /// # Errors
    /// When /proc is not mounted, or no descriptor is left.
    pub fn read_only_descriptor(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let descriptor = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Other users cannot open it again for writing by its path in /proc.
        rustix::fs::fchmod(&self.file, Mode::RUSR)?;
        Ok(descriptor)
    }
}

impl SharedView {
    /// Maps the memory behind `descriptor` for reading. Its size is the file's.
    ///
    /// # Errors
    /// `InvalidData` when the file could shrink while it is mapped (it is not a sealed memfd), or its
    /// size is not a number of words from 1 to 1 GiB; else the system's error.
    pub fn open(descriptor: BorrowedFd<'_>) -> io::Result<Self> {
        let words = fixed_words(descriptor)?;
        Ok(Self {
            map: Map::new(descriptor, words, ProtFlags::READ)?,
        })
    }

    /// The number of words.
    pub fn len(&self) -> usize {
        self.map.words
    }

    /// Whether there are no words, which [`open`](Self::open) rules out.
    pub fn is_empty(&self) -> bool {
        self.map.words == 0
    }

    /// The word at `index`, with [`Ordering::Relaxed`]; 0 beyond the end. Follow it with
    /// `fence(Ordering::Acquire)` where order matters.
    pub fn load(&self, index: usize) -> u64 {
        if index >= self.map.words {
            return 0;
        }
        // SAFETY: `index` is in the mapping, which is readable until `self` is dropped, aligned for
        // u64 (a page is), and cannot shrink (sealed). Any bits are a valid u64. Relaxed atomic
        // loads of 8 bytes may be made on read-only memory (std::sync::atomic, "Atomic accesses to
        // read-only memory"), and a relaxed load is the only access through a view.
        unsafe { (*self.map.start.as_ptr().add(index)).load(Ordering::Relaxed) }
    }
}

/// The number of words of a memfd whose size cannot change.
pub(crate) fn fixed_words(descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    // A file that shrinks would end this process with SIGBUS.
    let seals = rustix::fs::fcntl_get_seals(descriptor);
    if !seals.is_ok_and(|seals| seals.contains(SealFlags::SHRINK | SealFlags::GROW)) {
        return Err(invalid("not a memory of fixed size"));
    }
    let size = rustix::fs::fstat(descriptor)?.st_size;
    let size = usize::try_from(size).map_err(|_| invalid("its size is negative"))?;
    if !size.is_multiple_of(WORD) {
        return Err(invalid("its size is not a multiple of 8 bytes"));
    }
    let words = size / WORD;
    length(words)?;
    Ok(words)
}

/// A shared mapping of `words` words from the start of a file.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) start: NonNull<AtomicU64>,
    pub(crate) words: usize,
}

// SAFETY: a mapping belongs to the process and not to a thread, and its words are accessed only as
// atomics.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// `words` must be at most the size of the file, or accesses beyond it end the process.
    pub(crate) fn new(file: BorrowedFd<'_>, words: usize, access: ProtFlags) -> io::Result<Self> {
        let bytes = length(words)?;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let start = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                bytes,
                access,
                MapFlags::SHARED,
                file,
                0,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or_else(|| invalid("mapped at address 0"))?;
        Ok(Self { start, words })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: `start` and the length are those of a mapping that `new` made; every reference
        // to its words borrows `self`, so none is left.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.words * WORD) };
    }
}

pub(crate) fn length(words: usize) -> io::Result<usize> {
    match words {
        1..=MOST_WORDS => Ok(words * WORD),
        _ => Err(invalid("its size must be from 8 bytes to 1 GiB")),
    }
}

pub(crate) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_reads_what_was_written_and_zero_beyond_the_end() {
        let memory = SharedMemory::create("test", 600).unwrap();
        memory.words()[599].store(7, Ordering::Relaxed);
        let descriptor = memory.read_only_descriptor().unwrap();
        let view = SharedView::open(descriptor.as_fd()).unwrap();
        assert_eq!((view.len(), view.load(599), view.load(600)), (600, 7, 0));
        memory.words()[0].store(9, Ordering::Relaxed);
        assert_eq!(view.load(0), 9);
    }

    #[test]
    fn a_view_outlives_the_memory() {
        let memory = SharedMemory::create("test", 1).unwrap();
        memory.words()[0].store(5, Ordering::Relaxed);
        let descriptor = memory.read_only_descriptor().unwrap();
        let view = SharedView::open(descriptor.as_fd()).unwrap();
        drop(memory);
        assert_eq!(view.load(0), 5);
    }

    #[test]
    fn an_observer_can_neither_write_nor_resize() {
        let memory = SharedMemory::create("test", 512).unwrap();
        let descriptor = memory.read_only_descriptor().unwrap();
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        assert!(Map::new(descriptor.as_fd(), 512, writable).is_err());
        assert!(rustix::io::write(&descriptor, b"x").is_err());
        assert!(rustix::fs::ftruncate(&descriptor, 0).is_err());
        // Not even with the writer's own descriptor, where the kernel has the seal (Linux 5.1).
        let seals = rustix::fs::fcntl_get_seals(&memory.file).unwrap();
        if seals.contains(SealFlags::FUTURE_WRITE) {
            assert!(Map::new(memory.file.as_fd(), 512, writable).is_err());
        }
        assert!(rustix::fs::ftruncate(&memory.file, 0).is_err());
    }

    #[test]
    fn a_file_that_could_shrink_is_rejected() {
        let unsealed = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&unsealed, 4096).unwrap();
        let (reader, _writer) = io::pipe().unwrap();
        for descriptor in [unsealed.as_fd(), reader.as_fd()] {
            let error = SharedView::open(descriptor).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        for words in [0, MOST_WORDS + 1, usize::MAX] {
            assert!(SharedMemory::create("test", words).is_err());
        }
    }
}
