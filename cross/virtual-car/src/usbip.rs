//! The device's side of USB/IP, as the kernel's vhci-hcd uses it over a socket. The protocol is
//! described in the kernel's Documentation/usb/usbip_protocol.rst. Only control transfers are
//! implemented, because an i2c-tiny-usb adapter needs no others.

use std::io::{self, Read, Write};

const HEADER: usize = 48;
const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const RET_SUBMIT: u32 = 3;
const RET_UNLINK: u32 = 4;
/// Linux's status of an endpoint that stalls.
const EPIPE: i32 = -32;
/// The longest control transfer that is accepted, in bytes.
const LONGEST: usize = 4096;

/// The SETUP packet of a control transfer (USB 2.0, table 9-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// Direction, type and recipient.
    pub kind: u8,
    /// The request's number.
    pub request: u8,
    /// The request's first argument.
    pub value: u16,
    /// The request's second argument.
    pub index: u16,
    /// The number of bytes that follow or are requested.
    pub length: u16,
}

impl Setup {
    fn from_bytes(bytes: [u8; 8]) -> Self {
        let [kind, request, v0, v1, i0, i1, l0, l1] = bytes;
        Self {
            kind,
            request,
            value: u16::from_le_bytes([v0, v1]),
            index: u16::from_le_bytes([i0, i1]),
            length: u16::from_le_bytes([l0, l1]),
        }
    }

    /// Whether the request is vendor-specific, not a standard one.
    pub const fn is_vendors(&self) -> bool {
        self.kind & 0x60 == 0x40
    }
}

/// A device that handles control transfers.
pub trait Device {
    /// Handles the request `setup` with the data `sent` by the host, and returns the answer. `None`
    /// stalls the endpoint. An answer that is longer than requested is truncated by the caller.
    fn control(&mut self, setup: Setup, sent: &[u8]) -> Option<Vec<u8>>;
}

fn word(header: &[u8; HEADER], index: usize) -> u32 {
    let at = 4 * index;
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&header[at..at + 4]);
    u32::from_be_bytes(bytes)
}

fn put(header: &mut [u8; HEADER], index: usize, value: u32) {
    header[4 * index..4 * index + 4].copy_from_slice(&value.to_be_bytes());
}

/// Handles one message from the kernel. Returns false once the connection has ended.
///
/// # Errors
/// When the connection fails, or a message is not valid USB/IP.
pub fn serve(connection: &mut (impl Read + Write), device: &mut impl Device) -> io::Result<bool> {
    let mut header = [0; HEADER];
    match connection.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    let mut answer = [0; HEADER];
    put(&mut answer, 1, word(&header, 1));
    match word(&header, 0) {
        UNLINK => {
            // Each transfer is answered before the next message is read, so there is nothing to
            // cancel.
            put(&mut answer, 0, RET_UNLINK);
            connection.write_all(&answer)?;
        }
        SUBMIT => {
            let inward = word(&header, 3) != 0;
            let length = word(&header, 6) as usize;
            if length > LONGEST {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut sent = vec![0; if inward { 0 } else { length }];
            connection.read_exact(&mut sent)?;
            let mut setup = [0; 8];
            setup.copy_from_slice(&header[40..48]);
            let mut back = device.control(Setup::from_bytes(setup), &sent);
            if let Some(back) = &mut back {
                back.truncate(length);
            }
            put(&mut answer, 0, RET_SUBMIT);
            let (status, moved) = match (&back, inward) {
                (None, _) => (EPIPE, 0),
                (Some(back), true) => (0, back.len()),
                (Some(_), false) => (0, length),
            };
            put(&mut answer, 5, status as u32);
            put(&mut answer, 6, moved as u32);
            connection.write_all(&answer)?;
            if let (Some(back), true) = (back, inward) {
                connection.write_all(&back)?;
            }
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    struct Echo(Vec<(Setup, Vec<u8>)>);

    impl Device for Echo {
        fn control(&mut self, setup: Setup, sent: &[u8]) -> Option<Vec<u8>> {
            self.0.push((setup, sent.to_vec()));
            (setup.request != 9).then(|| vec![7; 5])
        }
    }

    /// A connection with prepared input, which records its output.
    struct TestConnection(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for TestConnection {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for TestConnection {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn submit(inward: u32, length: u32, setup: [u8; 8], sent: &[u8]) -> TestConnection {
        let mut header = [0; HEADER];
        for (index, value) in [(0, SUBMIT), (1, 77), (3, inward), (6, length)] {
            put(&mut header, index, value);
        }
        header[40..].copy_from_slice(&setup);
        let mut bytes = header.to_vec();
        bytes.extend_from_slice(sent);
        TestConnection(io::Cursor::new(bytes), Vec::new())
    }

    #[test]
    fn an_answer_is_truncated_to_the_requested_length() {
        let mut connection = submit(1, 3, [0xC0, 1, 2, 0, 0x40, 0, 3, 0], &[]);
        let mut device = Echo(Vec::new());
        assert!(serve(&mut connection, &mut device).unwrap());
        assert_eq!(connection.1.len(), HEADER + 3);
        let mut header = [0; HEADER];
        header.copy_from_slice(&connection.1[..HEADER]);
        assert_eq!(word(&header, 0), RET_SUBMIT);
        assert_eq!(word(&header, 1), 77, "the transfer's own number");
        assert_eq!((word(&header, 5), word(&header, 6)), (0, 3));
        let setup = device.0[0].0;
        assert_eq!((setup.value, setup.index, setup.length), (2, 0x40, 3));
        assert!(setup.is_vendors());
    }

    #[test]
    fn sent_data_arrives_and_a_stall_is_reported() {
        let mut connection = submit(0, 2, [0x40, 9, 0, 0, 0, 0, 2, 0], &[5, 6]);
        let mut device = Echo(Vec::new());
        assert!(serve(&mut connection, &mut device).unwrap());
        assert_eq!(device.0[0].1, [5, 6]);
        assert_eq!(connection.1.len(), HEADER);
        assert_eq!(connection.1[20..24], EPIPE.to_be_bytes());
        assert!(
            !serve(&mut connection, &mut device).unwrap(),
            "the connection's end"
        );
    }
}
