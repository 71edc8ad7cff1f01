//! Identifies a process unambiguously: by its number, start time and boot.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// Names of the programs that run a guard: of a physical car, and of a simulated or dry-run car.
/// Both fit into the 15 bytes of comm (proc_pid_comm(5)).
const PROGRAMS: [&str; 2] = ["pilotage-guard", "pilotage"];

/// A guard's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessId {
    pid: Pid,
    /// Clock ticks after boot (proc_pid_stat(5), field 22).
    started: u64,
    /// /proc/sys/kernel/random/boot_id.
    boot: String,
}

impl ProcessId {
    /// This process.
    ///
    /// # Errors
    /// When /proc is not available.
    pub fn own() -> io::Result<Self> {
        let own = Self::of(rustix::process::getpid());
        own.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The process that currently has this number.
    pub fn of(pid: Pid) -> Option<Self> {
        Some(Self {
            pid,
            started: started(pid)?,
            boot: boot(),
        })
    }

    /// The process number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether a process with this number, start time and boot runs a guard's program.
    pub fn runs(&self) -> bool {
        same_boot(&self.boot, &boot()) && started(self.pid) == Some(self.started) && self.is_guard()
    }

    /// The user that the process runs as.
    pub fn owner(&self) -> Option<u32> {
        let metadata = fs::metadata(format!("/proc/{}", self.pid.as_raw_nonzero()));
        metadata.ok().map(|metadata| metadata.uid())
    }

    /// Checks the executable if it can be read, else the name of the process.
    fn is_guard(&self) -> bool {
        let pid = self.pid.as_raw_nonzero();
        if let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) {
            let name = program.file_name().and_then(|name| name.to_str());
            // The kernel marks a program that was replaced, for example by an upgrade.
            let name = name.map(|name| name.trim_end_matches(" (deleted)"));
            return name.is_some_and(|name| PROGRAMS.contains(&name));
        }
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        PROGRAMS.contains(&name.trim_end())
    }

    /// Kills the process, and waits up to `timeout` until it is gone. In a system call that cannot be
    /// interrupted it may live longer; it keeps its locks then, and taking them fails.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn kill(&self, timeout: Duration) -> Result<(), Errno> {
        // Open a descriptor of the process first: it stays bound to this process even if the number
        // is reused.
        let descriptor = match pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(descriptor) => Some(descriptor),
            Err(Errno::SRCH) => return Ok(()),
            // Kernels before 5.3 do not have pidfds.
            Err(_) => None,
        };
        if !self.runs() {
            return Ok(());
        }
        let sent = match &descriptor {
            Some(descriptor) => pidfd_send_signal(descriptor, Signal::KILL),
            None => kill_process(self.pid, Signal::KILL),
        };
        match sent {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error),
        }
        let until = Instant::now() + timeout;
        while self.runs() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match &descriptor {
                Some(descriptor) => {
                    let mut ended = [PollFd::new(descriptor, PollFlags::IN)];
                    let left = Timespec {
                        tv_sec: left.as_secs() as _,
                        tv_nsec: left.subsec_nanos().into(),
                    };
                    // The result is ignored: the loop checks next whether the process runs.
                    let _ = poll(&mut ended, Some(&left));
                }
                None => std::thread::sleep(Duration::from_micros(200)),
            }
        }
        Ok(())
    }
}

/// The boot id if it cannot be read, as with `ProcSubset=pid`.
const UNKNOWN: &str = "-";

fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.map_or_else(|_| UNKNOWN.to_owned(), |boot| boot.trim().to_owned())
}

fn same_boot(one: &str, other: &str) -> bool {
    one == UNKNOWN || other == UNKNOWN || one == other
}

/// The start time, field 22 of /proc/PID/stat; `None` for a process that is gone or a zombie.
fn started(pid: Pid) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The second field is the name in parentheses, which may contain any character.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.as_raw_nonzero();
        write!(f, "{pid} {} {}", self.started, self.boot)
    }
}

impl FromStr for ProcessId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut fields = text.split(' ');
        let mut next = || fields.next().ok_or(());
        let pid: i32 = next()?.parse().map_err(|_| ())?;
        if pid <= 0 {
            return Err(());
        }
        Ok(Self {
            pid: Pid::from_raw(pid).ok_or(())?,
            started: next()?.parse().map_err(|_| ())?,
            boot: next()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_id_survives_a_round_trip() {
        let own = ProcessId::own().unwrap();
        assert_eq!(own.to_string().parse(), Ok(own.clone()));
        assert_eq!("".parse::<ProcessId>(), Err(()));
        assert_eq!("0 1 -".parse::<ProcessId>(), Err(()));
        assert_eq!("-5 1 -".parse::<ProcessId>(), Err(()));
    }

    #[test]
    fn boots_differ_only_if_both_are_known() {
        let file = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(boot(), file.trim());
        for (one, other, same) in [
            ("a", "a", true),
            ("a", "b", false),
            (UNKNOWN, "b", true),
            ("a", UNKNOWN, true),
        ] {
            assert_eq!(same_boot(one, other), same, "{one} and {other}");
        }
    }

    #[test]
    fn another_program_is_not_the_guard() {
        // The test program's name is not that of a guard's program.
        let own = ProcessId::own().unwrap();
        assert_eq!(started(own.pid), Some(own.started));
        assert!(!own.runs());
        // The test process is not a guard, so it is not killed.
        assert_eq!(own.kill(Duration::ZERO), Ok(()));
    }
}
