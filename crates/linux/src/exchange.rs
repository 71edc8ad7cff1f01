//! Memory that two processes read and write, and in which they wait for each other.
//!
//! One process makes it ([`Exchange::create`]) and passes its descriptor; the other maps it
//! ([`Exchange::open`]). Each process has a flag, which it sets and on which the other process waits:
//! a futex, so that a process that waits sleeps. All access is atomic, so that a process that does not
//! keep to the protocol can change what the other reads, but cannot make it read freed or torn words.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::ProtFlags;
use rustix::thread::futex::{self, Timespec};

use crate::shared_memory::{Map, fixed_words, invalid, length};

/// The words before those of [`Exchange::words`]: a cache line of each flag.
const FLAG_WORDS: usize = 16;

/// Memory that two processes read and write. Its size never changes.
#[derive(Debug)]
pub struct Exchange {
    map: Map,
    file: OwnedFd,
}

/// A process of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The process that made the memory.
    Maker,
    /// The process that opened it.
    Opener,
}

impl Exchange {
    /// Makes a memory of `words` zero words and touches every page. `name` appears in
    /// /proc/PID/maps.
    ///
    /// # Errors
    /// When `words` is 0, or the memory would have more than 1 GiB, or the system has no memory or no
    /// descriptor left.
    pub fn create(name: &str, words: usize) -> io::Result<Self> {
        length(words)?;
        let all = words + FLAG_WORDS;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = rustix::fs::memfd_create(name, flags)?;
        rustix::fs::ftruncate(&file, length(all)? as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let memory = Self::map(file, all)?;
        for word in memory.words() {
            word.store(0, Ordering::Relaxed);
        }
        Ok(memory)
    }

    /// Maps the memory behind `file`, which another process made.
    ///
    /// # Errors
    /// `InvalidData` when the file could change its size (it is not a sealed memfd) or is too small
    /// or too large; else the system's error.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let all = fixed_words(file.as_fd())?;
        match all > FLAG_WORDS {
            true => Self::map(file, all),
            false => Err(invalid("it has no words")),
        }
    }

    fn map(file: OwnedFd, all: usize) -> io::Result<Self> {
        let map = Map::new(file.as_fd(), all, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self { map, file })
    }

    /// The descriptor of this memory, to be passed to the other process.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The words, for reading and writing.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has more than FLAG_WORDS words (`create` and `open` check it), is
        // readable and writable until `self` is dropped, and page-aligned, so aligned for u64. The
        // file cannot shrink (sealed before it was mapped), so each access is backed. Any bits are
        // a valid u64. Both processes access the words only as atomics of 64 bits.
        unsafe {
            let first = self.map.start.as_ptr().add(FLAG_WORDS);
            std::slice::from_raw_parts(first, self.map.words - FLAG_WORDS)
        }
    }

    fn flag(&self, of: Side) -> &AtomicU32 {
        let word = match of {
            Side::Maker => 0,
            Side::Opener => FLAG_WORDS / 2,
        };
        // SAFETY: `word` is below FLAG_WORDS, so it is in the mapping, which lives and is writable
        // until `self` is dropped. A word is aligned for u64, so for u32. Any bits are a valid u32.
        // No slice of `words` contains this word: both processes access it only as an atomic of 32
        // bits.
        unsafe { &*self.map.start.as_ptr().add(word).cast::<AtomicU32>() }
    }

    /// The flag of a process. What that process wrote before it set the flag to this value is
    /// visible.
    pub fn value(&self, of: Side) -> u32 {
        self.flag(of).load(Ordering::Acquire)
    }

    /// Sets the flag of a process, after all that was written before, and wakes those who wait for
    /// it.
    pub fn set(&self, of: Side, value: u32) {
        let flag = self.flag(of);
        flag.store(value, Ordering::Release);
        // Cannot fail for an address that is mapped and aligned.
        let _ = futex::wake(flag, futex::Flags::empty(), u32::MAX >> 1);
    }

    /// Waits until the flag of a process is no longer `value`, for at most `limit` (`None`: without
    /// a limit), and returns it.
    pub fn wait_while(&self, of: Side, value: u32, limit: Option<Duration>) -> u32 {
        let flag = self.flag(of);
        let until = limit.map(|limit| Instant::now() + limit);
        loop {
            let found = flag.load(Ordering::Acquire);
            if found != value {
                return found;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return found;
            }
            let left = left.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            match futex::wait(flag, futex::Flags::empty(), value, left.as_ref()) {
                // Set or woken; another value already; a signal; the limit.
                Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => {}
                // No other error is documented for these arguments: do not use up a processor.
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_words_and_flags_and_wait_for_each_other() {
        let ours = Exchange::create("test", 600).unwrap();
        let file = ours.descriptor().try_clone_to_owned().unwrap();
        let theirs = Exchange::open(file).unwrap();
        assert_eq!((ours.words().len(), theirs.words().len()), (600, 600));
        let other = std::thread::spawn(move || {
            assert_eq!(theirs.wait_while(Side::Maker, 0, None), 1);
            let sum = theirs.words()[0].load(Ordering::Relaxed)
                + theirs.words()[599].load(Ordering::Relaxed);
            theirs.words()[1].store(sum, Ordering::Relaxed);
            theirs.set(Side::Opener, 9);
        });
        ours.words()[0].store(3, Ordering::Relaxed);
        ours.words()[599].store(4, Ordering::Relaxed);
        ours.set(Side::Maker, 1);
        assert_eq!(ours.wait_while(Side::Opener, 0, None), 9);
        assert_eq!(ours.value(Side::Opener), 9);
        assert_eq!(ours.words()[1].load(Ordering::Relaxed), 7);
        other.join().unwrap();
    }

    #[test]
    fn waiting_ends_at_its_limit() {
        let ours = Exchange::create("test", 1).unwrap();
        let limit = Duration::from_millis(5);
        let start = Instant::now();
        assert_eq!(ours.wait_while(Side::Opener, 0, Some(limit)), 0);
        assert!(start.elapsed() >= limit);
    }

    #[test]
    fn a_file_that_is_no_exchange_is_rejected() {
        let unsealed = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&unsealed, 4096).unwrap();
        let small = Exchange::create("test", 1).unwrap();
        assert!(rustix::fs::ftruncate(&small.file, 8).is_err());
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let only_flags = rustix::fs::memfd_create("test", flags).unwrap();
        rustix::fs::ftruncate(&only_flags, 128).unwrap();
        rustix::fs::fcntl_add_seals(&only_flags, SealFlags::SHRINK | SealFlags::GROW).unwrap();
        for file in [unsealed, only_flags] {
            let error = Exchange::open(file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
        assert!(Exchange::create("test", 0).is_err());
        assert!(Exchange::create("test", usize::MAX).is_err());
    }
}
