//! An arm64 Debian root file system: the .deb is installed into it, and the virtual car boots from
//! it. mmdebstrap makes it once, from this machine's Debian package sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The packages in the root besides those that apt needs. The list covers both uses, so that the
/// root is made only once.
const PACKAGES: [&str; 8] = [
    "systemd-sysv",
    "udev",
    "kmod",
    "procps",
    "i2c-tools",
    "v4l-utils",
    "gpiod",
    "iproute2",
];

/// The root file system as a tar archive. Each user unpacks a copy, which may be changed.
pub struct ArmRoot {
    archive: PathBuf,
}

impl ArmRoot {
    /// Returns the archive under `target/arm-root`. Makes it first when it does not exist or was
    /// made from other packages or sources.
    ///
    /// # Errors
    /// When the root cannot be made: the packages cannot be fetched, or arm64 programs cannot be
    /// run.
    pub fn made(checkout: &Checkout) -> Result<Self> {
        let folder = checkout.root().join("target/arm-root");
        let archive = folder.join("root.tar");
        let recipe = folder.join("recipe.txt");
        let sources = sources()?;
        let expected = format!("{}\n{sources}", PACKAGES.join(","));
        let up_to_date = fs::read_to_string(&recipe).is_ok_and(|found| found == expected);
        if up_to_date && archive.exists() {
            return Ok(Self { archive });
        }
        println!("making an arm64 Debian system, which takes some minutes the first time");
        fs::create_dir_all(&folder)?;
        let list = folder.join("sources.list");
        let options = folder.join("apt.conf");
        fs::write(&list, &sources)?;
        fs::write(&options, apt_options())?;
        let unfinished = folder.join("part.tar");
        let emulation = Emulation::begin()?;
        let made = Invocation::privileged(
            r#"mmdebstrap --quiet --mode=root --variant=apt --architectures=arm64 \
                --aptopt="$0" --include="$1" --format=tar "$2" "$3" "$4" && chmod 644 "$3""#,
        )
        .path(&options)
        .arg(PACKAGES.join(","))
        .arg(suite(&sources)?)
        .path(&unfinished)
        .path(&list)
        .succeeds()?;
        drop(emulation);
        if !made {
            bail!("mmdebstrap made no arm64 system; its messages are above");
        }
        fs::rename(&unfinished, &archive)?;
        fs::write(&recipe, &expected)?;
        Ok(Self { archive })
    }

    /// The path of the tar archive.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Unpacks the archive to `folder`, and replaces what was there.
    ///
    /// # Errors
    /// When unpacking fails.
    pub fn unpack(&self, folder: &Path) -> Result<()> {
        let script = r#"rm -rf -- "$1" && mkdir -p -- "$1" &&
            tar --extract --file="$0" --directory="$1" --numeric-owner"#;
        let unpacked = Invocation::privileged(script)
            .path(&self.archive)
            .path(folder);
        match unpacked.succeeds()? {
            true => Ok(()),
            false => bail!("{} cannot be unpacked", self.archive.display()),
        }
    }
}

/// Unpacks arm64 Debian `packages`, which are separated by spaces, and what they depend on to
/// `folder`, unless they are there. None of their programs is run, and nothing is configured.
///
/// # Errors
/// When the packages cannot be fetched or unpacked.
pub fn extract(packages: &str, folder: &Path) -> Result<()> {
    let sources = sources()?;
    let expected = format!("{packages}\n{sources}");
    let recipe = folder.with_extension("txt");
    if fs::read_to_string(&recipe).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    println!("==> unpacking arm64 packages in {}", folder.display());
    let file = |extension, text: &str| {
        let path = folder.with_extension(extension);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok::<_, anyhow::Error>(path)
    };
    let list = file("list", &sources)?;
    let options = file("conf", &apt_options())?;
    let archive = folder.with_extension("tar");
    let script = r#"mmdebstrap --quiet --mode=root --variant=extract --architectures=arm64 \
        --aptopt="$0" --include="$1" --format=tar "$2" "$3" "$4" && chmod 644 "$3""#;
    let made = Invocation::privileged(script)
        .path(&options)
        .arg(packages.replace(' ', ","))
        .arg(suite(&sources)?)
        .path(&archive)
        .path(&list);
    let unpacked = Invocation::new("sh -c")
        .arg(
            r#"rm -rf -- "$1" && mkdir -p -- "$1" && tar --extract --file="$0" --directory="$1" \
            --no-same-owner --exclude='./dev/*' && rm -- "$0""#,
        )
        .path(&archive)
        .path(folder);
    for command in [made, unpacked] {
        if !command.succeeds()? {
            bail!("`{command}` failed; its messages are above");
        }
    }
    fs::write(&recipe, &expected)?;
    Ok(())
}

