//! The errors of data in files beside the model.

/// Why the data of a tensor cannot be read from another file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DataFileError {
    /// The tensor names no file.
    #[error("its data is in another file, which the model does not name; export the model again")]
    NoLocation,
    /// The path is not one within the folder.
    #[error(
        "its data is in {location:?}, which is no path within the model's folder; copy the file \
         beside the model and export or save the model again"
    )]
    Path {
        /// The path.
        location: String,
    },
    /// The file is reached through a link out of the folder.
    #[error(
        "its data is in {location:?}, a link out of the model's folder; put a copy of the file there"
    )]
    Outside {
        /// The path.
        location: String,
    },
    /// A folder, FIFO, socket or device.
    #[error("its data is in {location:?}, which is {kind} and not a regular file")]
    NotRegular {
        /// The path.
        location: String,
        /// What it is instead.
        kind: &'static str,
    },
    /// The system cannot open or read the file.
    #[error(
        "its data is in {location:?}, which cannot be read ({reason}); copy that file beside the \
         model, since both belong together"
    )]
    Unreadable {
        /// The path.
        location: String,
        /// The system's error.
        reason: String,
    },
    /// The data files are larger than the limit.
    #[error(
        "its data is in {location:?}; with that file the model's data is larger than the {limit} \
         bytes allowed"
    )]
    TooLarge {
        /// The path.
        location: String,
        /// The most bytes of all data files.
        limit: u64,
    },
    /// The offset or length is not a number.
    #[error("the {key} of its data is {value:?}, which is not a number of bytes")]
    NotANumber {
        /// The key in the model.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// The length differs from that of the tensor.
    #[error("its data has {found} bytes, but its shape and type need {expected}")]
    Length {
        /// The bytes that the shape and the type need.
        expected: usize,
        /// The bytes that the model states.
        found: u64,
    },
    /// The file ends before the tensor's data.
    #[error(
        "its data is in {location:?} at byte {offset}, but the file has {found} bytes: it is cut \
         off or belongs to another model; copy it again"
    )]
    Short {
        /// The path.
        location: String,
        /// Where the data begins.
        offset: u64,
        /// The length of the file.
        found: usize,
    },
}
