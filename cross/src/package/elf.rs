//! Reads from a program's ELF headers what it needs on the machine that runs it.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result};
use object::Endianness;
use object::elf::DT_NEEDED;
use object::read::elf::{Dyn, ElfFile64};

/// The libraries of the C library, before and after they were merged in 2.34, and its loaders.
const C_LIBRARY: [&str; 7] = [
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "ld-linux-aarch64.so.1",
    "ld-linux-x86-64.so.2",
];

/// The libraries that a program links, and the versions of their symbols.
#[derive(Debug, PartialEq, Eq)]
pub struct Needs {
    libraries: BTreeSet<String>,
    versions: BTreeSet<String>,
}

impl Needs {
    /// Reads the program in `bytes`.
    pub fn of(bytes: &[u8]) -> Result<Self> {
        let file = ElfFile64::<Endianness>::parse(bytes)?;
        let (endian, sections) = (file.endian(), file.elf_section_table());
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let (mut libraries, mut versions) = (BTreeSet::new(), BTreeSet::new());
        let (entries, index) = sections
            .dynamic(endian, bytes)?
            .context("it is linked statically, and that is not what is handed out")?;
        let strings = sections.strings(endian, bytes, index)?;
        for entry in entries {
            if entry.tag(endian) == DT_NEEDED {
                libraries.insert(text(entry.string(endian, strings)?));
            }
        }
        if let Some((mut needed, index)) = sections.gnu_verneed(endian, bytes)? {
            let strings = sections.strings(endian, bytes, index)?;
            while let Some((_, mut each)) = needed.next()? {
                while let Some(version) = each.next()? {
                    versions.insert(text(version.name(endian, strings)?));
                }
            }
        }
        Ok(Self {
            libraries,
            versions,
        })
    }

    /// The newest version of the C library that a symbol needs.
    fn glibc(&self) -> Option<(u32, u32)> {
        self.versions
            .iter()
            .filter_map(|version| number(version))
            .max()
    }

    /// A message for each library or version that is missing on a car with the C library `floor`
    /// and no other library.
    pub fn problems(&self, floor: (u32, u32)) -> Vec<String> {
        let other_libraries = self
            .libraries
            .iter()
            .filter(|library| !C_LIBRARY.contains(&library.as_str()))
            .map(|library| format!("links {library}, which a car may lack"));
        let newer = self
            .versions
            .iter()
            .filter(|version| match number(version) {
                Some(number) => number > floor,
                // Not a version of the C library, or one that is private to it.
                None => true,
            })
            .map(|version| format!("wants {version}, and a car may have 2.27 only"));
        let none = self
            .glibc()
            .is_none()
            .then(|| "names no version of the C library: is it stripped of that too?".to_owned());
        other_libraries.chain(newer).chain(none).collect()
    }
}

/// (2, 27) for `GLIBC_2.27`; the third number of old versions is ignored.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.');
    let mut next = || numbers.next()?.parse().ok();
    Some((next()?, next()?))
}

impl fmt::Display for Needs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.glibc().unwrap_or_default();
        let libraries: Vec<&str> = self.libraries.iter().map(String::as_str).collect();
        write!(
            out,
            "needs glibc {major}.{minor} ({})",
            libraries.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(libraries: &[&str], versions: &[&str]) -> Needs {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Needs {
            libraries: owned(libraries),
            versions: owned(versions),
        }
    }

    #[test]
    fn the_test_program_itself_is_read() {
        let itself = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let needs = Needs::of(&itself).unwrap();
        assert!(needs.libraries.contains("libc.so.6"), "{needs:?}");
        assert!(needs.glibc().unwrap() >= (2, 2), "{needs:?}");
        assert!(Needs::of(b"no program").is_err());
    }

    #[test]
    fn newer_versions_and_other_libraries_are_reported() {
        let fine = needs(&["libc.so.6", "libm.so.6"], &["GLIBC_2.2.5", "GLIBC_2.27"]);
        assert_eq!(fine.problems((2, 27)), Vec::<String>::new());
        assert_eq!(fine.glibc(), Some((2, 27)));
        let newer = needs(&["libc.so.6"], &["GLIBC_2.9", "GLIBC_2.34"]);
        assert_eq!(newer.problems((2, 27)).len(), 1);
        let strange = needs(&["libc.so.6", "libgcc_s.so.1"], &["GLIBC_2.17", "GCC_3.0"]);
        let problems = strange.problems((2, 27));
        assert!(problems[0].contains("libgcc_s.so.1"), "{problems:?}");
        assert!(problems[1].contains("GCC_3.0"), "{problems:?}");
        assert_eq!(needs(&["libc.so.6"], &[]).problems((2, 27)).len(), 1);
    }
}
