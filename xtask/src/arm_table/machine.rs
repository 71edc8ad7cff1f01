//! The emulated processors.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A processor of a Jetson, the nearest one that QEMU 7.2 emulates, and the nearest ones that LLVM
/// has scheduling models of.
#[derive(Debug, PartialEq)]
pub struct Machine {
    /// The name in the tables.
    pub name: &'static str,
    /// QEMU's `-cpu`.
    pub emulated: &'static str,
    /// The processor's part number at Arm, by which the other engines choose kernels.
    part: u32,
    /// Its features, as Linux names them.
    features: &'static str,
    /// LLVM's `-mcpu`.
    pub models: &'static [&'static str],
}

pub const MACHINES: [Machine; 3] = [
    Machine {
        name: "Cortex-A57 (Jetson Nano, TX1, TX2)",
        emulated: "cortex-a57",
        part: 0xd07,
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid",
        models: &["cortex-a57"],
    },
    // The A78AE is a relative of the A76 with the same instructions for networks. LLVM schedules
    // it as an A57; it lies between the Neoverse N1, an A76, and the N2, an A710.
    Machine {
        name: "Cortex-A78AE (Jetson Orin)",
        emulated: "cortex-a76",
        part: 0xd42,
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm \
                   lrcpc dcpop asimddp",
        models: &["neoverse-n1", "neoverse-n2"],
    },
    Machine {
        name: "Neoverse V3AE (Jetson Thor)",
        emulated: "max,sve-max-vq=1,sme=off",
        part: 0xd83,
        features: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm \
                   jscvt fcma lrcpc dcpop sha3 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm \
                   sb paca pacg dcpodp sve2 sveaes svepmull svebitperm svesha3 flagm2 frint svei8mm \
                   svebf16 i8mm bf16",
        models: &["neoverse-v3ae", "neoverse-v2"],
    },
];

impl Machine {
    /// Writes the files by which programs recognize the processor into the emulated root: QEMU
    /// shows an emulated program those of the host where the root has none. One processor, which has
    /// one thread.
    pub fn describe(&self, root: &Path) -> Result<()> {
        let cpus = root.join("sys/devices/system/cpu");
        let mut files = vec![(root.join("proc/cpuinfo"), self.cpuinfo())];
        for list in ["possible", "present", "online"] {
            files.push((cpus.join(list), "0\n".to_owned()));
        }
        for (file, text) in files {
            let folder = file.parent().unwrap_or(root);
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        Ok(())
    }

    fn cpuinfo(&self) -> String {
        format!(
            "processor\t: 0\nBogoMIPS\t: 62.50\nFeatures\t: {}\nCPU implementer\t: 0x41\n\
             CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: {:#x}\nCPU revision\t: 1\n\n",
            self.features, self.part
        )
    }
}
