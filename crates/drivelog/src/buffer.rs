//! The last entries, in bounded memory.

use std::collections::VecDeque;

use crate::entry::Entry;

/// Entries of the last seconds. Older ones are dropped, and so are the oldest beyond a number of
/// bytes.
#[derive(Debug)]
pub(crate) struct Buffer {
    entries: VecDeque<Entry>,
    bytes: usize,
    most_bytes: usize,
    most_ms: f64,
}

impl Buffer {
    pub(crate) fn new(most_ms: f64, most_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            most_bytes,
            most_ms,
        }
    }

    pub(crate) fn push(&mut self, entry: Entry) {
        let newest = entry.time_ms();
        self.bytes += size(&entry);
        self.entries.push_back(entry);
        while let Some(oldest) = self.entries.front() {
            let age = newest.zip(oldest.time_ms());
            let is_old = age.is_some_and(|(newest, oldest)| newest - oldest > self.most_ms);
            if !is_old && self.bytes <= self.most_bytes {
                return;
            }
            self.bytes -= size(oldest);
            self.entries.pop_front();
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

/// The bytes that an entry takes, about.
fn size(entry: &Entry) -> usize {
    let of_kind = match entry {
        Entry::Start(_) => 512,
        Entry::Frame(frame) => size_of_val(&**frame) + 4 * frame.outputs.len(),
        Entry::Picture(picture) => picture.jpeg.len(),
        Entry::Message(message) => message.text.len(),
        Entry::Pause(_) => 0,
        Entry::Scan(scan) => 2 * scan.scan.millimetres.len(),
        Entry::End(end) => end.text.len(),
    };
    size_of::<Entry>() + of_kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Picture;

    fn picture(captured_ms: f64, bytes: usize) -> Entry {
        Entry::Picture(Picture {
            sequence: 0,
            captured_ms,
            jpeg: vec![0; bytes],
        })
    }

    #[test]
    fn old_entries_are_dropped_and_memory_is_bounded() {
        let mut buffer = Buffer::new(1000.0, 10_000);
        for i in 0..100 {
            buffer.push(picture(f64::from(i) * 100.0, 10));
        }
        let times: Vec<_> = buffer.entries().filter_map(Entry::time_ms).collect();
        assert_eq!((times.first(), times.len()), (Some(&8900.0), 11));
        for i in 0..50 {
            buffer.push(picture(9900.0, 1000 + i));
        }
        let held: usize = buffer.entries().map(size).sum();
        assert!(held <= 10_000 && held > 8000, "{held}");
        assert_eq!(held, buffer.bytes);
        // One that is too large alone is not kept.
        buffer.push(picture(9900.0, 20_000));
        assert_eq!((buffer.entries().count(), buffer.bytes), (0, 0));
    }
}
