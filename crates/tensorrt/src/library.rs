//! Finds and loads TensorRT and its shim.

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::error::TensorRtError;
use crate::ffi::{self, Entries, ErrorText, Functions};
use crate::loader::loader_message;
use crate::shim::{self, Shims};
use crate::version::{Product, Version};

/// TensorRT's libraries and their shim, loaded. Cheap to clone.
///
/// They stay loaded until the process ends, because TensorRT's threads and static objects do not
/// survive unloading.
#[derive(Clone)]
pub struct TensorRt {
    inner: Arc<Inner>,
}

struct Inner {
    version: Version,
    typing: Typing,
    functions: Functions,
    entries: Entries,
    /// Why there is no ONNX parser; `None` if there is one.
    no_parser: Option<String>,
}

/// Where a layer's precision comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typing {
    /// [`BuildOptions::fp16`](crate::BuildOptions::fp16) and
    /// [`int8`](crate::BuildOptions::int8) allow lower precisions, and the builder chooses by
    /// speed: TensorRT before 10.
    ByFlags,
    /// As [`BuildOptions::strongly_typed`](crate::BuildOptions::strongly_typed) says: TensorRT 10.
    Either,
    /// The types of the model (an FP16 or a quantized ONNX file): TensorRT 11 and later, and
    /// TensorRT-RTX.
    ByModel,
}

// SAFETY: the pointers are addresses of code that stays loaded. TensorRT's factory functions may be
// called from any thread.
unsafe impl Send for Inner {}
// SAFETY: as above; nothing is modified through the pointers.
unsafe impl Sync for Inner {}

impl std::fmt::Debug for TensorRt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TensorRt({})", self.inner.version)
    }
}

impl TensorRt {
    /// Loads the library from `folder`, or from where the loader finds it (ldconfig's folders and
    /// `LD_LIBRARY_PATH`), then the shim for exactly that version.
    ///
    /// # Errors
    /// When the library or the shim is missing or damaged, or their versions differ. In that case
    /// no function of TensorRT is called but those that report its version.
    pub fn open(
        product: Product,
        folder: Option<&Path>,
        shims: &Shims,
    ) -> Result<Self, TensorRtError> {
        let (name, inference, parser_name) = load(product, folder)?;
        let number = version_of(&inference, &name, "getInferLibVersion")?;
        let version = Version { product, number };

        // Only building needs the parser. A machine that only runs plans may lack it.
        if let (Some(folder), Some(plugin)) = (folder, plugin_of(parser_name)) {
            // The parser of TensorRT 8 is linked with it, and the loader does not look into `folder`.
            let _ = open_library(Some(folder), &plugin);
        }
        let (parser, no_parser) = match open_library(folder, parser_name) {
            Ok(parser) => (Some(parser), None),
            Err(reason) => (None, Some(reason)),
        };
        let parser_version = match &parser {
            Some(parser) => Some(version_of(parser, parser_name, "getNvOnnxParserVersion")?),
            None => None,
        };

        let path = shims.find(version)?;
        let (opened, info) = shim::open(&path)?;
        shim::check(&path, info, version, parser_version)?;
        let opened = ManuallyDrop::new(opened);
        // SAFETY: `shim::check` has compared the shim's interface with `ABI`, and `ManuallyDrop`
        // keeps the shim open.
        let functions =
            unsafe { Functions::load(&opened) }.map_err(|symbol| TensorRtError::DamagedShim {
                path: path.clone(),
                reason: format!("it has no {symbol}"),
            })?;

        let runtime = address(&inference, "createInferRuntime_INTERNAL");
        if runtime.is_null() {
            return Err(TensorRtError::NoSymbol {
                library: name,
                symbol: "createInferRuntime_INTERNAL",
            });
        }
        let entries = Entries {
            create_builder: address(&inference, "createInferBuilder_INTERNAL"),
            create_runtime: runtime,
            create_parser: parser.as_ref().map_or(ptr::null_mut(), |parser| {
                address(parser, "createNvOnnxParser_INTERNAL")
            }),
            log: Some(ffi::log_message),
            user: ptr::null_mut(),
        };
        log::info!("{version} from {name}, shim {}", path.display());
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                typing: match info.typing {
                    ffi::BY_FLAGS => Typing::ByFlags,
                    ffi::EITHER => Typing::Either,
                    _ => Typing::ByModel,
                },
                functions,
                entries,
                no_parser,
            }),
        })
    }

    /// The version of the installed library. No shim is needed.
    ///
    /// # Errors
    /// When there is no library, or it does not report its version.
    pub fn installed(product: Product, folder: Option<&Path>) -> Result<Version, TensorRtError> {
        let (name, inference, _) = load(product, folder)?;
        let number = version_of(&inference, &name, "getInferLibVersion")?;
        Ok(Version { product, number })
    }

    /// The library's product and version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version
    }

    /// Where a layer's precision comes from.
    #[must_use]
    pub fn typing(&self) -> Typing {
        self.inner.typing
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.inner.functions
    }

    /// Why there is no ONNX parser, if there is none.
    pub(crate) fn no_parser(&self) -> Option<&str> {
        self.inner.no_parser.as_deref()
    }

    pub(crate) fn entries(&self) -> &Entries {
        &self.inner.entries
    }

    /// Converts the status of a call, and the details that it left in `error`, to a result.
    pub(crate) fn failure(
        status: i32,
        doing: &'static str,
        error: &ErrorText,
    ) -> Result<(), TensorRtError> {
        let reason = ffi::text(&error.message);
        Err(match status {
            ffi::OK => return Ok(()),
            ffi::PARSE => TensorRtError::Parse {
                node: usize::try_from(error.node).ok(),
                name: ffi::text(&error.name),
                operator: ffi::text(&error.operator),
                reason,
            },
            ffi::NO_FAST_INT8 => TensorRtError::NoFastInt8,
            ffi::CANCELLED => TensorRtError::Cancelled,
            ffi::UNSUPPORTED => TensorRtError::Unsupported(reason),
            _ => TensorRtError::Failed { doing, reason },
        })
    }
}

