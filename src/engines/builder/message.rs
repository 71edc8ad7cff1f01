//! Messages between `pilotage compile` and the process that builds a plan: JSON, and the bytes of files,
//! each after its length. Neither side trusts the other's lengths.

use std::io::{self, Read, Write};

use pilotage_engine::GateResult;
use pilotage_gpu::{Built, Validated};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engines::gpu::Places;

/// The longest JSON, bytes: it has the names and types of a network's layers.
const LONGEST_TEXT: u64 = 16 << 20;
/// The longest plan, bytes.
const LONGEST_PLAN: u64 = 1 << 30;
/// The longest timing cache, bytes.
const LONGEST_TIMES: u64 = 64 << 20;

/// The request to the process. The engine file follows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) places: Places,
    /// Why no INT8 plan is built.
    pub(super) without_int8: Option<String>,
}

/// The reply of the process. Plan and timing cache follow, if it has them.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Failed(String),
    Validated {
        precision: String,
        gate: Vec<GateResult>,
        notes: Vec<String>,
        built: Option<Files>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Files {
    layers: Option<String>,
    has_times: bool,
}

pub(super) fn send_request(to: &mut impl Write, request: &Request, file: &[u8]) -> io::Result<()> {
    send(to, &serde_json::to_vec(request)?)?;
    send(to, file)
}

/// Receives a request, and the engine file of at most `longest` bytes.
pub(super) fn receive_request(
    from: &mut impl Read,
    longest: u64,
) -> io::Result<(Request, Vec<u8>)> {
    Ok((receive_json(from)?, receive(from, longest)?))
}

pub(super) fn send_answer(
    to: &mut impl Write,
    result: &Result<Validated, String>,
) -> io::Result<()> {
    let validated = match result {
        Ok(validated) => validated,
        Err(reason) => return send(to, &serde_json::to_vec(&Reply::Failed(reason.clone()))?),
    };
    let files = validated.built.as_ref().map(|built| Files {
        layers: built.layers.clone(),
        has_times: built.timing_cache.is_some(),
    });
    let answer = Reply::Validated {
        precision: validated.precision.clone(),
        gate: validated.gate.clone(),
        notes: validated.notes.clone(),
        built: files,
    };
    send(to, &serde_json::to_vec(&answer)?)?;
    if let Some(built) = &validated.built {
        send(to, &built.plan)?;
        if let Some(times) = &built.timing_cache {
            send(to, times)?;
        }
    }
    Ok(())
}

pub(super) fn receive_answer(from: &mut impl Read) -> io::Result<Result<Validated, String>> {
    let (precision, gate, notes, files) = match receive_json(from)? {
        Reply::Failed(reason) => return Ok(Err(without_controls(reason))),
        Reply::Validated {
            precision,
            gate,
            notes,
            built,
        } => (precision, gate, notes, built),
    };
    let built = match files {
        None => None,
        Some(Files { layers, has_times }) => Some(Built {
            plan: receive(from, LONGEST_PLAN)?,
            timing_cache: match has_times {
                true => Some(receive(from, LONGEST_TIMES)?),
                false => None,
            },
            layers: layers.map(without_controls),
        }),
    };
    Ok(Ok(Validated {
        precision,
        gate,
        notes: notes.into_iter().map(without_controls).collect(),
        built,
    }))
}

/// A text of the other process for a terminal: the table of a gate and the layers have lines.
fn without_controls(text: String) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', " ")
}

fn send(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)
}

fn receive(from: &mut impl Read, longest: u64) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > longest {
        return Err(invalid("a message is too long"));
    }
    let mut bytes = Vec::new();
    if from.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

fn receive_json<M: DeserializeOwned>(from: &mut impl Read) -> io::Result<M> {
    let text = receive(from, LONGEST_TEXT)?;
    // The parser's error may quote the message.
    serde_json::from_slice(&text).map_err(|_| invalid("a message is malformed"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn validated() -> Validated {
        Validated {
            precision: "int8".to_owned(),
            gate: Vec::new(),
            notes: vec!["a note".to_owned()],
            built: Some(Built {
                plan: vec![1, 2, 3],
                timing_cache: Some(Vec::new()),
                layers: Some("one\ntwo".to_owned()),
            }),
        }
    }

    #[test]
    fn requests_and_answers_arrive_as_they_were_sent() {
        let request = Request {
            places: Places::from(&pilotage_gpu::TensorRtPaths::default()),
            without_int8: Some("a reason".to_owned()),
        };
        let mut sent = Vec::new();
        send_request(&mut sent, &request, b"file").unwrap();
        let received = receive_request(&mut sent.as_slice(), 4).unwrap();
        assert_eq!(received, (request, b"file".to_vec()));
        assert!(receive_request(&mut sent.as_slice(), 3).is_err());

        let stored = Validated {
            built: None,
            ..validated()
        };
        let mut plain = validated();
        plain.built.as_mut().unwrap().timing_cache = None;
        for answer in [
            Ok(validated()),
            Ok(stored),
            Ok(plain),
            Err("why".to_owned()),
        ] {
            let mut sent = Vec::new();
            send_answer(&mut sent, &answer).unwrap();
            assert_eq!(receive_answer(&mut sent.as_slice()).unwrap(), answer);
            for length in 0..sent.len() {
                assert!(receive_answer(&mut &sent[..length]).is_err(), "{length}");
            }
        }
    }

    #[test]
    fn texts_of_the_other_process_do_not_control_a_terminal() {
        let mut sent = Vec::new();
        send_answer(&mut sent, &Err("a\x1b[2Jb\nc".to_owned())).unwrap();
        let received = receive_answer(&mut sent.as_slice()).unwrap();
        assert_eq!(received, Err("a [2Jb\nc".to_owned()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_an_error_or_an_answer(mut bytes: Vec<u8>, length in 0_u64..40) {
            // A length that is not refused at once.
            let length = length.to_le_bytes();
            for (at, byte) in bytes.iter_mut().zip(length) {
                *at = byte;
            }
            let _ = receive_answer(&mut bytes.as_slice());
        }
    }
}
