//! The Debian packages that the virtual car is made of: a system emulator, an arm64 kernel, and a
//! camera module for that kernel. All are unpacked under `target/`, and none is installed: apt gets
//! separate lists there, for both architectures.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The kernel's package. The -cloud- kernels have neither cameras nor I2C.
const KERNEL: &str = "linux-image-arm64";
const HEADERS: &str = "linux-headers-arm64";
const CAMERA: &str = "v4l2loopback-dkms";
const EMULATOR: &str = "qemu-system-arm";
const EMULATOR_PROGRAM: &str = "qemu-system-aarch64";

/// The paths of the unpacked files.
pub struct Packages {
    /// The emulator's program.
    pub emulator: PathBuf,
    /// The folders of the libraries that came with the emulator, separated by colons.
    pub libraries: String,
    pub kernel: PathBuf,
    /// The kernel's lib/modules/RELEASE.
    pub modules: PathBuf,
    /// The kernel's release, such as `6.1.0-56-arm64`.
    pub release: String,
    /// The camera's module, built for the kernel.
    pub camera: PathBuf,
    /// The packages' names and versions, one per line.
    pub versions: String,
}

impl Packages {
    /// Fetches the packages and builds the camera's module, unless that is done already.
    ///
    /// # Errors
    /// When a package cannot be fetched, or the module does not build.
    pub fn ready(checkout: &Checkout) -> Result<Self> {
        let folder = checkout.root().join("target/virtual-car");
        let apt = Apt::at(&folder.join("apt"))?;
        let done = folder.join("packages.txt");
        if !done.exists() {
            println!("fetching an emulator and an arm64 kernel from Debian");
            fetch(&apt, &folder)?;
            build(&folder)?;
            fs::write(&done, versions(&folder)?)?;
        }
        Self::unpacked(&folder)
            .with_context(|| format!("{} is not whole; remove it and try again", folder.display()))
    }

    fn unpacked(folder: &Path) -> Result<Self> {
        let kernel = folder.join("kernel");
        let release = release(&kernel)?;
        let emulator = folder.join("qemu").join("usr/bin").join(EMULATOR_PROGRAM);
        let is_unpacked = emulator.exists();
        let library = |at: &str| folder.join("qemu").join(at).display().to_string();
        Ok(Self {
            emulator: if is_unpacked {
                emulator
            } else {
                EMULATOR_PROGRAM.into()
            },
            libraries: [
                library("usr/lib/x86_64-linux-gnu"),
                library("lib/x86_64-linux-gnu"),
            ]
            .join(":"),
            modules: kernel.join("lib/modules").join(&release),
            kernel: kernel.join("boot").join(format!("vmlinuz-{release}")),
            camera: module(&kernel)?,
            versions: fs::read_to_string(folder.join("packages.txt"))?,
            release,
        })
    }
}

/// apt with its own configuration, lists and cache.
struct Apt(PathBuf);

impl Apt {
    fn at(folder: &Path) -> Result<Self> {
        let config = folder.join("apt.conf");
        fs::create_dir_all(folder.join("state/lists/partial"))?;
        fs::create_dir_all(folder.join("cache/archives/partial"))?;
        let text = format!(
            "Dir::State \"{0}/state\";\nDir::Cache \"{0}/cache\";\n\
             APT::Architectures {{ \"amd64\"; \"arm64\"; }};\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nDebug::NoLocking \"true\";\n",
            folder.display()
        );
        fs::write(&config, text)?;
        Ok(Self(config))
    }

    fn command(&self, command: &str) -> Invocation {
        Invocation::new(command).env("APT_CONFIG", self.0.as_os_str())
    }

    /// The package that the metapackage `package` depends on and whose name begins with `begins`.
    fn dependency(&self, package: &str, begins: &str) -> Result<String> {
        let depends = self
            .command("apt-cache depends --important")
            .arg(package)
            .answer()
            .with_context(|| format!("apt knows no {package}"))?;
        let found = depends
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            // The name of a virtual package is in angle brackets.
            .map(|name| name.trim_matches(['<', '>']))
            .find(|name| name.starts_with(begins));
        let found = found.with_context(|| format!("{package} stands for no {begins}*"))?;
        Ok(found.to_owned())
    }

