//! The modes that a camera offers.

use pilotage_camera::v4l::{Device, Sizes};

/// Formats, sizes and rates, as `YUYV 640x480 at 30, 15; MJPG 1280x720 at 30`. `None` if the device
/// has no pictures, as the second node of many webcams.
pub(super) fn modes<D: Device>(device: &D) -> Option<String> {
    let mut formats = Vec::new();
    for format in device.formats().ok()? {
        let sizes = device.sizes(format).unwrap_or_default();
        let each = sizes.iter().take(MOST).map(|&size| {
            // Of sizes in steps the largest has the lowest rates.
            let (width, height) = match size {
                Sizes::One(width, height) => (width, height),
                Sizes::Steps { width, height } => (width.1, height.1),
            };
            let rates = device.rates(format, width, height).unwrap_or_default();
            let rates: Vec<String> = rates.iter().map(ToString::to_string).collect();
            match rates.is_empty() {
                true => size.to_string(),
                false => format!("{size} at {}", rates.join(" or ")),
            }
        });
        let mut each: Vec<String> = each.collect();
        if sizes.len() > MOST {
            each.push(format!("{} more", sizes.len() - MOST));
        }
        let letters: String = format.iter().map(|&byte| char::from(byte)).collect();
        formats.push(format!("{letters} {}", each.join(", ")).trim().to_owned());
    }
    (!formats.is_empty()).then(|| formats.join("; "))
}

/// The largest number of sizes that are listed per format; others are only counted.
const MOST: usize = 6;

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use pilotage_camera::v4l::{Buffers, Description, Granted, Metadata, Mode, Rates};

    /// A webcam with two formats; a node without any.
    struct Webcam {
        formats: Vec<[u8; 4]>,
    }

    impl Device for Webcam {
        type Buffers = Self;
        fn formats(&self) -> io::Result<Vec<[u8; 4]>> {
            Ok(self.formats.clone())
        }
        fn sizes(&self, format: [u8; 4]) -> io::Result<Vec<Sizes>> {
            Ok(match &format {
                b"YUYV" => vec![Sizes::One(640, 480); 8],
                _ => vec![Sizes::One(1280, 720)],
            })
        }
        fn rates(&self, format: [u8; 4], _: u32, _: u32) -> io::Result<Vec<Rates>> {
            match &format {
                b"YUYV" => Ok(vec![Rates::One((1, 30)), Rates::One((1, 15))]),
                _ => Err(io::ErrorKind::InvalidInput.into()),
            }
        }
        fn set(&mut self, _: &Mode) -> io::Result<Granted> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn controls(&self) -> io::Result<Vec<Description>> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn set_control(&mut self, _: &Description, _: i64) -> io::Result<()> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn start(self, _: u32) -> io::Result<Self> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }

    impl Buffers for Webcam {
        fn count(&self) -> usize {
            0
        }
        fn wait(&mut self, _: Duration) -> io::Result<bool> {
            Ok(false)
        }
        fn take(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn exchange(&mut self) -> io::Result<(&[u8], Metadata)> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[test]
    fn formats_sizes_and_rates_are_listed_and_many_are_counted() {
        let webcam = Webcam {
            formats: vec![*b"YUYV", *b"MJPG"],
        };
        let six = ["640x480 at 30 or 15"; 6].join(", ");
        assert_eq!(
            modes(&webcam),
            Some(format!("YUYV {six}, 2 more; MJPG 1280x720"))
        );
        let other = Webcam {
            formats: Vec::new(),
        };
        assert_eq!(modes(&other), None);
    }
}
