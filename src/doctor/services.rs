//! The device nodes that pilotage.service lets the pilot open.
//!
//! systemd compares the NAME of `DeviceAllow=char-NAME` with the names in /proc/devices
//! (systemd.resource-control(5)). A Jetson's GPU is registered there under the name of its platform
//! device, such as `17000000.gpu`, which differs between Jetsons.

use std::fs;
use std::io;
use std::path::Path;

use super::{Finding, Level, System};

/// The unit as shipped.
const UNIT: &str = include_str!("../../systemd/pilotage.service");
/// The place of the unit on a machine with the package.
const INSTALLED: &str = "/lib/systemd/system/pilotage.service";
/// Drop-ins of the unit.
const DROP_INS: &str = "/etc/systemd/system/pilotage.service.d";
/// The drop-in that [`write_devices`] writes.
pub const DROP_IN: &str = "/etc/systemd/system/pilotage.service.d/gpu-devices.conf";
const PART: &str = "services";

/// Prefixes of the nodes of NVIDIA's drivers in /dev, and folders of such nodes.
const NODES: [&str; 5] = ["nvhost", "nvgpu", "nvmap", "nvidia", "nvsciipc"];
const FOLDERS: [&str; 3] = ["/dev/dri", "/dev/nvgpu", "/dev/nvidia-caps"];

/// A character device and the names in /proc/devices of its major number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    path: String,
    names: Vec<String>,
}

/// The nodes that `unit`, the text of a unit and its drop-ins, does not allow.
fn refused(unit: &str, nodes: &[Node]) -> Vec<Node> {
    let allowed: Vec<&str> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("DeviceAllow="))
        .filter_map(|allowed| allowed.split_whitespace().next())
        .collect();
    let is_allowed = |node: &Node| {
        allowed.iter().any(|allowed| {
            let by_name = allowed.strip_prefix("char-").is_some_and(|pattern| {
                let mut names = node.names.iter();
                names.any(|name| matches(pattern, name))
            });
            by_name || *allowed == node.path
        })
    };
    let nodes = nodes.iter().filter(|node| !is_allowed(node));
    nodes.cloned().collect()
}

/// Whether `name` fits `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    let mut ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
    ends.any(|at| matches(rest, &name[at..]))
}

/// The names of a major number in the text of /proc/devices.
fn names(devices: &str, major: u32) -> Vec<String> {
    let characters = devices
        .lines()
        .take_while(|line| !line.starts_with("Block devices"));
    let named = characters.filter_map(|line| {
        let (number, name) = line.trim().split_once(' ')?;
        (number.parse() == Ok(major)).then(|| name.trim().to_owned())
    });
    named.collect()
}

/// The major number that misc devices share: allowing it by name would allow all of them.
const MISC: &str = "misc";

/// The drop-in that allows `nodes`.
fn drop_in(nodes: &[Node]) -> String {
    let mut text = "# The nodes of this machine's GPU that pilotage.service does not name, by \
                    `pilotage doctor --write-devices`.\n[Service]\n"
        .to_owned();
    let mut lines: Vec<String> = nodes
        .iter()
        .map(|node| match node.names.first() {
            // A space would end the name.
            Some(name) if name != MISC && !name.contains(char::is_whitespace) => {
                format!("DeviceAllow=char-{name} rw\n")
            }
            _ => format!("DeviceAllow={} rw\n", node.path),
        })
        .collect();
    lines.sort();
    lines.dedup();
    text.extend(lines);
    text
}

/// The nodes of NVIDIA's drivers on this machine.
fn nodes(system: &System) -> Vec<Node> {
    let devices = system.text("/proc/devices").unwrap_or_default();
    let in_dev = NODES.iter().flat_map(|start| {
        let names = system.names("/dev", start).into_iter();
        names.map(|name| format!("/dev/{name}"))
    });
    let deeper = FOLDERS
        .iter()
        .flat_map(|folder| system.below_folder(folder));
    in_dev
        .chain(deeper)
        .filter_map(|path| {
            let major = system.major(&path)?;
            Some(Node {
                names: names(&devices, major),
                path,
            })
        })
        .collect()
}

/// The text of the unit's drop-ins but for the one that is written here.
fn other_drop_ins(system: &System) -> String {
    let files = system.names(DROP_INS, "").into_iter();
    let files = files.map(|name| format!("{DROP_INS}/{name}"));
    let files = files.filter(|path| path.ends_with(".conf") && path != DROP_IN);
    let texts = files.filter_map(|path| system.text(&path));
    texts.map(|text| format!("{text}\n")).collect()
}

