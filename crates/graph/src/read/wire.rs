//! Estimates the memory of the decoded protobuf before it is decoded. Two bytes of the file can
//! become a message of some hundred bytes in memory. (Wire format:
//! protobuf.dev/programming-guides/encoding.)

use super::limits::limit;
use crate::GraphError;

/// The messages that `onnx.rs` decodes, by their place in the model.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message that contains only strings and numbers.
    Leaf,
}

impl Message {
    /// The message type of the field with this tag, if the field is a message.
    fn field(self, tag: u64) -> Option<Self> {
        match (self, tag) {
            (Self::Model, 7) => Some(Self::Graph),
            (Self::Model, 8 | 14) => Some(Self::Leaf),
            (Self::Graph, 1) => Some(Self::Node),
            (Self::Graph, 5) => Some(Self::Tensor),
            (Self::Graph, 11 | 12) => Some(Self::ValueInfo),
            (Self::Node, 5) => Some(Self::Attribute),
            (Self::Attribute, 5) => Some(Self::Tensor),
            (Self::Attribute, 6) => Some(Self::Graph),
            (Self::Tensor, 13) => Some(Self::Leaf),
            (Self::ValueInfo, 2) => Some(Self::Type),
            (Self::Type, 1) => Some(Self::TensorType),
            (Self::TensorType, 2) => Some(Self::Shape),
            (Self::Shape, 1) => Some(Self::Leaf),
            _ => None,
        }
    }
}

/// The most graphs within each other. The decoder and the reader recurse into them.
const MAX_NESTING: usize = 8;

/// Approximate memory for one decoded field: twice the largest message (a node, or an attribute
/// with its tensor), because lists grow by doubling.
const MESSAGE_COST: usize = 1024;
const TEXT_COST: usize = 64;
const NUMBER_COST: usize = 16;

pub(crate) fn check(bytes: &[u8], max_decoded_bytes: usize) -> Result<(), GraphError> {
    let mut walk = Walk {
        bytes,
        at: 0,
        cost: 0,
        graphs: 0,
        limit: max_decoded_bytes,
    };
    walk.message(Message::Model, bytes.len())
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    cost: usize,
    /// The graphs that the present place is in.
    graphs: usize,
    limit: usize,
}

impl Walk<'_> {
    /// Walks one message. The recursion is as deep as [`Message::field`] and [`MAX_NESTING`] let it.
    fn message(&mut self, message: Message, end: usize) -> Result<(), GraphError> {
        let is_graph = usize::from(matches!(message, Message::Graph));
        self.graphs += is_graph;
        limit("the depth of graphs in graphs", self.graphs, MAX_NESTING)?;
        self.fields(message, end)?;
        self.graphs -= is_graph;
        Ok(())
    }

    fn fields(&mut self, message: Message, end: usize) -> Result<(), GraphError> {
        while self.at < end {
            let key = self.varint(end)?;
            match key & 7 {
                0 => {
                    self.varint(end)?;
                    self.spend(NUMBER_COST)?;
                }
                1 => self.skip(8, end, NUMBER_COST)?,
                5 => self.skip(4, end, NUMBER_COST)?,
                2 => {
                    let length = self.varint(end)?;
                    let length = usize::try_from(length)
                        .ok()
                        .filter(|&l| l <= end - self.at)
                        .ok_or_else(|| not_onnx("a field is longer than the file", self.at))?;
                    match message.field(key >> 3) {
                        Some(inner) => {
                            self.spend(MESSAGE_COST)?;
                            self.message(inner, self.at + length)?;
                        }
                        None => {
                            // A packed one-byte integer becomes eight bytes in memory.
                            let packed = matches!(
                                (message, key >> 3),
                                (Message::Tensor, 1 | 5 | 7) | (Message::Attribute, 8)
                            );
                            let factor = if packed { 16 } else { 1 };
                            self.skip(length, end, TEXT_COST + length.saturating_mul(factor))?;
                        }
                    }
                }
                _ => {
                    return Err(not_onnx(
                        "a field of a kind that ONNX does not use",
                        self.at,
                    ));
                }
            }
        }
        Ok(())
    }

    fn varint(&mut self, end: usize) -> Result<u64, GraphError> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = match self.bytes.get(self.at) {
                Some(&byte) if self.at < end => byte,
                _ => return Err(not_onnx("it ends within a number", self.at)),
            };
            self.at += 1;
            value |= u64::from(byte & 0x7f).wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(not_onnx("a number is too long", self.at))
    }

    fn skip(&mut self, length: usize, end: usize, cost: usize) -> Result<(), GraphError> {
        if length > end - self.at {
            return Err(not_onnx("it ends within a field", self.at));
        }
        self.at += length;
        self.spend(cost)
    }

    fn spend(&mut self, cost: usize) -> Result<(), GraphError> {
        self.cost = self.cost.saturating_add(cost);
        match self.cost <= self.limit {
            true => Ok(()),
            false => Err(GraphError::TooLarge {
                what: "the decoded file".into(),
                size: self.cost,
                limit: self.limit,
            }),
        }
    }
}

fn not_onnx(what: &str, at: usize) -> GraphError {
    GraphError::NotOnnx {
        detail: format!("{what}, at byte {at}"),
    }
}
