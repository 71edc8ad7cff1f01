//! What the QEMU plugin of benches/peers/blocks.c writes, and the difference of two runs.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};

/// How often each block of a program ran. A block is the instructions, as words of A64.
#[derive(Debug, Default, PartialEq)]
pub struct Profile(HashMap<Vec<u32>, u64>);

/// A block of instructions, and how often one inference executes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    pub words: Vec<u32>,
    pub executions: f64,
}

impl Block {
    /// The instructions of one inference in this block.
    pub fn instructions(&self) -> f64 {
        self.executions * self.words.len() as f64
    }
}

/// A line of the plugin's file.
#[derive(Debug, PartialEq)]
struct Translated {
    executions: u64,
    address: u64,
    words: Vec<u32>,
}

impl Translated {
    /// Executions in decimal, then the address and the words in hexadecimal.
    fn parse(line: &str) -> Result<Self> {
        let mut fields = line.split(' ');
        let executions = fields.next().unwrap_or_default().parse()?;
        let address = u64::from_str_radix(fields.next().unwrap_or_default(), 16)?;
        let words = fields
            .map(|word| u32::from_str_radix(word, 16))
            .collect::<Result<Vec<_>, _>>()?;
        ensure!(!words.is_empty(), "a block has no instructions");
        Ok(Self {
            executions,
            address,
            words,
        })
    }

    fn end(&self) -> u64 {
        self.address + 4 * self.words.len() as u64
    }

    /// Whether QEMU ended the block before a branch: at the end of a page, or where it is too long.
    fn is_cut(&self) -> bool {
        // Branches, exceptions and system instructions: bits 28 to 26 are 101.
        self.words.last().is_some_and(|word| word >> 26 & 7 != 5)
    }
}

impl Profile {
    /// Parses the plugin's file: a line for each block, and `end`. Blocks that QEMU cut are joined.
    pub fn parse(text: &str) -> Result<Self> {
        let mut blocks: BTreeMap<u64, Vec<Translated>> = BTreeMap::new();
        let mut ended = false;
        for (number, line) in text.lines().enumerate() {
            ensure!(!ended, "line {}: there are lines after `end`", number + 1);
            if line == "end" {
                ended = true;
                continue;
            }
            let block = Translated::parse(line)
                .with_context(|| format!("line {}: `{line}`", number + 1))?;
            blocks.entry(block.address).or_default().push(block);
        }
        ensure!(
            ended,
            "the counts end early: the emulated program was killed"
        );
        let mut counts = HashMap::new();
        while let Some((_, here)) = blocks.pop_first() {
            for mut block in here {
                while block.is_cut()
                    && let Some(next) = blocks.get_mut(&block.end())
                    && let Some(index) = next
                        .iter()
                        .position(|next| next.executions == block.executions)
                {
                    block.words.extend(next.swap_remove(index).words);
                }
                *counts.entry(block.words).or_insert(0) += block.executions;
            }
        }
        Ok(Self(counts))
    }

    /// The blocks of one inference, those with the most instructions first: `longer` is a run of
    /// `inferences` more than this run. Blocks that ran no more often are left out.
    pub fn per_inference(&self, longer: &Self, inferences: u64) -> Result<Vec<Block>> {
        ensure!(
            inferences > 0,
            "two runs of equal length have no difference"
        );
        let mut blocks = Vec::new();
        for (words, &executions) in &longer.0 {
            let shorter = self.0.get(words).copied().unwrap_or(0);
            if executions > shorter {
                blocks.push(Block {
                    words: words.clone(),
                    executions: (executions - shorter) as f64 / inferences as f64,
                });
            }
        }
        if blocks.is_empty() {
            bail!("the longer run executed no more instructions than the shorter one");
        }
        blocks.sort_by(|a, b| {
            let order = b.instructions().total_cmp(&a.instructions());
            order.then_with(|| a.words.cmp(&b.words))
        });
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: &str = "10 40 8b010000 d65f03c0\n7 80 8b010000\nend\n";
    const LONG: &str = "18 40 8b010000 d65f03c0\n7 80 8b010000\n4 90 0b010000\nend\n";

    #[test]
    fn an_inference_is_the_difference_of_two_runs() {
        let (short, long) = (
            Profile::parse(SHORT).unwrap(),
            Profile::parse(LONG).unwrap(),
        );
        let blocks = short.per_inference(&long, 4).unwrap();
        let found: Vec<_> = blocks
            .iter()
            .map(|block| (block.words.as_slice(), block.executions))
            .collect();
        assert_eq!(
            found,
            [
                ([0x8b01_0000, 0xd65f_03c0].as_slice(), 2.0),
                ([0x0b01_0000].as_slice(), 1.0)
            ]
        );
        assert_eq!(blocks[0].instructions(), 4.0);
        assert!(long.per_inference(&short, 4).is_err());
        assert!(short.per_inference(&long, 0).is_err());
    }

    #[test]
    fn equal_blocks_are_added() {
        let twice = Profile::parse("3 40 d65f03c0\n4 80 d65f03c0\nend\n").unwrap();
        assert_eq!(twice, Profile::parse("7 0 d65f03c0\nend\n").unwrap());
    }

    #[test]
    fn blocks_that_were_cut_are_joined() {
        let parse = |text| Profile::parse(text).unwrap();
        let whole = parse("5 ff8 8b010000 8b020000 8b030000 d65f03c0\nend\n");
        let cut = "5 ff8 8b010000 8b020000\n5 1000 8b030000\n5 1004 d65f03c0\nend\n";
        assert_eq!(parse(cut), whole);
        // The part behind is also reached from elsewhere, or the part before ends with a branch.
        for text in [
            "5 ff8 8b010000 8b020000\n6 1000 8b030000 d65f03c0\nend\n",
            "5 ff8 8b010000 54ffffe1\n5 1000 8b030000 d65f03c0\nend\n",
            "5 ff8 8b010000 8b020000\n5 1004 8b030000 d65f03c0\nend\n",
        ] {
            assert_eq!(parse(text).0.len(), 2, "{text}");
        }
    }

    #[test]
    fn damaged_counts_are_refused() {
        for (text, says) in [
            ("10 40 d503201f\n", "end early"),
            ("end\n1 40 d503201f\n", "after `end`"),
            ("10 40\nend\n", "no instructions"),
            ("10 40 xyz\nend\n", "line 1"),
            ("-1 40 d503201f\nend\n", "line 1"),
            ("10\nend\n", "line 1"),
        ] {
            let error = format!("{:#}", Profile::parse(text).unwrap_err());
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
