//! An arm64 Debian system in a folder: what the .deb is installed into, and what the virtual
//! car boots. Made once, by mmdebstrap, from where this machine's own Debian packages come.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::invocation::Invocation;

/// What is in it besides the packages that apt needs. Everything that either use of it wants,
/// so that it is made once.
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

/// The system, packed: whoever wants it unpacks one of their own, and may spoil that.
pub struct ArmRoot {
    archive: PathBuf,
}

impl ArmRoot {
    /// The system under `target/arm-root`, made if it is not there or was made of something else.
    ///
    /// # Errors
    /// When it cannot be made: the packages cannot be fetched, or arm64 programs cannot be run.
    pub fn made(checkout: &Checkout) -> Result<Self> {
        let folder = checkout.root().join("target/arm-root");
        let archive = folder.join("root.tar");
        let recipe = folder.join("recipe.txt");
        let sources = sources()?;
        let wanted = format!("{}\n{sources}", PACKAGES.join(","));
        let there = fs::read_to_string(&recipe).is_ok_and(|there| there == wanted);
        if there && archive.exists() {
            return Ok(Self { archive });
        }
        println!("making an arm64 Debian system, which takes some minutes the first time");
        fs::create_dir_all(&folder)?;
        let list = folder.join("sources.list");
        let options = folder.join("apt.conf");
        fs::write(&list, &sources)?;
        fs::write(&options, apt_options())?;
        let part = folder.join("part.tar");
        let emulation = Emulation::begin()?;
        let made = Invocation::privileged(
            r#"mmdebstrap --quiet --mode=root --variant=apt --architectures=arm64 \
                --aptopt="$0" --include="$1" --format=tar "$2" "$3" "$4" && chmod 644 "$3""#,
        )
        .path(&options)
        .arg(PACKAGES.join(","))
        .arg(suite(&sources)?)
        .path(&part)
        .path(&list)
        .succeeds()?;
        drop(emulation);
        if !made {
            bail!("mmdebstrap made no arm64 system; its messages are above");
        }
        fs::rename(&part, &archive)?;
        fs::write(&recipe, &wanted)?;
        Ok(Self { archive })
    }

    /// The system as one tar archive.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Unpacks it to `folder`, in place of what was there.
    ///
    /// # Errors
    /// When it cannot.
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

/// While this lives, the kernel runs arm64 programs by qemu, in a changed root too. Dropped,
/// the kernel is as it was: programs built for arm64 that seem to run natively mislead others.
pub struct Emulation {
    /// Whoever else wants this on this machine waits for its end.
    _turn: File,
    /// Undoes what was done.
    undo: Option<String>,
}

/// Where Debian's qemu-user-static says how it is registered.
const REGISTRATION: &str = "/usr/lib/binfmt.d/qemu-aarch64.conf";
const BINFMT: &str = "/proc/sys/fs/binfmt_misc";
static EMULATING: AtomicBool = AtomicBool::new(false);

impl Emulation {
    /// Registers qemu with the kernel.
    ///
    /// # Errors
    /// When the kernel does not take it, or this process has done so already.
    pub fn begin() -> Result<Self> {
        if EMULATING.swap(true, Ordering::Relaxed) {
            bail!("arm64 programs are being run already; one at a time");
        }
        Self::register().inspect_err(|_| EMULATING.store(false, Ordering::Relaxed))
    }

    fn register() -> Result<Self> {
        let path = std::env::temp_dir().join("pilotage-emulation.lock");
        let turn = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        turn.lock()?;
        let binfmt = Path::new(BINFMT);
        if binfmt.join("qemu-aarch64").exists() {
            return Ok(Self {
                _turn: turn,
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
        // Whatever came of it is taken down when this is dropped.
        let emulation = Self {
            _turn: turn,
            undo: Some(undo),
        };
        match Invocation::privileged(&script).succeeds()? {
            true => Ok(emulation),
            false => bail!("the kernel cannot be told to run arm64 programs by qemu (binfmt_misc)"),
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

/// Where this machine's Debian packages come from.
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

/// The suite of the first of them.
fn suite(sources: &str) -> Result<String> {
    let mut words = sources.split_whitespace();
    let suite = words.nth(2).context("apt-get names no suite")?;
    Ok(suite.to_owned())
}

/// How this machine's apt reaches them: proxies, and what it thinks of dates.
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
