//! A tap with its server and its observers, through the public entries.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pilotage_guard_policy::{Mode, Output, State, StopReason};
use pilotage_tap::{
    Drive, FrameRecord, GuardState, MOST_OBSERVERS, MOST_TRACK_POINTS, Next, ObserveError,
    Observer, Picture, PictureView, PixelFormat, ServeError, Simulated, Tap, TapServer, VERSION,
    flags,
};
use pilotage_vehicle::{Command, Controls, Fault, Time};
use proptest::prelude::*;
use rustix::net::{RecvFlags, SendFlags};

const FORMAT: (PixelFormat, u32, u32) = (PixelFormat::Rgb8, 5, 3);

fn drive() -> Drive {
    Drive {
        name: "a car".to_owned(),
        simulated: true,
        deadline: Duration::from_millis(100),
        frame_period: Duration::from_millis(33),
        track: vec![[1.5, -2.0], [0.0, 3.25]],
    }
}

/// A tap, its server, and one observer.
fn observed() -> (Tap, TapServer, Observer) {
    let (tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    let (ours, theirs) = TapServer::pair().unwrap();
    let server = TapServer::start(source, None, vec![theirs]).unwrap();
    let observer = Observer::over(ours).unwrap();
    (tap, server, observer)
}

/// A tap whose server listens on a path.
fn listening() -> (Tap, TapServer, tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    let (tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    let server = TapServer::start(source, Some(&path), Vec::new()).unwrap();
    (tap, server, folder, path)
}

fn numbered(number: u64) -> FrameRecord {
    let mut record = FrameRecord::new(number, Time::from_nanos(number * 10));
    record.arrived = number;
    record.missed = number;
    record.outputs = [number as f32; 8];
    record.asked = [number as f32; 2];
    record.heading = number as f32;
    record
}

/// Calls `done` until it returns true.
fn wait_until(mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "it never happened"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn connect_raw(path: &std::path::Path) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn an_observer_receives_the_drive_and_its_records_in_order() {
    let (mut tap, _server, mut observer) = observed();
    assert_eq!(observer.drive(), &drive());
    assert_eq!(observer.next(), Next::None);
    for number in 0..3 {
        tap.publish(&numbered(number));
    }
    for number in 0..3 {
        assert_eq!(observer.next(), Next::Record(numbered(number)));
    }
    assert_eq!((observer.next(), observer.lost()), (Next::None, 0));
}

#[test]
fn a_record_carries_what_the_pilot_stored() {
    let mut record = FrameRecord::new(7, Time::from_nanos(70));
    record.set_outputs(&[0.5; 20]);
    record.set_controls(Controls::Twist {
        speed: 2.0,
        yaw_rate: -0.5,
    });
    record.set_asked(&Command {
        steering: 0.25,
        throttle: 0.75,
        captured: Time::ZERO,
        sequence: 7,
    });
    let reason = StopReason::Fault(Fault::FrozenPicture);
    let output = Output {
        mode: Mode::Failsafe,
        steering: 0.0,
        throttle: -1.0,
    };
    record.set_guard(State::Stopped { reason }, output);
    record.set_fault(Fault::Camera);
    record.set_simulated(Simulated {
        lap: 0.5,
        heading: 3.0,
        ..Simulated::default()
    });
    let (mut tap, _server, mut observer) = observed();
    tap.publish(&record);
    let Next::Record(read) = observer.next() else {
        unreachable!("a record was published")
    };
    assert_eq!(read, record);
    assert_eq!(read.outputs(), [0.5; 8]);
    assert_eq!(read.guard(), GuardState::Stopped(Some(reason)));
    assert_eq!(read.fault(), Some(Fault::Camera));
    assert_eq!(read.granted, [0.0, -1.0]);
    let all = flags::TWIST | flags::GRANTED | flags::NO_COMMAND | flags::SIMULATED;
    assert_eq!(read.flags, all);
}

#[test]
fn overwritten_records_are_counted() {
    let (mut tap, _server, mut observer) = observed();
    for number in 0..2000 {
        tap.publish(&numbered(number));
    }
    let mut read = 0;
    while let Next::Record(record) = observer.next() {
        assert_eq!(record, numbered(2000 - 512 + read));
        read += 1;
    }
    assert_eq!((read, observer.lost()), (512, 2000 - 512));
}

#[test]
fn a_late_observer_begins_with_the_newest_half_and_has_lost_nothing() {
    let (mut tap, source) = Tap::create(&drive(), FORMAT).unwrap();
    for number in 0..1000 {
        tap.publish(&numbered(number));
    }
    let (ours, theirs) = TapServer::pair().unwrap();
    let _server = TapServer::start(source, None, vec![theirs]).unwrap();
    let mut observer = Observer::over(ours).unwrap();
    assert_eq!(observer.next(), Next::Record(numbered(1000 - 256)));
    assert_eq!(observer.lost(), 0);
}

/// Every field of a record is computed from its number, so a mix of two records shows.
#[test]
fn no_record_and_no_picture_is_torn_while_the_writer_spins() {
    let (mut tap, _server, mut observer) = observed();
    observer.want_pictures(30).unwrap();
    let end = AtomicBool::new(false);
    let (mut read, mut pictures) = (0_u64, 0);
    let mut picture = Picture::default();
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 0;
            while !end.load(Ordering::Relaxed) {
                tap.publish(&numbered(number));
                let data = [number as u8; 45];
                tap.offer_picture(&PictureView {
                    format: PixelFormat::Rgb8,
                    width: 5,
                    height: 3,
                    data: &data,
                    sequence: number,
                    captured: 0,
                });
                number += 1;
            }
            number
        });
        let mut last = None;
        wait_until(|| {
            while let Next::Record(record) = observer.next() {
                assert_eq!(record, numbered(record.sequence));
                assert!(last < Some(record.sequence));
                last = Some(record.sequence);
                read += 1;
                if read.is_multiple_of(5000) {
                    break;
                }
            }
            if observer.picture(&mut picture) {
                assert_eq!(picture.data, [picture.sequence as u8; 45]);
                pictures += 1;
            }
            read > 100_000 && pictures > 3
        });
        end.store(true, Ordering::Relaxed);
        writer.join().unwrap()
    });
    while let Next::Record(_) = observer.next() {
        read += 1;
    }
    // Each record was read or counted as lost.
    assert_eq!(read + observer.lost(), written);
}