/// The plugin library of the same version as an ONNX parser; `None` for TensorRT-RTX, which has none.
fn plugin_of(parser: &str) -> Option<String> {
    let version = parser.strip_prefix("libnvonnxparser")?;
    Some(format!("libnvinfer_plugin{version}"))
}

type Loaded = (String, ManuallyDrop<Library>, &'static str);

fn load(product: Product, folder: Option<&Path>) -> Result<Loaded, TensorRtError> {
    let mut reasons = Vec::new();
    for &(name, parser) in product.libraries() {
        match open_library(folder, name) {
            Ok(library) => return Ok((name.to_owned(), library, parser)),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(TensorRtError::NoLibrary {
        product,
        reason: reasons.join("; "),
    })
}

fn open_library(folder: Option<&Path>, name: &str) -> Result<ManuallyDrop<Library>, String> {
    let path = folder.map_or_else(|| name.into(), |folder| folder.join(name));
    // RTLD_GLOBAL lets the parser find the inference library, with which it was linked, among the
    // libraries that are already loaded.
    let flags = RTLD_NOW
        | if folder.is_some() {
            RTLD_GLOBAL
        } else {
            RTLD_LOCAL
        };
    // SAFETY: this loads NVIDIA's library from the system's folders or the caller's. Its
    // initializers expect nothing of the process.
    unsafe { Library::open(Some(path), flags) }
        .map(ManuallyDrop::new)
        .map_err(|error| loader_message(&error))
}

/// Calls the C function of a library that returns its version.
fn version_of(library: &Library, name: &str, symbol: &'static str) -> Result<i32, TensorRtError> {
    let function = address(library, symbol);
    if function.is_null() {
        return Err(TensorRtError::NoSymbol {
            library: name.to_owned(),
            symbol,
        });
    }
    // SAFETY: in every version the symbol is a C function of this signature (NvInferRuntime.h,
    // NvOnnxParser.h).
    Ok(unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> i32>(function)() })
}

/// A symbol's address, or null if the library lacks it.
fn address(library: &Library, symbol: &str) -> *mut c_void {
    // SAFETY: only the symbol's address is used here, not its type.
    unsafe { library.get::<*mut c_void>(symbol) }
        .map_or(ptr::null_mut(), |symbol| symbol.into_raw())
}
