//! The guest's disk, and the initrd that its kernel boots.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::packages::Packages;
use crate::arm_root::ArmRoot;
use tooling::checkout::Checkout;
use tooling::invocation::Invocation;

/// The modules that the kernel needs to mount its disk.
const DISK: [&str; 3] = ["virtio_pci", "virtio_blk", "ext4"];
/// The module that provides ext4's checksums. It is a soft dependency, which `depends=` of ext4
/// does not list.
const CHECKSUMS: &str = "crc32c_generic";
/// The modules that the rig needs.
const RIG: [&str; 8] = [
    "virtio_console",
    "vhci-hcd",
    "i2c-tiny-usb",
    "i2c-dev",
    "videodev",
    "i6300esb",
    "evdev",
    "uinput",
];

const DISK_SIZE: &str = "1500M";

/// The service that starts the rig before guard and pilot look for bus and camera: on a real car,
/// both exist when its computer starts.
const SERVICE: &str = "\
[Unit]
Description=The virtual car around this computer
Before=pilotage-guard.service pilotage.service
[Service]
Type=notify
RuntimeDirectory=rig
ExecStartPre=/bin/tar --extract --file=/dev/vdb --directory=/run/rig
ExecStart=/run/rig/rig /run/rig
TimeoutStartSec=300
OOMScoreAdjust=-1000
StandardOutput=journal+console
StandardError=journal+console
[Install]
WantedBy=multi-user.target
";

/// Services that a car does not need, and that would slow the emulated one down.
const MASKED: [&str; 8] = [
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-timesyncd.service",
    "getty@tty1.service",
    "serial-getty@ttyAMA0.service",
];

/// The files that a guest boots from.
pub struct Image {
    /// The disk, without Pilotage.
    pub disk: PathBuf,
    /// The initrd, in which the rig is the init program.
    pub initrd: PathBuf,
}

impl Image {
    /// Makes the initrd, and the disk unless it is up to date.
    ///
    /// # Errors
    /// When the root file system, the disk or the initrd cannot be made.
    pub fn ready(checkout: &Checkout, packages: &Packages, rig: &Path) -> Result<Self> {
        let folder = checkout.root().join("target/virtual-car");
        let image = Self {
            disk: folder.join("base.img"),
            initrd: folder.join("initrd.cpio"),
        };
        fs::write(&image.initrd, initrd(packages, rig)?)?;
        let root = ArmRoot::made(checkout)?;
        let stamp = folder.join("base.txt");
        let made_of = format!(
            "{SERVICE}{RIG:?}{MASKED:?}{DISK_SIZE}{}{:?}",
            packages.versions,
            fs::metadata(root.archive())?.modified()?
        );
        let up_to_date = fs::read_to_string(&stamp).is_ok_and(|there| there == made_of);
        if !up_to_date || !image.disk.exists() {
            println!("making the guest's disk");
            let tree = folder.join("root");
            root.unpack(&tree)?;
            install_rig(&tree, packages, &folder)?;
            pack(&tree, &image.disk)?;
            fs::write(&stamp, made_of)?;
        }
        Ok(image)
    }
}

/// Copies the rig's modules and its service into the root file system, whose files belong to root.
fn install_rig(tree: &Path, packages: &Packages, folder: &Path) -> Result<()> {
    let overlay = folder.join("overlay");
    if overlay.exists() {
        fs::remove_dir_all(&overlay)?;
    }
    let modules = overlay.join("lib/modules").join(&packages.release);
    fs::create_dir_all(&modules)?;
    let mut list = String::new();
    for source in with_dependencies(packages, &RIG)? {
        let name = source.file_name().context("a module without a name")?;
        fs::copy(&source, modules.join(name))?;
        let inside = Path::new("/lib/modules").join(&packages.release).join(name);
        list.push_str(&format!("{}\n", inside.display()));
    }
    fs::copy(&packages.camera, modules.join("v4l2loopback.ko"))?;
    list.push_str(&format!(
        "/lib/modules/{}/v4l2loopback.ko exclusive_caps=1 video_nr=0 card_label=camera\n",
        packages.release
    ));
    fs::write(overlay.join("lib/modules/rig.txt"), list)?;
    let units = overlay.join("etc/systemd/system");
    let wants = units.join("multi-user.target.wants");
    fs::create_dir_all(&wants)?;
    fs::write(units.join("rig.service"), SERVICE)?;
    std::os::unix::fs::symlink("../rig.service", wants.join("rig.service"))?;
    for unit in MASKED {
        std::os::unix::fs::symlink("/dev/null", units.join(unit))?;
    }
    fs::write(overlay.join("etc/hostname"), "car\n")?;
    // In the root, lib is a link to usr/lib, and has to stay one.
    let script = r#"set -e; cp -r "$0"/lib/modules "$1"/usr/lib/; cp -a "$0"/etc "$1"/
        chown -R 0:0 "$1"/usr/lib/modules "$1"/etc/systemd/system"#;
    match Invocation::privileged(script)
        .path(&overlay)
        .path(tree)
        .succeeds()?
    {
        true => Ok(()),
        false => bail!(
            "the rig cannot be installed in the guest's root file system; see the output above"
        ),
    }
}