#[test]
fn pictures_are_copied_only_on_request() {
    let (mut tap, _server, mut observer) = observed();
    let data: Vec<u8> = (0..45).collect();
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &data,
        sequence: 9,
        captured: 11,
    };
    assert!(!tap.offer_picture(&view));
    let mut picture = Picture::default();
    assert!(!observer.picture(&mut picture));
    observer.want_pictures(1).unwrap();
    wait_until(|| tap.offer_picture(&view));
    // The next is due in a second.
    assert!(!tap.offer_picture(&view));
    assert!(observer.picture(&mut picture));
    assert_eq!(picture.data, data);
    assert_eq!((picture.width, picture.height), (5, 3));
    assert_eq!((picture.sequence, picture.captured), (9, 11));
    assert!(!observer.picture(&mut picture), "there is no newer one");
    observer.want_pictures(30).unwrap();
    wait_until(|| tap.offer_picture(&view));
    let larger = PictureView {
        data: &[0; 48],
        ..view
    };
    std::thread::sleep(Duration::from_millis(40));
    assert!(!tap.offer_picture(&larger));
    drop(observer);
    // The request ends with the connection.
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(40));
        !tap.offer_picture(&view)
    });
}

#[test]
fn a_request_for_pictures_ends_by_itself() {
    let (mut tap, _server, observer) = observed();
    observer.want_pictures(30).unwrap();
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &[0; 45],
        sequence: 0,
        captured: 0,
    };
    wait_until(|| tap.offer_picture(&view));
    // The observer hangs: it neither asks again nor closes the connection.
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(40));
        !tap.offer_picture(&view)
    });
    assert!(!observer.has_ended());
}

#[test]
fn publishing_allocates_nothing() {
    let (mut tap, _server, observer) = observed();
    observer.want_pictures(30).unwrap();
    let data = [7; 45];
    let view = PictureView {
        format: PixelFormat::Rgb8,
        width: 5,
        height: 3,
        data: &data,
        sequence: 0,
        captured: 0,
    };
    wait_until(|| tap.offer_picture(&view));
    let mut pictures = 0;
    let counted = allocation_counter::measure(|| {
        let began = Instant::now();
        while pictures < 3 && began.elapsed() < Duration::from_secs(20) {
            tap.publish(&numbered(1));
            pictures += usize::from(tap.offer_picture(&view));
            assert!(!tap.take_stop());
        }
    });
    assert_eq!((counted.count_total, pictures), (0, 3));
}

