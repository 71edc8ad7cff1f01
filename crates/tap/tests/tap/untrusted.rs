//! Clients that hang or send wrong messages, servers and memories that are not a tap's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use pilotage_tap::{
    MAX_COMMANDS, MAX_TRACK_POINTS, NumberedScan, ObserveError, Observer, Picture, TapServer,
    VERSION,
};
use proptest::prelude::*;
use rustix::net::{RecvFlags, SendFlags};

use crate::{listening, numbered};

fn connect_raw(path: &Path) -> OwnedFd {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
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
    assert_eq!(observer.next_record(), Some(numbered(5)));
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
        sizes in prop::array::uniform4(prop_oneof![
            8 => 1_u64..60,
            1 => 0_u64..600,
            1 => Just(1 << 29),
            1 => any::<u64>(),
        ]),
        scans in prop::array::uniform2(prop_oneof![
            8 => 0_u64..40,
            1 => 0_u64..5000,
            1 => any::<u64>(),
        ]),
        rest in prop::collection::vec(prop_oneof![Just(0), 1_u64..9, any::<u64>()], 600),
        length in 0_u64..40_000,
    ) {
        let mut words = vec![MAGIC, VERSION.into()];
        words.extend(sizes);
        words.extend(rest);
        words[18..20].copy_from_slice(&scans);
        let memory = memory_of(&words, length / 8 * 8);
        match observe_liar(&reply(VERSION), Some(&memory)) {
            Ok(mut observer) => {
                prop_assert!(observer.drive().track.len() <= MAX_TRACK_POINTS);
                prop_assert!(observer.drive().inputs.commands.len() <= MAX_COMMANDS);
                let mut scan = NumberedScan::default();
                for _ in 0..10 {
                    let whole = observer.next_scan(&mut scan);
                    prop_assert!(!whole || scan.scan.is_whole());
                    let _ = observer.next_record();
                    let _ = observer.picture(&mut Picture::default());
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
