//! Asks for each control, and writes the learned mapping.

use std::fs;
use std::path::Path;

use anyhow::Context;
use pilotage_vehicle::monotonic;

use super::edit::edit;
use super::{End, POLL_INTERVAL, Session, print};
use crate::car::Car;
use pilotage_gamepad::{Lesson, Mapping, Question, Step};

/// Learns the mapping and writes it into `file`.
pub(super) fn run(session: &mut Session, file: &Path) -> anyhow::Result<End> {
    print(&format!("{}\n", session.pad.describe()))?;
    let Some(mapping) = learn(session)? else {
        print("nothing was written\n")?;
        return Ok(End::Signal);
    };
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let edited = edit(&text, &mapping)?;
    Car::from_toml(&file.display().to_string(), &edited).context(
        "the learned mapping is not valid with the rest of the file, so nothing was written",
    )?;
    pilotage_config::replace(file, &edited)?;
    print(&format!(
        "{mapping}: written to [gamepad] of {}\n",
        file.display()
    ))?;
    Ok(End::Done)
}

/// The mapping; `None` if a signal came first.
fn learn(session: &mut Session) -> anyhow::Result<Option<Mapping>> {
    let mut lesson = Lesson::default();
    for (axis, value) in session.pad.values()? {
        let input = pilotage_gamepad::Input::Axis {
            code: axis.0,
            value,
        };
        lesson.take(monotonic(), input, |axis| session.pad.range(axis));
    }
    ask(lesson.question())?;
    while !session.ended() {
        session.pad.wait(POLL_INTERVAL);
        let now = monotonic();
        let mut inputs = Vec::new();
        session.pad.read(|input| inputs.push(input))?;
        let taken = inputs
            .into_iter()
            .filter_map(|input| lesson.take(now, input, |axis| session.pad.range(axis)));
        let steps: Vec<Step> = taken.collect();
        for step in steps.into_iter().chain(lesson.tick(now)) {
            match step {
                Step::Next(question) => ask(question)?,
                Step::Refused(why) => print(&format!("{why}\n"))?,
                Step::Learned(mapping) => return Ok(Some(mapping)),
            }
        }
    }
    Ok(None)
}

fn ask(question: Question) -> anyhow::Result<()> {
    let number = match question {
        Question::Rest => 1,
        Question::Steering => 2,
        Question::Throttle => 3,
        Question::DeadMan => 4,
        Question::Arm => 5,
        Question::Stop => 6,
    };
    Ok(print(&format!("{number}/6: {question}\n"))?)
}