/// While this value exists, the kernel runs arm64 programs with qemu, also after chroot. Drop
/// restores the kernel's previous state: other tests on this machine must not find that arm64
/// programs seem to run natively.
pub struct Emulation {
    /// Holds the lock file: other processes on this machine wait until it is dropped.
    _lock: File,
    /// The script that unregisters qemu.
    undo: Option<String>,
}

/// The registration line for the kernel, from Debian's qemu-user-static.
const REGISTRATION: &str = "/usr/lib/binfmt.d/qemu-aarch64.conf";
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
static EMULATING: AtomicBool = AtomicBool::new(false);

impl Emulation {
    /// Registers qemu with the kernel.
    ///
    /// # Errors
    /// When the kernel rejects the registration, or this process has registered qemu already.
    pub fn begin() -> Result<Self> {
        if EMULATING.swap(true, Ordering::Relaxed) {
            bail!("arm64 programs are being run already; one at a time");
        }
        Self::register().inspect_err(|_| EMULATING.store(false, Ordering::Relaxed))
    }

    fn register() -> Result<Self> {
        let path = std::env::temp_dir().join("pilotage-emulation.lock");
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        lock.lock()?;
        let binfmt = Path::new(BINFMT);
        if binfmt.join("qemu-aarch64").exists() {
            return Ok(Self {
                _lock: lock,
                undo: None,
            });
        }
        let mounted = binfmt.join("register").exists();
        let mut script = String::from("set -e\n");
        let mut undo = format!("echo -1 > {BINFMT}/qemu-aarch64\n");
        if !mounted {
            script.push_str(&format!("mount -t binfmt_misc binfmt_misc {BINFMT}\n"));
            undo.push_str(&format!("umount {BINFMT}\n"));
        }
        script.push_str(&format!("cat {REGISTRATION} > {BINFMT}/register\n"));
        // Drop undoes whatever part of the script succeeded.
        let emulation = Self {
            _lock: lock,
            undo: Some(undo),
        };
        match Invocation::privileged(&script).succeeds()? {
            true => Ok(emulation),
            false => {
                bail!("the kernel cannot be configured to run arm64 programs by qemu (binfmt_misc)")
            }
        }
    }
}

impl Drop for Emulation {
    fn drop(&mut self) {
        if let Some(undo) = &self.undo
            && !Invocation::privileged(undo).succeeds().unwrap_or(false)
        {
            println!("warning: undo this by hand, as root:\n{undo}");
        }
        EMULATING.store(false, Ordering::Relaxed);
    }
}

/// This machine's Debian package sources, in the format of sources.list.
fn sources() -> Result<String> {
    let lines = Invocation::new("apt-get indextargets --format")
        .arg("deb $(REPO_URI) $(RELEASE) $(COMPONENT)")
        .arg("Created-By: Packages")
        .arg("Origin: Debian")
        .answer()
        .unwrap_or_default();
    if lines.trim().is_empty() {
        bail!("apt-get knows of no Debian packages here; `apt-get update` first");
    }
    Ok(lines)
}

/// The suite of the first source.
fn suite(sources: &str) -> Result<String> {
    let mut words = sources.split_whitespace();
    let suite = words.nth(2).context("apt-get names no suite")?;
    Ok(suite.to_owned())
}

/// The options with which this machine's apt reaches the sources: proxies and date checks.
fn apt_options() -> String {
    let dump = Invocation::new("apt-config dump --no-empty")
        .answer()
        .unwrap_or_default();
    let mut options: Vec<&str> = dump
        .lines()
        .filter(|line| line.starts_with("Acquire::http") || line.starts_with("Acquire::Check"))
        .collect();
    options.dedup();
    options.join("\n") + "\n"
}
