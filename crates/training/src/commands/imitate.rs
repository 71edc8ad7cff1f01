//! `pilotage-training imitate`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use pilotage_console::{print, printable};
use pilotage_engine::MOST_PICTURES;
use pilotage_training::cloning::Target;
use pilotage_training::dataset::Dataset;
use pilotage_training::imitate::{Plan, files, imitate, report};
use pilotage_training::observation::InputForm;
use pilotage_training::recording;
use pilotage_vehicle::Measurement;

use super::{check_measure, for_shell, latency_and_expert, measurement};

/// The shipped model, which the defaults train.
const SHIPPED: &str = "engines/pilotnet.onnx";

#[derive(clap::Args)]
pub(crate) struct Imitate {
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of rounds in which the student drives.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Frames gathered in each round; 10000, or none with --data.
    #[arg(long)]
    frames: Option<usize>,
    /// A recording to learn from too: a folder with data.csv, v and w. May be repeated.
    #[arg(long, value_name = "FOLDER")]
    data: Vec<PathBuf>,
    /// Passes over all frames after each round but the last.
    #[arg(long, default_value_t = 4)]
    epochs: usize,
    /// Passes over all frames after the last round.
    #[arg(long, default_value_t = 12)]
    last_epochs: usize,
    /// Adam's initial learning rate.
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// A short run to check that everything works; the model will hardly drive.
    #[arg(long, conflicts_with_all = ["rounds", "frames", "epochs", "last_epochs"])]
    quick: bool,
    /// The time from a frame to the effect of its command, 0 to 500 ms. The expert then answers for
    /// the place where its command takes effect. Otherwise the latency differs from drive to drive.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=500))]
    latency: Option<u64>,
    /// The number of pictures that the network sees: the present one, and those before it.
    #[arg(
        long, default_value_t = 1, conflicts_with = "data",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=MOST_PICTURES as u64)
    )]
    pictures: usize,
    /// Numbers that sensors measure on the car, which the network gets beside the picture: speed,
    /// yaw_rate, acceleration, lateral_acceleration.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',', value_parser = measurement)]
    measure: Vec<Measurement>,
    /// Begin as this model, such as engines/pilotnet.onnx, instead of with random weights.
    #[arg(long, value_name = "NAME.onnx", conflicts_with = "resume")]
    model: Option<PathBuf>,
    /// The model to write: NAME.onnx, with NAME.toml for `pilotage compile` and the folder NAME-frames
    /// for calibration. Without it engines/pilotnet.onnx; needed with --data, --latency, --pictures,
    /// --measure or --model.
    #[arg(long, value_name = "NAME")]
    out: Option<PathBuf>,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
    /// Folder for checkpoints.
    #[arg(long, default_value = "target/training")]
    checkpoints: PathBuf,
    /// Resume from the checkpoints.
    #[arg(long)]
    resume: bool,
}

impl Imitate {
    /// Whether the shipped model is trained.
    fn is_shipped(&self) -> bool {
        let is_plain = self.pictures == 1 && self.measure.is_empty();
        is_plain && self.data.is_empty() && self.latency.is_none() && self.model.is_none()
    }

    /// The files to write; `None` is the shipped model.
    fn target(&self) -> anyhow::Result<Option<Target>> {
        let Some(out) = &self.out else {
            ensure!(
                self.is_shipped(),
                "--data, --latency, --pictures, --measure and --model need --out: the default is the \
                 shipped model"
            );
            return Ok(None);
        };
        let target = Target::new(out, None, self.force, self.resume)?;
        if let Some(model) = &self.model {
            target.keeps(model)?;
        }
        let frames = target.frames();
        ensure!(
            self.force || frames.symlink_metadata().is_err(),
            "{} exists; choose another name with --out, or overwrite it with --force",
            frames.display()
        );
        Ok(Some(target))
    }

    fn plan(&self) -> anyhow::Result<Plan> {
        check_measure(&self.measure)?;
        let (latency, expert) = latency_and_expert(self.latency);
        let default_frames = match (self.data.is_empty(), self.quick) {
            (true, false) => 10_000,
            (true, true) => 1000,
            (false, _) => 0,
        };
        let frames = self.frames.unwrap_or(default_frames);
        let limited = |asked: usize| if self.quick { asked.min(2) } else { asked };
        Ok(Plan {
            seed: self.seed,
            // Without the simulator, a second round has nothing new to learn from.
            rounds: if frames == 0 { 0 } else { limited(self.rounds) },
            frames,
            epochs: limited(self.epochs),
            last_epochs: limited(self.last_epochs),
            rate: self.rate,
            checkpoints: self.checkpoints.clone(),
            resume: self.resume,
            expert,
            latency,
            inputs: InputForm {
                pictures: self.pictures,
                measurements: self.measure.clone(),
            },
            model: self.model.clone(),
            ..Plan::default()
        })
    }
}

pub(crate) fn run(arguments: &Imitate) -> anyhow::Result<()> {
    let target = arguments.target()?;
    let plan = arguments.plan()?;
    let mut data = Dataset::with_capacity((plan.rounds + 1) * plan.frames);
    for folder in &arguments.data {
        let added = recording::read(folder, &mut data)?;
        for note in &added.notes {
            print(printable(&format!("warning: {note}")));
        }
        print(format_args!(
            "{}: {} frames",
            folder.display(),
            added.frames
        ));
    }
    let latency = plan.latency;
    let student = imitate(&plan, &mut data, |_, student| Ok(report(student, latency)?))?;
    let Some(target) = target else {
        pilotage_config::write_atomically(Path::new(SHIPPED), &student.graph()?.write())?;
        print(format_args!("wrote {SHIPPED}"));
        return Ok(());
    };
    files::write(&target, &student, &data, &plan)?;
    print(format_args!(
        "wrote {}, {} and {}; next: pilotage compile {}",
        target.onnx().display(),
        target.toml().display(),
        target.frames().display(),
        for_shell(&target.toml())
    ));
    Ok(())
}