#[test]
fn a_stop_arrives_once() {
    let (tap, _server, observer) = observed();
    assert!(!tap.take_stop());
    observer.stopper().unwrap().stop().unwrap();
    wait_until(|| tap.take_stop());
    assert!(!tap.take_stop());
}

#[test]
fn an_observer_notices_the_end_of_the_pilot() {
    let (tap, server, mut observer) = observed();
    assert!(!observer.has_ended());
    drop((tap, server));
    assert!(observer.has_ended());
    assert_eq!(observer.next(), Next::None);
    assert!(matches!(
        observer.stopper().unwrap().stop(),
        Err(ObserveError::Ended)
    ));
}

#[test]
fn observers_come_and_vanish_without_end() {
    let (mut tap, _server, _folder, path) = listening();
    for round in 0..100 {
        let mut observer = Observer::connect(&path).unwrap();
        tap.publish(&numbered(round));
        assert!(matches!(observer.next(), Next::Record(_)));
    }
}

#[test]
fn observers_beyond_the_limit_are_refused_and_admitted_when_one_leaves() {
    let (_tap, _server, _folder, path) = listening();
    let mut all: Vec<_> = (0..MOST_OBSERVERS)
        .map(|_| Observer::connect(&path).unwrap())
        .collect();
    assert!(matches!(
        Observer::connect(&path),
        Err(ObserveError::TooMany | ObserveError::Ended)
    ));
    all.pop();
    wait_until(|| Observer::connect(&path).is_ok());
}

