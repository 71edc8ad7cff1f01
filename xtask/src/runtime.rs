//! The program people install: it has to build with Rust and a C compiler alone,
//! link nothing but the C library, and drive a lap.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// What a build script could find on one machine and miss on the next: a fresh Debian has
/// Rust and a C compiler, which is all that the README asks for.
const TEMPTATIONS: [&str; 18] = [
    "pkg-config",
    "pkgconf",
    "clang",
    "clang++",
    "llvm-config",
    "c++",
    "g++",
    "cmake",
    "make",
    "ninja",
    "protoc",
    "perl",
    "python",
    "python3",
    "git",
    "curl",
    "wget",
    "sudo",
];

/// The shared libraries of Debian's libc6 and libgcc-s1, which every program may use.
const LIBRARIES: [&str; 7] = [
    "linux-vdso",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libpthread.so",
    "libdl.so",
];

/// Builds the release runtime from a cold start, where pkg-config, a C++ compiler and
/// their like are traps, and looks at what it links.
pub fn builds_alone(checkout: &Checkout) -> Result<bool> {
    let builds = builds(checkout);
    match fs::remove_dir_all(&builds) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("emptying {}", builds.display()));
        }
        _ => {}
    }
    let traps = checkout.root().join("target/traps");
    let sprung = traps.join("sprung");
    set(&traps, &sprung)?;
    let path = match std::env::var("PATH") {
        Ok(path) => format!("{}:{path}", traps.display()),
        Err(_) => traps.display().to_string(),
    };
    let built = Invocation::new("cargo build --release --package pilotage")
        .env("PATH", path)
        .env("PKG_CONFIG", traps.join("pkg-config"))
        .env("LLVM_CONFIG_PATH", traps.join("llvm-config"))
        .env("CLANG_PATH", traps.join("clang"))
        .env("LIBCLANG_PATH", "/nonexistent")
        .env("CARGO_TARGET_DIR", &builds)
        .within(checkout.root())
        .succeeds()?;
    let calls = fs::read_to_string(&sprung)?;
    if !calls.is_empty() {
        println!("a build asks the machine for what it may not have:\n{calls}");
    }
    Ok(built && calls.is_empty() && links_little(&builds.join("release/pilotage"))?)
}

/// Apart from the other builds, whose parts would not be built again.
fn builds(checkout: &Checkout) -> PathBuf {
    checkout.root().join("target/runtime")
}

/// The README's first command: the lap it promises.
pub fn drives(checkout: &Checkout) -> Result<bool> {
    Invocation::new("cargo run --release")
        .env("CARGO_TARGET_DIR", builds(checkout))
        .within(checkout.root())
        .succeeds()
}

/// Writes programs in `traps` that fail, and note in `sprung` whose build called them.
fn set(traps: &Path, sprung: &Path) -> Result<()> {
    fs::create_dir_all(traps).with_context(|| format!("making {}", traps.display()))?;
    fs::write(sprung, "")?;
    for name in TEMPTATIONS {
        let trap = traps.join(name);
        let script = format!(
            "#!/bin/sh\necho \"$CARGO_PKG_NAME calls {name} $*\" | tee -a '{}' >&2\nexit 1\n",
            sprung.display()
        );
        fs::write(&trap, script)?;
        fs::set_permissions(&trap, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn links_little(program: &Path) -> Result<bool> {
    let linked = Invocation::new("ldd")
        .path(program)
        .answer()
        .with_context(|| format!("ldd says nothing of {}", program.display()))?;
    let strangers: Vec<_> = strangers(&linked).collect();
    for library in &strangers {
        println!("the runtime links {library}, which a fresh machine may lack");
    }
    Ok(strangers.is_empty())
}

/// The libraries in what `ldd` printed that are not the C library's.
fn strangers(linked: &str) -> impl Iterator<Item = &str> {
    linked
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(|library| library.rsplit('/').next().unwrap_or(library))
        .filter(|library| !LIBRARIES.iter().any(|known| library.starts_with(known)))
        .filter(|library| !library.starts_with("statically"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_beyond_the_c_library_is_a_stranger() {
        let linked = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibfontconfig.so.1 => /lib/x86_64-linux-gnu/libfontconfig.so.1 (0x0)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x0)\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x0)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        let found: Vec<_> = strangers(linked).collect();
        assert_eq!(found, ["libfontconfig.so.1"]);
    }
}
