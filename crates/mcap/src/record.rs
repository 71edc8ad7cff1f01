//! Records of an MCAP file: <https://mcap.dev/spec#records>.

/// Opcodes that are read.
pub(crate) mod op {
    pub const FOOTER: u8 = 0x02;
    pub const SCHEMA: u8 = 0x03;
    pub const CHANNEL: u8 = 0x04;
    pub const MESSAGE: u8 = 0x05;
    pub const CHUNK: u8 = 0x06;
    pub const METADATA: u8 = 0x0c;
    pub const DATA_END: u8 = 0x0f;
}

/// Opcode and length before each record.
pub(crate) const HEAD: usize = 9;

/// The opcode and the length of a record, from its first [`HEAD`] bytes.
pub(crate) fn head_of(head: &[u8]) -> Option<(u8, u64)> {
    let (&opcode, length) = head.split_first()?;
    Some((opcode, u64::from_le_bytes(length.try_into().ok()?)))
}

/// A record of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// The type of a channel's messages.
    Schema(Schema<'a>),
    /// A topic.
    Channel(Channel<'a>),
    /// A message.
    Message(Message<'a>),
    /// A table of texts.
    Metadata(Metadata<'a>),
    /// A record of another kind, or one that cannot be parsed.
    Other,
}

/// The type of a channel's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema<'a> {
    /// The number that channels name.
    pub id: u16,
    /// The name, as `sensor_msgs/msg/Joy`.
    pub name: &'a str,
}

/// A topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channel<'a> {
    /// The number that messages name.
    pub id: u16,
    /// The number of the schema; 0 for none.
    pub schema: u16,
    /// The topic's name.
    pub topic: &'a str,
    /// The encoding of its messages, as `cdr` or `json`.
    pub encoding: &'a str,
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The number of its channel.
    pub channel: u16,
    /// When it was recorded, nanoseconds.
    pub log_time: u64,
    /// Its content.
    pub data: &'a [u8],
    /// Where the content is in the file.
    pub place: Place,
}

/// A table of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata<'a> {
    /// The table's name.
    pub name: &'a str,
    entries: &'a [u8],
}

impl<'a> Metadata<'a> {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let mut fields = Fields(self.entries);
        loop {
            let (name, value) = (fields.text()?, fields.text()?);
            if name == key.as_bytes() {
                return std::str::from_utf8(value).ok();
            }
        }
    }
}

/// Where the content of a message is: the offset of its chunk in the file (or of the message, if it is
/// in none), and the part of the decompressed chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(crate) record: u64,
    pub(crate) start: u32,
    pub(crate) length: u32,
}

impl<'a> Record<'a> {
    /// Parses a record's `body`, which begins at `start` of the chunk (or record) at `record`.
    pub(crate) fn parse(opcode: u8, body: &'a [u8], record: u64, start: usize) -> Self {
        let parsed = match opcode {
            op::SCHEMA => schema(body).map(Self::Schema),
            op::CHANNEL => channel(body).map(Self::Channel),
            op::MESSAGE => message(body, record, start).map(Self::Message),
            op::METADATA => metadata(body).map(Self::Metadata),
            _ => None,
        };
        parsed.unwrap_or(Self::Other)
    }
}

fn schema(body: &[u8]) -> Option<Schema<'_>> {
    let mut fields = Fields(body);
    Some(Schema {
        id: u16::from_le_bytes(fields.array()?),
        name: std::str::from_utf8(fields.text()?).ok()?,
    })
}

fn channel(body: &[u8]) -> Option<Channel<'_>> {
    let mut fields = Fields(body);
    Some(Channel {
        id: u16::from_le_bytes(fields.array()?),
        schema: u16::from_le_bytes(fields.array()?),
        topic: std::str::from_utf8(fields.text()?).ok()?,
        encoding: std::str::from_utf8(fields.text()?).ok()?,
    })
}

fn message(body: &[u8], record: u64, start: usize) -> Option<Message<'_>> {
    let mut fields = Fields(body);
    let channel = u16::from_le_bytes(fields.array()?);
    // The message's number.
    fields.take(4)?;
    let log_time = u64::from_le_bytes(fields.array()?);
    // When it was published.
    fields.take(8)?;
    let data = fields.0;
    let start = start + (body.len() - data.len());
    Some(Message {
        channel,
        log_time,
        data,
        place: Place {
            record,
            start: u32::try_from(start).ok()?,
            length: u32::try_from(data.len()).ok()?,
        },
    })
}

fn metadata(body: &[u8]) -> Option<Metadata<'_>> {
    let mut fields = Fields(body);
    Some(Metadata {
        name: std::str::from_utf8(fields.text()?).ok()?,
        entries: fields.text()?,
    })
}

/// The fields of a record, from its start.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        self.take(LENGTH)?.try_into().ok()
    }

    /// A text with its length before it.
    pub fn text(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).ok()?)
    }
}
