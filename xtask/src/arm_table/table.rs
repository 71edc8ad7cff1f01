//! The tables, from what was counted.

use super::blocks::Block;
use super::instruction::{Class, class, multiply_adds};

/// One engine on one processor.
#[derive(Debug)]
pub struct Counted {
    pub machine: &'static str,
    pub precision: &'static str,
    pub engine: &'static str,
    /// The blocks of one inference, those with the most instructions first.
    pub blocks: Vec<Block>,
    /// One for each of the machine's models.
    pub estimates: Vec<Estimate>,
}

/// Cycles by a model.
#[derive(Debug)]
pub struct Estimate {
    pub model: &'static str,
    /// Cycles of one execution of each of the first blocks; fewer than there are blocks.
    pub cycles: Vec<f64>,
    /// Cycles of the hottest loop's multiply-adds alone.
    pub bound: f64,
}

/// The engine that the others are compared with.
pub const REFERENCE: &str = "ONNX Runtime";

impl Counted {
    /// Instructions of one inference.
    pub fn instructions(&self) -> f64 {
        self.blocks.iter().map(Block::instructions).sum()
    }

    /// The share of a class of instructions.
    fn share(&self, of: Class) -> f64 {
        let per_block = |block: &Block| {
            let count = block
                .words
                .iter()
                .filter(|&&word| class(word) == of)
                .count();
            block.executions * count as f64
        };
        self.blocks.iter().map(per_block).sum::<f64>() / self.instructions()
    }

    /// Multiply-adds of one inference, on padding too.
    fn multiply_adds(&self) -> f64 {
        let per_block = |block: &Block| block.executions * block_multiply_adds(block) as f64;
        self.blocks.iter().map(per_block).sum()
    }

    /// The block in which most of the multiply-adds are.
    pub fn hottest(&self) -> usize {
        let weight = |block: &Block| block.executions * block_multiply_adds(block) as f64;
        let mut hottest = 0;
        for (index, block) in self.blocks.iter().enumerate() {
            if weight(block) > weight(&self.blocks[hottest]) {
                hottest = index;
            }
        }
        hottest
    }

    /// Cycles of one inference by a model: those of the blocks that it has, and the other
    /// instructions at the same rate.
    fn cycles(&self, estimate: &Estimate) -> f64 {
        let known = || self.blocks.iter().zip(&estimate.cycles);
        let cycles: f64 = known()
            .map(|(block, cycles)| block.executions * cycles)
            .sum();
        let instructions: f64 = known().map(|(block, _)| block.instructions()).sum();
        cycles * self.instructions() / instructions
    }
}

/// The multiply-adds of one execution of a block.
pub fn block_multiply_adds(block: &Block) -> u64 {
    block.words.iter().map(|&word| multiply_adds(word)).sum()
}

/// The number of first blocks that have `share` of all instructions.
pub fn most_of(blocks: &[Block], share: f64) -> usize {
    let all: f64 = blocks.iter().map(Block::instructions).sum();
    let mut sum = 0.0;
    for (index, block) in blocks.iter().enumerate() {
        sum += block.instructions();
        if sum >= share * all {
            return index + 1;
        }
    }
    blocks.len()
}

/// The tables in Markdown. `needed` is the number of multiply-adds that the network has.
pub fn markdown(rows: &[Counted], needed: f64) -> String {
    [
        instructions(rows, needed),
        cycles(rows, needed),
        loops(rows),
    ]
    .join("\n")
}

fn instructions(rows: &[Counted], needed: f64) -> String {
    let mut lines = vec![
        "| processor | precision | engine | instructions, millions | of ONNX Runtime | vector | load \
         | store | multiply-adds, of the needed | multiply-adds an instruction |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let count = row.instructions();
        let percent = |class| format!("{:.0} %", 100.0 * row.share(class));
        lines.push(line(&[
            row.machine.to_owned(),
            row.precision.to_owned(),
            row.engine.to_owned(),
            format!("{:.2}", count / 1e6),
            ratio(count, reference(rows, row).map(Counted::instructions)),
            percent(Class::Vector),
            percent(Class::Load),
            percent(Class::Store),
            format!("{:.2}", row.multiply_adds() / needed),
            format!("{:.2}", needed / count),
        ]));
    }
    lines.join("\n") + "\n"
}

fn cycles(rows: &[Counted], needed: f64) -> String {
    let mut lines = vec![
        "| processor | model | precision | engine | cycles, thousands | of ONNX Runtime | \
         multiply-adds a cycle |"
            .to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        for estimate in &row.estimates {
            let cycles = row.cycles(estimate);
            let other = reference(rows, row).and_then(|other| {
                let same = |one: &&Estimate| one.model == estimate.model;
                let found = other.estimates.iter().find(same)?;
                Some(other.cycles(found))
            });
            lines.push(line(&[
                row.machine.to_owned(),
                estimate.model.to_owned(),
                row.precision.to_owned(),
                row.engine.to_owned(),
                format!("{:.0}", cycles / 1e3),
                ratio(cycles, other),
                format!("{:.1}", needed / cycles),
            ]));
        }
    }
    lines.join("\n") + "\n"
}

