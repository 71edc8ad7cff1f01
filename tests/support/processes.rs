//! Other processes, as /proc shows them.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "no test uses all of it, and tests fail by panicking"
)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::Pid;

/// The children of all threads of a process.
pub fn children(of: Pid) -> Vec<Pid> {
    let of = of.as_raw_nonzero();
    let Ok(tasks) = fs::read_dir(format!("/proc/{of}/task")) else {
        return Vec::new();
    };
    let lists =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let all = lists.collect::<Vec<_>>().join(" ");
    let ids = all.split_whitespace().filter_map(|id| id.parse().ok());
    ids.filter_map(Pid::from_raw).collect()
}

/// A process's name, truncated to 15 bytes.
pub fn comm(of: Pid) -> Option<String> {
    let of = of.as_raw_nonzero();
    let name = fs::read_to_string(format!("/proc/{of}/comm")).ok()?;
    Some(name.trim().to_owned())
}

/// A process's state letter in /proc; `None` if there is no such process.
pub fn state(of: Pid) -> Option<char> {
    let of = of.as_raw_nonzero();
    let stat = fs::read_to_string(format!("/proc/{of}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

/// Whether the process exists and is not a zombie.
pub fn lives(process: Pid) -> bool {
    !matches!(state(process), None | Some('Z' | 'X'))
}

/// All processes whose command line has an argument that contains `what`.
pub fn processes_with(what: &Path) -> Vec<Pid> {
    let argument = what.as_os_str().as_bytes();
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| {
            let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
            let has = line.split(|&byte| byte == 0).any(|word| word == argument);
            Pid::from_raw(id).filter(|_| has)
        })
        .collect()
}