#[test]
fn hanging_and_lying_clients_do_not_disturb_an_observer() {
    let (mut tap, _server, _folder, path) = listening();
    // Connected, and silent.
    let _silent = connect_raw(&path);
    // A flood of messages whose replies are never read.
    let flood = connect_raw(&path);
    let hello = hello(VERSION);
    for _ in 0..50 {
        let _ = rustix::net::send(&flood, &hello, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
    for lie in [&[0; 16][..], &[0xff; 17], &hello[..15], &[1; 4000]] {
        let liar = connect_raw(&path);
        rustix::net::send(&liar, lie, SendFlags::NOSIGNAL).unwrap();
        // The server closes the connection without a reply.
        let received = rustix::net::recv(&liar, &mut [0; 16], RecvFlags::empty());
        assert!(!matches!(received, Ok((_, 1..))), "{lie:?}: {received:?}");
    }
    // A request before hello.
    let early = connect_raw(&path);
    let mut stop = hello;
    stop[8..12].copy_from_slice(&3_u32.to_ne_bytes());
    rustix::net::send(&early, &stop, SendFlags::NOSIGNAL).unwrap();
    let received = rustix::net::recv(&early, &mut [0; 16], RecvFlags::empty());
    assert!(!matches!(received, Ok((_, 1..))), "{received:?}");
    assert!(!tap.take_stop());

    let mut observer = Observer::connect(&path).unwrap();
    tap.publish(&numbered(5));
    assert_eq!(observer.next(), Next::Record(numbered(5)));
}

fn hello(version: u32) -> [u8; 16] {
    let words = [u32::from_be_bytes(*b"ptap"), version, 1, 0];
    let mut bytes = [0; 16];
    for (to, word) in bytes.chunks_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[test]
fn an_observer_of_another_version_gets_the_version_and_no_memory() {
    let (_tap, _server, _folder, path) = listening();
    let other = connect_raw(&path);
    rustix::net::send(&other, &hello(VERSION + 1), SendFlags::NOSIGNAL).unwrap();
    let mut reply = [0; 32];
    let (_, length) = rustix::net::recv(&other, &mut reply, RecvFlags::empty()).unwrap();
    assert_eq!((length, &reply[4..8]), (16, &VERSION.to_ne_bytes()[..]));
    let (_, end) = rustix::net::recv(&other, &mut reply, RecvFlags::empty()).unwrap();
    assert_eq!(end, 0);
}

/// Sends `reply` and perhaps a descriptor to an observer, as its server.
fn observe_liar(reply: &[u8], memory: Option<&OwnedFd>) -> Result<Observer, ObserveError> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage};
    let (ours, theirs) = TapServer::pair().unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = memory.iter().map(|memory| memory.as_fd()).collect();
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    let parts = [std::io::IoSlice::new(reply)];
    rustix::net::sendmsg(&theirs, &parts, &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    Observer::over(ours)
}

fn reply(version: u32) -> [u8; 16] {
    let mut reply = hello(version);
    reply[8..12].copy_from_slice(&4_u32.to_ne_bytes());
    reply
}

#[test]
fn a_pilot_of_another_version_is_a_typed_error() {
    let found = observe_liar(&reply(9), None).unwrap_err();
    assert!(
        matches!(
            found,
            ObserveError::Version {
                pilot: 9,
                own: VERSION
            }
        ),
        "{found}"
    );
}

#[test]
fn a_lying_server_is_a_typed_error() {
    let lies = [
        (vec![0; 16], "not a pilot's tap"),
        (vec![0; 17], "not a pilot's tap"),
        (reply(VERSION).to_vec(), "has no memory"),
    ];
    for (lie, expected) in lies {
        let found = observe_liar(&lie, None).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    // A file that is no sealed memory, which could shrink under the observer.
    let file: OwnedFd = tempfile::tempfile().unwrap().into();
    let found = observe_liar(&reply(VERSION), Some(&file)).unwrap_err();
    assert!(matches!(found, ObserveError::System(_)), "{found}");
    let (ours, _theirs) = TapServer::pair().unwrap();
    assert!(matches!(Observer::over(ours), Err(ObserveError::Silent)));
}

/// A sealed memory with these words at its start.
fn memory_of(words: &[u64], length: u64) -> OwnedFd {
    use rustix::fs::{MemfdFlags, SealFlags};
    let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("lie", flags).unwrap();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    rustix::io::write(&memory, &bytes).unwrap();
    rustix::fs::ftruncate(&memory, length.max(bytes.len() as u64)).unwrap();
    rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW).unwrap();
    memory
}

const MAGIC: u64 = u64::from_be_bytes(*b"PILOTTAP");

#[test]
fn a_memory_of_another_version_is_a_typed_error() {
    let found = observe_liar(&reply(VERSION), Some(&memory_of(&[MAGIC, 77], 4096)));
    assert!(matches!(
        found,
        Err(ObserveError::Version { pilot: 77, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is in the memory, an observer ends in an error, or reads without a panic or hang.
    #[test]
    fn a_memory_with_any_words_does_no_harm(
        sizes in prop::array::uniform4(prop_oneof![0_u64..70, Just(512), Just(1 << 29), any::<u64>()]),
        rest in prop::collection::vec(prop_oneof![Just(0), 1_u64..9, any::<u64>()], 600),
        length in 0_u64..40_000,
    ) {
        let mut words = vec![MAGIC, VERSION.into()];
        words.extend(sizes);
        words.extend(rest);
        let memory = memory_of(&words, length / 8 * 8);
        match observe_liar(&reply(VERSION), Some(&memory)) {
            Ok(mut observer) => {
                prop_assert!(observer.drive().track.len() <= MOST_TRACK_POINTS);
                for _ in 0..10 {
                    let _ = observer.next();
                    let _ = observer.picture(&mut Picture::default());
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    /// A record is read as it was written, whatever its numbers.
    #[test]
    fn any_record_is_read_as_written(words in prop::collection::vec(any::<u32>(), 30)) {
        let (mut tap, _server, mut observer) = observed();
        let mut record = FrameRecord::new(u64::from(words[0]) << 20, Time::from_nanos(3));
        let floats: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
        record.set_outputs(&floats[..(words[1] % 9) as usize]);
        record.asked = [floats[2], floats[3]];
        record.flags = words[4];
        record.x = floats[5];
        tap.publish(&record);
        let Next::Record(read) = observer.next() else {
            return Err(TestCaseError::fail("no record"));
        };
        // Debug output, as NaN is not equal to itself.
        prop_assert_eq!(format!("{read:?}"), format!("{record:?}"));
    }
}

#[test]
fn a_socket_of_a_dead_pilot_is_replaced_and_that_of_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tap.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let start = || {
        let (_, source) = Tap::create(&drive(), FORMAT).unwrap();
        TapServer::start(source, Some(&path), Vec::new())
    };
    // A socket of another type has a living owner or none; this one has none.
    let first = match start() {
        Ok(server) => server,
        Err(_) => {
            std::fs::remove_file(&path).unwrap();
            start().unwrap()
        }
    };
    assert!(matches!(start(), Err(ServeError::InUse { .. })));
    assert!(Observer::connect(&path).is_ok());
    drop(first);
    assert!(!path.exists());
    let missing = Observer::connect(&path).unwrap_err();
    assert!(
        matches!(missing, ObserveError::Unreachable { .. }),
        "{missing}"
    );
    drop(start().unwrap());
}
