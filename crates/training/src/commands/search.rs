//! `pilotage-training search`.

use std::path::PathBuf;

use pilotage_console::print;
use pilotage_training::search::{Found, Merit, SearchPlan, search};

use super::Trained;

#[derive(clap::Args)]
pub(crate) struct Search {
    #[command(flatten)]
    trained: Trained,
    /// The folder for the engines and the table of all that was tried.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Passes of each stage before the others are left out.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    trial_epochs: u16,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(arguments: &Search) -> anyhow::Result<()> {
    let plan = SearchPlan {
        recipe: arguments.trained.recipe.clone(),
        data: arguments.trained.data.clone(),
        model: arguments.trained.model.clone(),
        out: arguments.out.clone(),
        trial_epochs: usize::from(arguments.trial_epochs),
        force: arguments.force,
    };
    if cfg!(debug_assertions) {
        print("warning: this is a debug build: the search takes long; build with --release");
    }
    let found = search(&plan, |name, is_full, merit| {
        let stage = if is_full { "trained" } else { "trial" };
        print(format_args!("{stage}: {}", line(name, merit)));
    })?;
    report(&found);
    print(format_args!(
        "wrote {}; next: pilotage evaluate --data TEST --out {} {}/*.engine",
        arguments.out.join("search.csv").display(),
        super::for_shell(&arguments.out),
        super::for_shell(&arguments.out),
    ));
    Ok(())
}

/// Prints the front.
fn report(found: &Found) {
    for (name, reason) in &found.impossible {
        print(format_args!("left out: {name}: {reason}"));
    }
    print(format_args!(
        "the trained model's error on the held-back frames is {:.4}; the engines that no other \
         surpasses in error, time and size:",
        found.own_error
    ));
    let mut best: Vec<(&str, Merit)> = (found.tried.iter())
        .filter(|tried| tried.is_best)
        .filter_map(|tried| Some((tried.name.as_str(), tried.full?)))
        .collect();
    best.sort_by_key(|(_, merit)| merit.time);
    for (name, merit) in best {
        print(line(name, &merit));
    }
}

fn line(name: &str, merit: &Merit) -> String {
    format!(
        "{name:20} error {:.4}, {:7.1} us, {:8.1} kB of weights",
        merit.error,
        1e6 * merit.time.as_secs_f64(),
        merit.bytes as f64 / 1e3
    )
}