fn loops(rows: &[Counted]) -> String {
    let mut lines = vec![
        "| model | precision | engine | of its multiply-adds | instructions | multiply-adds | cycles \
         | multiply-adds a cycle | of the bound |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let hottest = row.hottest();
        let block = &row.blocks[hottest];
        let made = block_multiply_adds(block) as f64;
        for estimate in &row.estimates {
            let Some(&cycles) = estimate.cycles.get(hottest) else {
                continue;
            };
            lines.push(line(&[
                estimate.model.to_owned(),
                row.precision.to_owned(),
                row.engine.to_owned(),
                format!(
                    "{:.0} %",
                    100.0 * made * block.executions / row.multiply_adds()
                ),
                block.words.len().to_string(),
                format!("{made:.0}"),
                format!("{cycles:.1}"),
                format!("{:.1}", made / cycles),
                format!("{:.0} %", 100.0 * estimate.bound / cycles),
            ]));
        }
    }
    lines.join("\n") + "\n"
}

/// The reference engine's row for the same processor and precision.
fn reference<'a>(rows: &'a [Counted], row: &Counted) -> Option<&'a Counted> {
    rows.iter().find(|other| {
        other.engine == REFERENCE
            && other.machine == row.machine
            && other.precision == row.precision
    })
}

fn ratio(value: f64, reference: Option<f64>) -> String {
    reference.map_or_else(String::new, |reference| format!("{:.2}", value / reference))
}

fn line(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDOT: u32 = 0x4e82_9420;
    const LOAD: u32 = 0x3dc0_0400;
    const STORE: u32 = 0x3d80_0400;
    const ADD: u32 = 0x8b01_0000;

    fn block(words: &[u32], executions: f64) -> Block {
        Block {
            words: words.to_vec(),
            executions,
        }
    }

    fn row(engine: &'static str, blocks: Vec<Block>, cycles: Vec<f64>) -> Counted {
        Counted {
            machine: "A",
            precision: "int8",
            engine,
            blocks,
            estimates: vec![Estimate {
                model: "m",
                cycles,
                bound: 1.0,
            }],
        }
    }

    fn two() -> [Counted; 2] {
        [
            row(
                "Pilotage",
                vec![
                    block(&[SDOT, SDOT, LOAD, ADD], 1000.0),
                    block(&[ADD], 500.0),
                    block(&[STORE], 500.0),
                ],
                vec![2.0, 1.0],
            ),
            row(REFERENCE, vec![block(&[LOAD, SDOT], 5000.0)], vec![1.5]),
        ]
    }

    #[test]
    fn counts_and_ratios_are_those_of_one_inference() {
        let text = instructions(&two(), 16_000.0);
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| A | int8 | Pilotage | 0.01 | 0.50 | 40 % | 20 % | 10 % | 2.00 | 3.20 |",
                "| A | int8 | ONNX Runtime | 0.01 | 1.00 | 50 % | 50 % | 0 % | 5.00 | 1.60 |",
            ]
        );
    }

    #[test]
    fn cycles_of_the_other_blocks_have_the_rate_of_the_known_ones() {
        let rows = two();
        // 2500 cycles for 4500 of 5000 instructions.
        let found = rows[0].cycles(&rows[0].estimates[0]);
        assert!((found - 2500.0 / 0.9).abs() < 1e-9, "{found}");
        let text = cycles(&rows, 16_000.0);
        let rows: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| A | m | int8 | Pilotage | 3 | 0.37 | 5.8 |",
                "| A | m | int8 | ONNX Runtime | 8 | 1.00 | 2.1 |",
            ]
        );
    }

    #[test]
    fn the_inner_loop_is_where_most_multiply_adds_are() {
        let mut rows = two();
        rows[0].blocks.insert(0, block(&[ADD; 50], 1000.0));
        rows[0].estimates[0].cycles.insert(0, 17.0);
        assert_eq!(rows[0].hottest(), 1);
        let text = loops(&rows);
        assert!(
            text.contains("| m | int8 | Pilotage | 100 % | 4 | 32 | 2.0 | 16.0 | 50 % |"),
            "{text}"
        );
    }

    #[test]
    fn a_row_without_reference_has_no_ratio() {
        let [ours, _] = two();
        let text = instructions(&[ours], 16_000.0);
        assert!(text.contains("| 0.01 |  | 40 % |"), "{text}");
    }

    #[test]
    fn blocks_are_taken_until_the_share_is_reached() {
        let [ours, _] = two();
        for (share, count) in [(0.5, 1), (0.8, 1), (0.81, 2), (0.9, 2), (0.95, 3), (1.0, 3)] {
            assert_eq!(most_of(&ours.blocks, share), count, "{share}");
        }
        assert_eq!(most_of(&[], 0.5), 0);
    }
}
