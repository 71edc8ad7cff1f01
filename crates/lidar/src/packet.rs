//! The packets of LDROBOT's lidars LD06, LD19 and STL-19P, as the maker's "LD06 Development Manual"
//! (version 1.0, section 3) describes them: 230,400 bits per second, one way.
//!
//! A packet has 47 bytes, its numbers little-endian: 0x54; 0x2C, which is version 1 and 12 points; the
//! speed (u16, degrees per second); the first point's angle (u16, hundredths of a degree); 12 points of
//! a distance (u16, mm) and an intensity (u8); the last point's angle; a time (u16, ms); and a checksum.
//! The angles grow clockwise, seen from above.

/// The length of a packet, bytes.
pub const LENGTH: usize = 47;
/// The points of a packet.
pub const POINTS: usize = 12;
/// A full turn, hundredths of a degree.
pub const TURN: u32 = 36_000;
/// The time after which the lidar's clock begins anew, ms.
pub const CLOCK: u32 = 30_000;

const BEGIN: [u8; 2] = [0x54, 0x2C];
/// The generator polynomial of the checksum, without its highest term.
const POLYNOMIAL: u8 = 0x4D;
/// The points of a packet are at most so far apart, hundredths of a degree: at the lowest speed of 5
/// turns a second they cover 5 degrees, at the highest of 13 turns 12.5.
const WIDEST: u32 = 3_000;

/// A packet of points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The speed of the turning head, degrees per second.
    pub speed: u16,
    /// The first point's angle, hundredths of a degree, below [`TURN`].
    pub start: u32,
    /// From the first point to the last, hundredths of a degree.
    pub span: u32,
    /// The distance of each point, mm; 0 without an echo.
    pub millimetres: [u16; POINTS],
    /// The lidar's time, ms; it begins anew after [`CLOCK`].
    pub time: u16,
}

impl Packet {
    /// The packet that these bytes are; `None` if it is damaged.
    fn parse(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (sum, content) = bytes.split_last()?;
        if !content.starts_with(&BEGIN) || checksum(content) != *sum {
            return None;
        }
        let number = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let start = u32::from(number(4)) % TURN;
        let span = (u32::from(number(42)) % TURN + TURN - start) % TURN;
        let packet = Self {
            speed: number(2),
            start,
            span,
            millimetres: std::array::from_fn(|point| number(6 + 3 * point)),
            time: number(44),
        };
        (span <= WIDEST).then_some(packet)
    }

    /// The angle of a point, hundredths of a degree clockwise, below [`TURN`].
    pub fn angle(&self, point: usize) -> u32 {
        (self.start + self.span * point as u32 / (POINTS as u32 - 1)) % TURN
    }
}

/// The checksum of bytes.
fn checksum(bytes: &[u8]) -> u8 {
    const TABLE: [u8; 256] = table();
    let next = |sum: u8, byte: &u8| TABLE[usize::from(sum ^ byte)];
    bytes.iter().fold(0, next)
}

/// The checksum of each single byte.
const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u8, 0);
        while bit < 8 {
            sum = (sum << 1) ^ if sum & 0x80 == 0 { 0 } else { POLYNOMIAL };
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
}

/// What became of the bytes of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets whose checksum is right.
    pub good: u64,
    /// Those that began as a packet, and are damaged.
    pub bad: u64,
    /// Bytes that are of no packet.
    pub skipped: u64,
}

/// Finds the packets in a stream of bytes. After a damaged one, the search goes on behind its first
/// byte, so that no whole packet is lost.
#[derive(Debug, Clone)]
pub struct Parser {
    bytes: [u8; LENGTH],
    filled: usize,
    counts: Counts,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            bytes: [0; LENGTH],
            filled: 0,
            counts: Counts::default(),
        }
    }
}

impl Parser {
    /// Takes the next bytes of the stream, and passes each packet that they complete to `each`.
    pub fn take(&mut self, bytes: &[u8], mut each: impl FnMut(&Packet)) {
        for &byte in bytes {
            self.bytes[self.filled] = byte;
            self.filled += 1;
            self.align();
            if self.filled < LENGTH {
                continue;
            }
            match Packet::parse(&self.bytes) {
                Some(packet) => {
                    self.counts.good += 1;
                    self.filled = 0;
                    each(&packet);
                }
                None => {
                    self.counts.bad += 1;
                    self.skip();
                    self.align();
                }
            }
        }
    }

    /// What became of the bytes so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Skips bytes until those that are left begin as a packet does.
    fn align(&mut self) {
        let begins = |it: &Self| {
            let known = &it.bytes[..it.filled.min(BEGIN.len())];
            BEGIN.starts_with(known)
        };
        while !begins(self) {
            self.skip();
        }
    }

    fn skip(&mut self) {
        self.bytes.copy_within(1..self.filled, 0);
        self.filled -= 1;
        self.counts.skipped += 1;
    }
}

/// The bytes of a packet: for stand-ins of a lidar. Angles and times are those of the packet's format.
pub fn encode(
    speed: u16,
    (start, end): (u16, u16),
    millimetres: &[u16; POINTS],
    time: u16,
) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    bytes[..2].copy_from_slice(&BEGIN);
    let mut put = |at: usize, number: u16| {
        bytes[at..at + 2].copy_from_slice(&number.to_le_bytes());
    };
    put(2, speed);
    put(4, start);
    for (point, &distance) in millimetres.iter().enumerate() {
        put(6 + 3 * point, distance);
    }
    put(42, end);
    put(44, time);
    for point in 0..POINTS {
        bytes[8 + 3 * point] = 200;
    }
    bytes[LENGTH - 1] = checksum(&bytes[..LENGTH - 1]);
    bytes
}

#[cfg(test)]
mod tests;
