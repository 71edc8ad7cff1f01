//! The network that learns to drive in the simulator.

use std::path::{Path, PathBuf};

use pilotage_compiler::{DraftError, read_model};
use pilotage_engine::MOST_PICTURES;
use pilotage_graph::{ElementType, Graph, TensorType, ValueId};
use pilotage_learning::{LearningError, Network};
use pilotage_vehicle::Measurement;
use pilotage_vision::Layout;

use crate::architecture::{Architecture, ArchitectureError, NetworkKind};
use crate::dataset::physical;
use crate::export::ExportError;
use crate::network::{HEIGHT, OUTPUTS, PICTURE, Statistics, WIDTH};
use crate::observation::{InputForm, Observation, plain, write_numbers, write_planes};
use crate::widen::widen;

/// Why a model cannot drive in the simulator.
#[derive(Debug, thiserror::Error)]
pub enum StudentError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] DraftError),
    /// The model has other inputs or outputs.
    #[error(
        "{}: the simulator's network has an input of 1x3x66x200, or of several such pictures along \
         the channels, inputs of 1x1 with the names of measurements, and two outputs, normalised \
         speed and yaw rate; this model has {found}",
        path.display()
    )]
    Other {
        /// The model.
        path: PathBuf,
        /// Its inputs and outputs.
        found: String,
    },
    /// The network cannot be made.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// A network of several pictures or of measurements cannot begin as this model.
    #[error(
        "{}: {reason}; begin with a model that `imitate` or `optimise` wrote from \
         engines/pilotnet.onnx, or without --model", path.display()
    )]
    Begin {
        /// The model.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// The network's graph cannot be made. This is a defect of this crate.
    #[error(transparent)]
    Graph(#[from] ExportError),
    /// The model cannot be trained or run.
    #[error(transparent)]
    Learning(#[from] LearningError),
}

/// A network with the input `image`, float32, 1x3x66x200, RGB, 0 to 1, or several such pictures along
/// the channels, the oldest first; an input for each measurement; and two outputs, normalised speed and
/// yaw rate. It runs on as many threads as rayon does.
#[derive(Debug)]
pub struct Student {
    network: Network,
    form: InputForm,
}

impl Student {
    /// PilotNet as in JdeRobot's DeepLearningStudio (Bojarski et al., "End to End Learning for
    /// Self-Driving Cars", 2016, with five fully connected layers that end in two outputs), with
    /// random weights. It answers the middle of the outputs' ranges.
    ///
    /// # Errors
    /// Never, unless this crate has a defect.
    pub fn fresh(
        statistics: &Statistics,
        form: &InputForm,
        seed: u64,
    ) -> Result<Self, StudentError> {
        let graph = pilotnet(statistics, form, seed)?;
        Ok(Self::of_network(Network::from_graph(&graph)?))
    }

    /// A network with the inputs `form` that answers as the model `path`, a PilotNet of fewer pictures
    /// and of no or the same measurements: by its inputs alone.
    ///
    /// # Errors
    /// If the model cannot be read, or is another network.
    pub fn widened(path: &Path, form: &InputForm) -> Result<Self, StudentError> {
        let from = read_model(path)?.0;
        let student = Self::of_graph(path, &from)?;
        if student.form == *form {
            return Ok(student);
        }
        let begin = |reason| StudentError::Begin {
            path: path.to_owned(),
            reason,
        };
        let measured = &student.form.measurements;
        if !(measured.is_empty() || *measured == form.measurements) {
            return Err(begin(format!("it has other inputs ({})", student.form)));
        }
        let none = Statistics {
            mean: [0.0; 3],
            variance: [1.0; 3],
        };
        let mut graph = pilotnet(&none, form, 0)?;
        widen(&from, &mut graph).map_err(begin)?;
        Ok(Self::of_network(Network::from_graph(&graph)?))
    }

    /// A network in training.
    pub(crate) fn of_network(mut network: Network) -> Self {
        network.set_threads(rayon::current_num_threads());
        let elements = network.input_sizes().first().copied().unwrap_or(0);
        let graph = network.graph();
        let form = InputForm {
            pictures: (elements / PICTURE).max(1),
            measurements: measurements(graph).unwrap_or_default(),
        };
        Self { network, form }
    }

    /// The network's inputs.
    pub fn form(&self) -> &InputForm {
        &self.form
    }

    pub(crate) fn into_network(self) -> Network {
        self.network
    }

    /// A model's network. `path` is its name, for messages.
    ///
    /// # Errors
    /// If the model has other inputs or outputs, or uses operators that training does not support.
    pub fn of_graph(path: &Path, graph: &Graph) -> Result<Self, StudentError> {
        let types = |ports: &[ValueId]| -> Vec<TensorType> {
            let each = ports.iter().map(|&port| graph.value(port).tensor_type());
            each.collect()
        };
        let (inputs, outputs) = (types(&graph.inputs), types(&graph.outputs));
        let is_pictures = |input: &TensorType| {
            let channels = input.shape.get(1).copied().unwrap_or(0);
            let count = channels / 3;
            (1..=MOST_PICTURES).contains(&count)
                && *input == TensorType::new(ElementType::F32, [1, 3 * count, HEIGHT, WIDTH])
        };
        let numbers = |of: &TensorType| of.shape.iter().product::<usize>();
        let fits = inputs.first().is_some_and(is_pictures) && measurements(graph).is_some();
        if !fits || outputs.iter().map(numbers).sum::<usize>() != OUTPUTS {
            let list = |types: Vec<TensorType>| -> String {
                let types: Vec<String> = types.iter().map(TensorType::to_string).collect();
                types.join(", ")
            };
            return Err(StudentError::Other {
                path: path.to_owned(),
                found: format!("{} and {}", list(inputs), list(outputs)),
            });
        }
        Ok(Self::of_network(Network::from_graph(graph)?))
    }

    /// Reads a model.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`of_graph`](Self::of_graph).
    pub fn read(path: &Path) -> Result<Self, StudentError> {
        Self::of_graph(path, &read_model(path)?.0)
    }

    /// The network as a graph with its present weights.
    ///
    /// # Errors
    /// Never, unless `pilotage-learning` has a defect.
    pub fn graph(&self) -> Result<Graph, LearningError> {
        self.network.to_graph()
    }

    /// The speed (m/s) and the yaw rate (rad/s) for what each car observes.
    pub fn answers(&mut self, observed: &[Observation<'_>]) -> Vec<(f32, f32)> {
        let (values, measurements) = (plain(), &self.form.measurements);
        let answers = self.network.answers(observed.len(), &|index, example| {
            let Observation { pictures, measured } = observed[index];
            let mut inputs = example.inputs.iter_mut().map(|input| &mut **input);
            let planes = inputs.next().into_iter();
            let planes = planes.flat_map(|input| input.chunks_exact_mut(PICTURE));
            for (picture, out) in pictures.chunks_exact(PICTURE).zip(planes) {
                write_planes(picture, &values, false, out);
            }
            write_numbers(&measured, measurements, false, inputs);
        });
        let (answers, _) = answers.as_chunks::<OUTPUTS>();
        answers.iter().map(|&answer| physical(answer)).collect()
    }
}

/// The measurements that are the inputs behind the first; `None` if one of those is none.
fn measurements(graph: &Graph) -> Option<Vec<Measurement>> {
    let each = graph.inputs.iter().skip(1).map(|&port| {
        let value = graph.value(port);
        let is_number = value.tensor_type() == TensorType::new(ElementType::F32, [1, 1]);
        let mut named = Measurement::ALL.into_iter();
        named.find(|it| is_number && it.name() == value.name)
    });
    each.collect()
}

fn pilotnet(statistics: &Statistics, form: &InputForm, seed: u64) -> Result<Graph, StudentError> {
    let input = [HEIGHT, WIDTH, 3 * form.pictures];
    let numbers = form.measurements.iter().map(|it| it.name().to_owned());
    let shape = Architecture::new(NetworkKind::Pilotnet, input, OUTPUTS)?;
    let shape = shape.with_numbers(numbers.collect());
    Ok(shape.graph(statistics, &[0.5; OUTPUTS], Layout::Nchw, seed)?)
}
