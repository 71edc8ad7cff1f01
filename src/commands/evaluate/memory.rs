//! The memory of this process.

/// The anonymous resident memory of this process in bytes: what the kernel cannot drop and read
/// again from a file (`RssAnon` of `/proc/self/status`, proc_pid_status(5)). `None` if the kernel
/// does not report it: it is older than 4.5.
pub(super) fn anonymous() -> Option<u64> {
    parsed(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parsed(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kibibytes = line.trim().strip_suffix("kB")?.trim();
    kibibytes.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tx\nVmRSS:\t    9 kB\nRssAnon:\t  1234 kB\nRssFile:\t 5 kB\n";
        assert_eq!(parsed(status), Some(1234 * 1024));
        assert_eq!(parsed("RssAnon:\t many kB\n"), None);
        assert_eq!(parsed(""), None);
        let before = anonymous().unwrap();
        let block = std::hint::black_box(vec![1_u8; 32 << 20]);
        assert!(anonymous().unwrap() >= before + (30 << 20));
        drop(block);
    }
}
