//! Tests of the program that users build: it has to build with only Rust and a C compiler, link
//! only the C library, and drive a lap.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

use tooling::checkout::{Checkout, in_ci};
use tooling::invocation::Invocation;

/// Tools that a build script could find on one machine and not on another. A fresh Debian with Rust
/// and a C compiler, which is all that the README requires, may lack them.
const TRAPPED_TOOLS: [&str; 18] = [
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

/// The shared libraries of Debian's libc6 and libgcc-s1, which every program may link.
const LIBRARIES: [&str; 7] = [
    "linux-vdso",
    "ld-linux",
    "libc.so",
    "libm.so",
    "libgcc_s.so",
    "libpthread.so",
    "libdl.so",
];

/// Builds the installed programs for release from a cold start, with traps in place of pkg-config, a
/// C++ compiler and similar tools, and checks which libraries they link.
pub fn builds_alone(checkout: &Checkout) -> Result<bool> {
    let builds = builds(checkout);
    let release = builds.join("release");
    match fs::remove_dir_all(&release) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("emptying {}", release.display()));
        }
        _ => {}
    }
    let traps = checkout.root().join("target/traps");
    let log = traps.join("sprung");
    write_traps(&traps, &log)?;
    let path = match std::env::var("PATH") {
        Ok(path) => format!("{}:{path}", traps.display()),
        Err(_) => traps.display().to_string(),
    };
    let built = Invocation::new("cargo build --release")
        .env("PATH", path)
        .env("PKG_CONFIG", traps.join("pkg-config"))
        .env("LLVM_CONFIG_PATH", traps.join("llvm-config"))
        .env("CLANG_PATH", traps.join("clang"))
        .env("LIBCLANG_PATH", "/nonexistent")
        .env("CARGO_TARGET_DIR", &builds)
        .within(checkout.root())
        .succeeds()?;
    let calls = fs::read_to_string(&log)?;
    if !calls.is_empty() {
        println!("a build asks the machine for what it may not have:\n{calls}");
    }
    if !built {
        return Ok(false);
    }
    let mut alone = calls.is_empty() & compiled_once(&release.join("deps"), "pilotage_compiler")?;
    for program in ["pilotage", "pilotage-guard"] {
        alone &= links_only_the_c_library(&release.join(program))?;
    }
    Ok(alone)
}

/// Whether the library `name` is in the folder of a cold build once: build.rs and the program share it.
/// That needs the same features for both; see `[build-dependencies]` in Cargo.toml.
fn compiled_once(folder: &Path, name: &str) -> Result<bool> {
    let start = format!("lib{name}-");
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let file = entry?.file_name();
        let file = file.to_string_lossy();
        count += usize::from(file.starts_with(&start) && file.ends_with(".rlib"));
    }
    if count != 1 {
        println!(
            "{name} was compiled {count} times, not once: build.rs and the program need other features \
             of a dependency (`[build-dependencies]` in Cargo.toml)"
        );
    }
    Ok(count == 1)
}

/// The target directory of this build, which starts cold: parts that an earlier build made would
/// not be built again. A developer's own release builds are kept. A machine of CI has none yet, and
/// the steps after this one use what it builds.
fn builds(checkout: &Checkout) -> PathBuf {
    match in_ci() {
        true => checkout.builds(),
        false => checkout.root().join("target/runtime"),
    }
}

/// Runs the README's first command, which has to drive a lap.
pub fn drives(checkout: &Checkout) -> Result<bool> {
    Invocation::new("cargo run --release")
        .env("CARGO_TARGET_DIR", builds(checkout))
        .within(checkout.root())
        .succeeds()
}

/// Writes the trap programs to the folder `traps`. Each one fails, and appends to the file `log`
/// which package's build called it.
fn write_traps(traps: &Path, log: &Path) -> Result<()> {
    fs::create_dir_all(traps).with_context(|| format!("making {}", traps.display()))?;
    fs::write(log, "")?;
    for name in TRAPPED_TOOLS {
        let trap = traps.join(name);
        let script = format!(
            "#!/bin/sh\necho \"$CARGO_PKG_NAME calls {name} $*\" | tee -a '{}' >&2\nexit 1\n",
            log.display()
        );
        fs::write(&trap, script)?;
        fs::set_permissions(&trap, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn links_only_the_c_library(program: &Path) -> Result<bool> {
    let linked = Invocation::new("ldd")
        .path(program)
        .answer()
        .with_context(|| format!("ldd failed on {}", program.display()))?;
    let other_libraries: Vec<_> = other_libraries(&linked).collect();
    for library in &other_libraries {
        println!("the runtime links {library}, which a fresh machine may lack");
    }
    Ok(other_libraries.is_empty())
}

/// The libraries in the output of `ldd` that are not in [`LIBRARIES`].
fn other_libraries(linked: &str) -> impl Iterator<Item = &str> {
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
    fn libraries_beyond_the_c_library_are_found() {
        let linked = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibfontconfig.so.1 => /lib/x86_64-linux-gnu/libfontconfig.so.1 (0x0)\n\
            \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x0)\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x0)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x0)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x0)\n";
        let found: Vec<_> = other_libraries(linked).collect();
        assert_eq!(found, ["libfontconfig.so.1"]);
    }
}
