//! Cycles of blocks of instructions by LLVM's scheduling models (llvm-mca).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use tooling::invocation::Invocation;

/// How often llvm-mca repeats each block.
const ITERATIONS: u32 = 200;

/// LLVM's tools.
pub struct Llvm {
    /// The folder into which Debian's packages are unpacked.
    folder: PathBuf,
}

/// The release whose packages are used. Its models differ from those of other releases.
pub const RELEASE: &str = "22";

impl Llvm {
    /// The tools under `folder`; fetches Debian's packages if they are not there.
    ///
    /// # Errors
    /// When apt cannot fetch the packages.
    pub fn fetched(folder: &Path) -> Result<Self> {
        let llvm = Self {
            folder: folder.to_path_buf(),
        };
        if llvm.tool("llvm-mca").arg("--version").answer().is_some() {
            return Ok(llvm);
        }
        println!("==> unpacking llvm-{RELEASE} in {}", folder.display());
        fs::create_dir_all(folder)?;
        let unpacked = Invocation::new("sh -c")
            .arg(format!(
                "apt-get download --quiet llvm-{RELEASE} libllvm{RELEASE} && \
                 for deb in *.deb; do dpkg-deb --extract \"$deb\" . && rm \"$deb\" || exit; done"
            ))
            .within(folder);
        ensure!(
            unpacked.succeeds()? && llvm.tool("llvm-mca").arg("--version").answer().is_some(),
            "apt cannot fetch llvm-{RELEASE}: run `apt-get update`, on Debian 12 or later"
        );
        Ok(llvm)
    }

    fn tool(&self, name: &str) -> Invocation {
        let usr = self.folder.join("usr/lib");
        let libraries = usr.join(format!("{}-linux-gnu", std::env::consts::ARCH));
        Invocation::of(&usr.join(format!("llvm-{RELEASE}/bin")).join(name))
            .env("LD_LIBRARY_PATH", libraries)
    }

    /// The version that the tools print, such as 22.1.8.
    pub fn version(&self) -> String {
        let text = self.tool("llvm-mca").arg("--version").answer();
        let text = text.unwrap_or_default();
        let mut words = text
            .split_whitespace()
            .skip_while(|&word| word != "version");
        words.nth(1).unwrap_or(RELEASE).to_owned()
    }

    /// The assembly of each distinct word.
    ///
    /// # Errors
    /// When a word is no instruction.
    pub fn disassemble<'a>(
        &self,
        words: impl Iterator<Item = &'a u32>,
        scratch: &Path,
    ) -> Result<HashMap<u32, String>> {
        let mut words: Vec<u32> = words.copied().collect();
        words.sort_unstable();
        words.dedup();
        let bytes = |word: &u32| {
            let [a, b, c, d] = word.to_le_bytes();
            format!("{a:#x} {b:#x} {c:#x} {d:#x}\n")
        };
        let file = scratch.join("words.txt");
        fs::write(&file, words.iter().map(bytes).collect::<String>())?;
        let command = self
            .tool("llvm-mc")
            .arg("--disassemble")
            .arg("-triple=aarch64")
            .arg("-mattr=+all")
            .path(&file);
        let text = command
            .answer()
            .with_context(|| format!("`{command}` failed"))?;
        let lines: Vec<String> = instructions(&text).collect();
        ensure!(
            lines.len() == words.len(),
            "`{command}` prints {} instructions for {} words",
            lines.len(),
            words.len()
        );
        Ok(words.into_iter().zip(lines).collect())
    }

    /// The cycles that each block takes, repeated again and again, on a core with this model.
    ///
    /// # Errors
    /// When llvm-mca fails, or leaves a block out.
    pub fn cycles(&self, model: &str, blocks: &[Vec<&str>], scratch: &Path) -> Result<Vec<f64>> {
        let file = scratch.join("blocks.s");
        fs::write(&file, regions(blocks))?;
        let command = self
            .tool("llvm-mca")
            .arg("-mtriple=aarch64")
            .arg(format!("-mcpu={model}"))
            .arg("-mattr=+all")
            .arg(format!("-iterations={ITERATIONS}"))
            // No model has the atomic operations of Armv8.1.
            .arg("--skip-unsupported-instructions=lack-sched")
            .arg("--json")
            .path(&file);
        let text = command
            .answer()
            .with_context(|| format!("`{command}` failed"))?;
        parse_cycles(&text, blocks.len()).with_context(|| format!("`{command}`"))
    }
}