/// Whether the service may open all nodes of the GPU; `None` on a machine without the service or
/// without such nodes.
pub(super) fn finding(system: &System, missing: Level) -> Option<Finding> {
    let unit = system.text(INSTALLED)?;
    let nodes = nodes(system);
    if nodes.is_empty() {
        return None;
    }
    let own = system.text(DROP_IN).unwrap_or_default();
    let text = format!("{unit}\n{}{own}\n", other_drop_ins(system));
    let refused = refused(&text, &nodes);
    Some(match &refused[..] {
        [] => Finding::fine(
            PART,
            format!("pilotage.service may open the GPU's {} nodes", nodes.len()),
        ),
        refused => {
            let paths: Vec<&str> = refused.iter().map(|node| node.path.as_str()).collect();
            Finding::wrong(
                PART,
                missing,
                format!("pilotage.service may not open {}", paths.join(", ")),
                "sudo pilotage doctor --write-devices && sudo systemctl daemon-reload && sudo \
                 systemctl restart pilotage",
            )
        }
    })
}

/// Writes the drop-in that lets pilotage.service open the nodes of this machine's GPU that the unit
/// does not name, or removes it if there are none. Returns the paths of these nodes.
///
/// # Errors
/// When the drop-in cannot be written: only root may.
pub fn write_devices(system: &System) -> io::Result<Vec<String>> {
    let unit = format!("{UNIT}\n{}", other_drop_ins(system));
    let refused = refused(&unit, &nodes(system));
    let file = system.path(DROP_IN);
    if refused.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(Vec::new()),
        };
    }
    write(&file, &drop_in(&refused))?;
    Ok(refused.into_iter().map(|node| node.path).collect())
}

/// Writes a file as a whole or not at all.
fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // systemd ignores files that do not end in .conf.
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// /proc/devices of a Jetson, composed from the drivers' sources: nvgpu registers
    /// `dev_name(dev)` (os/linux/ioctl.c), nvmap is a misc device.
    const DEVICES: &str = "\
Character devices:
  1 mem
 10 misc
226 drm
242 nvhost
506 17000000.gpu
507 nvidia gpu of tomorrow
508 tomorrow.gpu2

Block devices:
506 sd
";

    fn node(path: &str, names: &[&str]) -> Node {
        Node {
            path: path.to_owned(),
            names: names.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn names_are_those_of_character_devices() {
        assert_eq!(names(DEVICES, 506), ["17000000.gpu"]);
        assert_eq!(names(DEVICES, 507), ["nvidia gpu of tomorrow"]);
        assert!(names(DEVICES, 8).is_empty());
        assert!(names("no list", 8).is_empty());
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("*.gpu", "17000000.gpu", true),
            ("*.gpu", "17000000.gpu2", false),
            ("nvhost*", "nvhost", true),
            ("nvhost*", "17000000.gpu", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("drm", "drm", true),
            ("drm", "drmx", false),
            ("*", "é", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    /// The names under which nvgpu registers the GPUs of the Jetsons: "ADDRESS.NAME" of the device
    /// tree (57000000.gpu is a Nano's, the others those of TX2, Xavier and Orin).
    #[test]
    fn the_unit_allows_the_gpus_of_known_jetsons() {
        for name in [
            "57000000.gpu",
            "17000000.gp10b",
            "17000000.gv11b",
            "17000000.ga10b",
            "17000000.gpu",
            "nvhost",
            "drm",
        ] {
            let nodes = [node("/dev/nvhost-gpu", &[name])];
            assert!(refused(UNIT, &nodes).is_empty(), "{name}");
        }
        let by_path = [node("/dev/nvmap", &["misc"])];
        assert!(refused(UNIT, &by_path).is_empty());
        let new = [node("/dev/nvgpu/igpu0/as", &["tomorrow.gpu2"])];
        assert_eq!(refused(UNIT, &new), new);
    }

    #[test]
    fn a_drop_in_allows_what_the_unit_does_not() {
        let nodes = [
            node("/dev/nvgpu/igpu0/as", &["tomorrow.gpu2"]),
            node("/dev/nvgpu/igpu0/ctrl", &["tomorrow.gpu2"]),
            // By path: by name, all misc devices would be allowed.
            node("/dev/nvsci-new", &["misc"]),
            node("/dev/nvidia9", &["nvidia gpu of tomorrow"]),
            node("/dev/nvidia10", &[]),
        ];
        let refused_nodes = refused(UNIT, &nodes);
        let text = drop_in(&refused_nodes);
        assert!(!text.contains("char-misc"), "{text}");
        assert_eq!(text.matches("char-tomorrow.gpu2").count(), 1, "{text}");
        let both = format!("{UNIT}\n{text}");
        assert!(refused(&both, &nodes).is_empty(), "{text}");
    }

    /// Without device nodes, which only root can make, nothing is to be allowed.
    #[test]
    fn an_old_drop_in_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let system = System::below(root.path());
        assert!(write_devices(&system).unwrap().is_empty());
        let file = system.path(DROP_IN);
        write(&file, "[Service]\n").unwrap();
        // Files are no devices.
        let folder = root.path().join("dev/nvgpu/igpu0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("as"), "").unwrap();
        assert!(write_devices(&system).unwrap().is_empty());
        assert!(!file.exists());
        assert!(finding(&system, Level::Warning).is_none());
    }
}