/// Makes a disk image from the tree, and removes the tree.
fn pack(tree: &Path, disk: &Path) -> Result<()> {
    let script = format!(
        r#"set -e; rm -f "$1"; PATH=$PATH:/sbin:/usr/sbin
        mke2fs -q -t ext4 -E lazy_itable_init=1 -d "$0" "$1" {DISK_SIZE}
        chmod 666 "$1"; rm -rf "$0""#
    );
    match Invocation::privileged(&script)
        .path(tree)
        .path(disk)
        .succeeds()?
    {
        true => Ok(()),
        false => bail!(
            "mke2fs failed to make a disk of {}; see its output above",
            tree.display()
        ),
    }
}

/// The files of `modules`, each after the modules that it depends on.
fn with_dependencies(packages: &Packages, modules: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for module in modules {
        add_with_dependencies(packages, module, &mut seen, &mut files)?;
    }
    Ok(files)
}

fn add_with_dependencies(
    packages: &Packages,
    module: &str,
    seen: &mut BTreeSet<String>,
    files: &mut Vec<PathBuf>,
) -> Result<()> {
    let name = module.replace('-', "_");
    if !seen.insert(name.clone()) {
        return Ok(());
    }
    let Some(file) = find(&packages.modules, &name) else {
        bail!("the kernel has no module {module}");
    };
    let bytes = fs::read(&file)?;
    for dependency in dependencies(&bytes) {
        add_with_dependencies(packages, &dependency, seen, files)?;
    }
    files.push(file);
    Ok(())
}

/// The modules that a module depends on: `depends=` of its .modinfo.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let text = &module[at + KEY.len()..];
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&text[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    entries.flatten().find_map(|entry| {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            return find(&path, name);
        }
        let stem = path.file_name()?.to_str()?.strip_suffix(".ko")?;
        (stem.replace('-', "_") == name).then(|| path.clone())
    })
}

/// The initrd: the rig as init, the modules for the disk, and a console for errors.
fn initrd(packages: &Packages, rig: &Path) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    let mut modules = with_dependencies(packages, &DISK)?;
    if let Some(checksums) = find(&packages.modules, CHECKSUMS) {
        modules.insert(0, checksums);
    }
    let program = fs::read(rig).with_context(|| rig.display().to_string())?;
    entry(&mut archive, "init", 0o100_755, 0, &program)?;
    entry(&mut archive, "dev", 0o040_755, 0, &[])?;
    // Character device 5, 1.
    entry(&mut archive, "dev/console", 0o020_600, 0x501, &[])?;
    let mut list = String::new();
    for module in modules {
        let name = module.file_name().context("a module without a name")?;
        let name = name.to_string_lossy();
        entry(&mut archive, &name, 0o100_644, 0, &fs::read(&module)?)?;
        list.push_str(&format!("/{name}\n"));
    }
    entry(&mut archive, "modules.txt", 0o100_644, 0, list.as_bytes())?;
    entry(&mut archive, "TRAILER!!!", 0, 0, &[])?;
    Ok(archive)
}

/// Appends an entry to a cpio archive, in the format that the kernel reads: see its
/// Documentation/driver-api/early-userspace/buffer-format.rst.
fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, device: u32, content: &[u8]) -> Result<()> {
    let length = u32::try_from(content.len()).context("too long for a cpio archive")?;
    let number = archive.len() as u32;
    let (major, minor) = (device >> 8, device & 0xFF);
    write!(archive, "070701")?;
    let links = 1;
    for field in [number, mode, 0, 0, links, 0, length, 0, 0, major, minor] {
        write!(archive, "{field:08X}")?;
    }
    write!(archive, "{:08X}00000000{name}\0", name.len() + 1)?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
    Ok(())
}

/// Packs `files` of the host, each under its name, in a tar archive in `folder` that is the guest's
/// second disk. Returns the archive's path.
///
/// # Errors
/// When a file cannot be read, or the archive cannot be written.
pub fn payload(folder: &Path, files: &[(&str, &Path)]) -> Result<PathBuf> {
    let tree = folder.join("payload");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(&tree)?;
    for (name, file) in files {
        fs::copy(file, tree.join(name)).with_context(|| file.display().to_string())?;
    }
    let archive = folder.join("payload.tar");
    let packed = Invocation::new("tar --create --file")
        .path(&archive)
        .arg("--directory")
        .path(&tree)
        .arg(".");
    if !packed.succeeds()? {
        bail!("`{packed}` failed");
    }
    // Rounded up to 1 MiB, because a disk consists of whole sectors. tar stops at the archive's
    // end.
    let length = fs::metadata(&archive)?.len();
    File::options()
        .write(true)
        .open(&archive)?
        .set_len(length.next_multiple_of(1 << 20))?;
    Ok(archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_needs() {
        let module = b"license=GPL\0depends=virtio,virtio_ring\0name=virtio_blk\0";
        assert_eq!(dependencies(module), ["virtio", "virtio_ring"]);
        assert!(dependencies(b"\0depends=\0x").is_empty());
        assert!(dependencies(b"nothing").is_empty());
    }

    #[test]
    fn entries_begin_at_multiples_of_four() {
        let mut archive = Vec::new();
        entry(&mut archive, "init", 0o100_755, 0, b"abcde").unwrap();
        let first = archive.len();
        assert_eq!(first % 4, 0);
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[54..62], b"00000005", "the content's length");
        assert_eq!(&archive[110..115], b"init\0");
        assert!(archive[116..].starts_with(b"abcde"));
    }
}
