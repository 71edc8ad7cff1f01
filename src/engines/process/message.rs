//! Messages between the pilot and the process of an engine: JSON in packets of a Unix socket, with a
//! descriptor where a memory is passed.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use pilotage_engine::Port;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest message, bytes.
const LONGEST: usize = 64 * 1024;

/// To the engine's process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToChild {
    /// Make the engine. The engine file comes with it.
    Start {
        /// What the process needs to know to make it.
        order: String,
    },
    /// The memory for tensors, as an answer to [`ToParent::Ready`], comes with it.
    Memory,
}

/// From the engine's process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToParent {
    /// The engine is made.
    Ready(About),
    /// The engine could not be made.
    Failed { reason: String },
}

/// An engine's description and ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) description: String,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
}

/// Sends a message, with a descriptor or without. Waits while the socket is full.
pub(super) fn send(
    socket: &OwnedFd,
    message: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > LONGEST {
        return Err(invalid("a message is too long"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if let Some(descriptor) = &descriptor {
        let descriptors = std::slice::from_ref(descriptor);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::NOBUFS.into());
        }
    }
    let parts = [io::IoSlice::new(&bytes)];
    rustix::net::sendmsg(socket, &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Waits for a message. `None`: the other process has closed the socket.
///
/// # Errors
/// `InvalidData` for a message that does not parse; else the system's error.
pub(super) fn receive<M: DeserializeOwned>(
    socket: &OwnedFd,
) -> io::Result<Option<(M, Option<OwnedFd>)>> {
    let mut bytes = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = loop {
        let mut parts = [io::IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) => break message.bytes,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    };
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            descriptor = descriptors.last().or(descriptor);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let bytes = bytes.get(..length).unwrap_or_default();
    // The parser's error may quote the message.
    let message = serde_json::from_slice(bytes).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, one_line(&error.to_string()))
    })?;
    Ok(Some((message, descriptor)))
}

/// A text of the other process, which is untrusted, as a line of a message or a log.
pub(super) fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

pub(super) fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
