//! Takes a stream of bytes apart into messages.

use crate::message::Request;

/// The most bytes of a message that is not complete: a hundred times those of the longest that
/// gym-donkeycar sends.
const MOST_BYTES: usize = 1 << 16;

/// Why a client's bytes are no messages.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// A message that JSON does not allow, or that lacks something.
    #[error("a message of the client is wrong: {0}; messages are JSON objects with a \"msg_type\"")]
    Message(String),
    /// No end.
    #[error("a message of the client has no end after {MOST_BYTES} bytes")]
    TooLong,
}

/// The bytes that are no whole message yet. gym-donkeycar sends one JSON object after the other, with
/// nothing between.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Adds received bytes, and appends the messages that they complete to `requests`.
    ///
    /// # Errors
    /// If the bytes are no messages. The messages before are appended all the same.
    pub fn read(
        &mut self,
        received: &[u8],
        requests: &mut Vec<Request>,
    ) -> Result<(), ReaderError> {
        self.bytes.extend_from_slice(received);
        let mut messages = serde_json::Deserializer::from_slice(&self.bytes).into_iter::<Request>();
        let mut failed = None;
        for message in messages.by_ref() {
            match message {
                Ok(request) => requests.push(request),
                Err(error) if error.is_eof() => break,
                Err(error) => {
                    failed = Some(ReaderError::Message(error.to_string()));
                    break;
                }
            }
        }
        let used = messages.byte_offset();
        self.bytes.drain(..used);
        match failed {
            Some(error) => Err(error),
            None if self.bytes.len() > MOST_BYTES => Err(ReaderError::TooLong),
            None => Ok(()),
        }
    }
}
