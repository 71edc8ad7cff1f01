//! Products and versions of TensorRT.

use std::fmt;

/// NVIDIA publishes two libraries with the same interface and separate version numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Product {
    /// TensorRT, as installed by JetPack and the Debian packages.
    TensorRt,
    /// TensorRT for RTX, for PC graphics cards. It can build plans on a machine without a GPU.
    TensorRtRtx,
}

impl Product {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::TensorRt => 0,
            Self::TensorRtRtx => 1,
        }
    }

    /// The file names of the inference library and the ONNX parser of each version, newest first.
    pub(crate) fn libraries(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::TensorRt => &[
                ("libnvinfer.so.11", "libnvonnxparser.so.11"),
                ("libnvinfer.so.10", "libnvonnxparser.so.10"),
                ("libnvinfer.so.8", "libnvonnxparser.so.8"),
            ],
            Self::TensorRtRtx => &[("libtensorrt_rtx.so.1", "libtensorrt_onnxparser_rtx.so.1")],
        }
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TensorRt => "TensorRT",
            Self::TensorRtRtx => "TensorRT-RTX",
        })
    }
}

/// A library's version, to the patch level. Each version needs its own shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// The product that the number belongs to.
    pub product: Product,
    /// The number from `getInferLibVersion`: 8502 is 8.5.2, 100300 is 10.3.0.
    pub number: i32,
}

impl Version {
    /// Major, minor and patch. Before version 10 the number has one digit for the minor version
    /// instead of two (`NV_TENSORRT_VERSION` in the headers).
    #[must_use]
    pub fn parts(self) -> (i32, i32, i32) {
        let (major, minor) = if self.number < 10_000 {
            (1000, 100)
        } else {
            (10_000, 100)
        };
        (
            self.number / major,
            self.number % major / minor,
            self.number % minor,
        )
    }

    /// The file name of the shim for this version.
    #[must_use]
    pub fn shim_file(self) -> String {
        let product = match self.product {
            Product::TensorRt => "",
            Product::TensorRtRtx => "rtx_",
        };
        format!("libtensorrt_rs_shim_{product}{}.so", self.number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.parts();
        write!(f, "{} {major}.{minor}.{patch}", self.product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_decoded_as_in_the_headers() {
        for (number, text) in [
            (8502, "TensorRT 8.5.2"),
            (8601, "TensorRT 8.6.1"),
            (100_300, "TensorRT 10.3.0"),
            (101_303, "TensorRT 10.13.3"),
            (110_400, "TensorRT 11.4.0"),
        ] {
            let version = Version {
                product: Product::TensorRt,
                number,
            };
            assert_eq!(version.to_string(), text);
        }
        let rtx = Version {
            product: Product::TensorRtRtx,
            number: 10_701,
        };
        assert_eq!(rtx.to_string(), "TensorRT-RTX 1.7.1");
        assert_eq!(rtx.shim_file(), "libtensorrt_rs_shim_rtx_10701.so");
    }
}