/// The instructions of llvm-mc's output.
fn instructions(text: &str) -> impl Iterator<Item = String> {
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .map(|line| line.trim().replace('\t', " "))
        .filter(|line| !line.is_empty() && !line.starts_with('.'))
}

/// llvm-mca's input: a region for each block. Calls are left out: llvm-mca assumes 100 cycles for the
/// function that is called, whose blocks are counted by themselves.
fn regions(blocks: &[Vec<&str>]) -> String {
    let mut text = String::new();
    for (index, block) in blocks.iter().enumerate() {
        text.push_str(&format!("// LLVM-MCA-BEGIN {index}\n"));
        let kept: Vec<_> = block.iter().filter(|line| !is_call(line)).collect();
        for line in &kept {
            text.push_str(line);
            text.push('\n');
        }
        if kept.is_empty() {
            text.push_str("nop\n");
        }
        text.push_str("// LLVM-MCA-END\n");
    }
    text
}

fn is_call(line: &str) -> bool {
    let name = line.split_whitespace().next().unwrap_or_default();
    ["bl", "blr", "svc"].contains(&name) || name.starts_with("blra")
}

fn parse_cycles(json: &str, count: usize) -> Result<Vec<f64>> {
    let found: serde_json::Value = serde_json::from_str(json)?;
    let Some(regions) = found["CodeRegions"].as_array() else {
        bail!("there are no code regions in the output");
    };
    let mut cycles = vec![None; count];
    for region in regions {
        let index: usize = region["Name"].as_str().unwrap_or_default().parse()?;
        let summary = &region["SummaryView"];
        let number = |name: &str| {
            let number = summary[name].as_f64();
            number.with_context(|| format!("block {index} has no {name}"))
        };
        let slot = cycles
            .get_mut(index)
            .with_context(|| format!("there is no block {index}"))?;
        *slot = Some(number("TotalCycles")? / number("Iterations")?);
    }
    let all: Option<Vec<f64>> = cycles.into_iter().collect();
    all.context("a block is left out of the output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_are_those_of_one_iteration_in_the_order_of_the_blocks() {
        let region = |name: &str, cycles: u32| {
            format!(
                r#"{{"Name": "{name}", "SummaryView": {{"Iterations": 200, "TotalCycles": {cycles}}}}}"#
            )
        };
        let json = |regions: &[String]| format!(r#"{{"CodeRegions": [{}]}}"#, regions.join(","));
        let both = json(&[region("1", 500), region("0", 100)]);
        assert_eq!(parse_cycles(&both, 2).unwrap(), [0.5, 2.5]);
        assert!(parse_cycles(&both, 3).is_err());
        assert!(parse_cycles(&both, 1).is_err());
        assert!(parse_cycles("{}", 0).is_err());
    }

    #[test]
    fn calls_are_left_out_of_regions() {
        let text = regions(&[vec!["add x0, x0, x1", "bl #64"], vec!["blr x8"]]);
        let expected = "// LLVM-MCA-BEGIN 0\nadd x0, x0, x1\n// LLVM-MCA-END\n\
            // LLVM-MCA-BEGIN 1\nnop\n// LLVM-MCA-END\n";
        assert_eq!(text, expected);
        assert!(!is_call("b.lt #8") && !is_call("bls x0"));
    }

    #[test]
    fn the_disassembler_prints_directives_and_comments() {
        let text = "\t.text\n\tsdot\tv0.4s, v1.16b, v2.16b\n\tmov\tx0, #1 // =0x1\n\n";
        let found: Vec<_> = instructions(text).collect();
        assert_eq!(found, ["sdot v0.4s, v1.16b, v2.16b", "mov x0, #1"]);
    }
}