    /// Fetches packages to `folder`, and unpacks them to `to`.
    fn unpack(&self, packages: &[String], folder: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut download = self
            .command("apt-get --quiet --quiet download")
            .within(folder);
        for package in packages {
            download = download.arg(package);
        }
        if !download.succeeds()? {
            bail!("`{download}` failed");
        }
        let unpack = Invocation::new("sh -c")
            .arg(r#"set -e; for package in "$0"/*.deb; do dpkg -x "$package" "$1"; done"#)
            .path(folder)
            .path(to);
        match unpack.succeeds()? {
            true => Ok(()),
            false => bail!("`{unpack}` failed"),
        }
    }
}

fn fetch(apt: &Apt, folder: &Path) -> Result<()> {
    // A failed update is ignored: some sources have no arm64 packages. If the arm64 lists are
    // missing, the next command fails.
    apt.command("apt-get --quiet --quiet update").succeeds()?;
    let image = apt.dependency(&format!("{KERNEL}:arm64"), "linux-image-")?;
    let headers = apt.dependency(&format!("{HEADERS}:arm64"), "linux-headers-")?;
    let bare = headers.trim_end_matches(":arm64");
    let common = apt.dependency(&format!("{bare}:arm64"), "linux-headers-")?;
    let kbuild = apt.dependency(&format!("{bare}:arm64"), "linux-kbuild-")?;
    let arm = |name: &str| format!("{}:arm64", name.trim_end_matches(":arm64"));
    let kernel = [
        arm(&image),
        arm(&headers),
        common.trim_end_matches(":arm64").to_owned(),
        format!("{}:amd64", kbuild.split(':').next().unwrap_or(&kbuild)),
        CAMERA.to_owned(),
    ];
    apt.unpack(&kernel, &folder.join("debs/kernel"), &folder.join("kernel"))?;
    // Only those of the emulator's packages that are not installed on this machine.
    let missing = apt
        .command("apt-get install --simulate --no-install-recommends")
        .arg(EMULATOR)
        .answer()
        .with_context(|| format!("apt has no {EMULATOR}"))?;
    let missing: Vec<String> = missing
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    if !missing.is_empty() {
        apt.unpack(&missing, &folder.join("debs/qemu"), &folder.join("qemu"))?;
    }
    Ok(())
}

/// Builds the camera's module against the kernel's headers, as dkms would.
fn build(folder: &Path) -> Result<()> {
    let sources = folder.join("kernel/usr/src");
    let release = release(&folder.join("kernel"))?;
    let headers = sources.join(format!("linux-headers-{release}"));
    let makefile = headers.join("Makefile");
    let text = fs::read_to_string(&makefile).with_context(|| makefile.display().to_string())?;
    // The headers are not unpacked under /usr/src.
    let moved = text.replace(
        "include /usr/src/",
        &format!("include {}/", sources.display()),
    );
    fs::write(&makefile, moved)?;
    let built = Invocation::new("make --silent -C")
        .path(&headers)
        .arg(format!("M={}", camera_sources(&sources)?.display()))
        .arg("ARCH=arm64")
        .arg("CROSS_COMPILE=aarch64-linux-gnu-")
        .arg("modules");
    match built.succeeds()? {
        true => Ok(()),
        false => bail!("`{built}` failed"),
    }
}

fn camera_sources(sources: &Path) -> Result<PathBuf> {
    only(sources, "v4l2loopback-")
}

fn module(kernel: &Path) -> Result<PathBuf> {
    let module = camera_sources(&kernel.join("usr/src"))?.join("v4l2loopback.ko");
    match module.exists() {
        true => Ok(module),
        false => bail!("{} was not built", module.display()),
    }
}

fn release(kernel: &Path) -> Result<String> {
    let folder = only(&kernel.join("lib/modules"), "")?;
    let name = folder.file_name().context("no name")?;
    Ok(name.to_string_lossy().into_owned())
}

/// The only entry of `folder` whose name begins with `begins`.
fn only(folder: &Path, begins: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(begins))
        .map(|entry| entry.path())
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        _ => bail!("{}: not one {begins}*", folder.display()),
    }
}

/// The names of the fetched files, which contain the versions.
fn versions(folder: &Path) -> Result<String> {
    let mut names = Vec::new();
    for folder_name in ["debs/kernel", "debs/qemu"] {
        let Ok(entries) = fs::read_dir(folder.join(folder_name)) else {
            continue;
        };
        names.extend(entries.flatten().map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.trim_end_matches(".deb").replace("%3a", ":")
        }));
    }
    names.sort();
    Ok(names.join("\n") + "\n")
}
