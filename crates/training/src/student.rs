//! The network that learns to drive in the simulator.

use std::path::{Path, PathBuf};

use pilotage_compiler::{DraftError, read_model};
use pilotage_engine::MOST_PICTURES;
use pilotage_graph::{ElementType, Graph, TensorType};
use pilotage_learning::{LearningError, Network};
use pilotage_vision::Layout;

use crate::architecture::{Architecture, ArchitectureError, NetworkKind};
use crate::dataset::physical;
use crate::export::ExportError;
use crate::network::{HEIGHT, OUTPUTS, PICTURE, Statistics, WIDTH};
use crate::widen::widen;

/// Why a model cannot drive in the simulator.
#[derive(Debug, thiserror::Error)]
pub enum StudentError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] DraftError),
    /// The model has other inputs or outputs.
    #[error(
        "{}: the simulator's network has one input of 1x3x66x200, or of several such pictures along \
         the channels, and two outputs, normalised speed and yaw rate; this model has {found}",
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
    /// A network of several pictures cannot begin as this model.
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
/// the channels, the oldest first; and two outputs, normalised speed and yaw rate. It runs on as many
/// threads as rayon does.
#[derive(Debug)]
pub struct Student {
    network: Network,
    pictures: usize,
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
        pictures: usize,
        seed: u64,
    ) -> Result<Self, StudentError> {
        let graph = pilotnet(statistics, pictures, seed)?;
        Ok(Self::of_network(Network::from_graph(&graph)?))
    }

    /// A network of `pictures` pictures that answers as the model `path`, a PilotNet of fewer: by the
    /// latest pictures alone.
    ///
    /// # Errors
    /// If the model cannot be read, or is another network.
    pub fn widened(path: &Path, pictures: usize) -> Result<Self, StudentError> {
        let from = read_model(path)?.0;
        let student = Self::of_graph(path, &from)?;
        if student.pictures == pictures {
            return Ok(student);
        }
        let none = Statistics {
            mean: [0.0; 3],
            variance: [1.0; 3],
        };
        let mut graph = pilotnet(&none, pictures, 0)?;
        widen(&from, &mut graph).map_err(|reason| StudentError::Begin {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Self::of_network(Network::from_graph(&graph)?))
    }

    /// A network in training.
    pub(crate) fn of_network(mut network: Network) -> Self {
        network.set_threads(rayon::current_num_threads());
        let elements = network.input_sizes().first().copied().unwrap_or(0);
        Self {
            network,
            pictures: (elements / PICTURE).max(1),
        }
    }

    /// The number of pictures that the network sees.
    pub fn pictures(&self) -> usize {
        self.pictures
    }

    pub(crate) fn into_network(self) -> Network {
        self.network
    }

    /// A model's network. `path` is its name, for messages.
    ///
    /// # Errors
    /// If the model has other inputs or outputs, or uses operators that training does not support.
    pub fn of_graph(path: &Path, graph: &Graph) -> Result<Self, StudentError> {
        let types = |ports: &[pilotage_graph::ValueId]| -> Vec<TensorType> {
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
        let fits = matches!(&inputs[..], [input] if is_pictures(input));
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

    /// The speed (m/s) and the yaw rate (rad/s) for the pictures that each car sees, the oldest
    /// first: rows of interleaved RGB.
    pub fn answers(&mut self, seen: &[&[u8]]) -> Vec<(f32, f32)> {
        let values = plain();
        let answers = self.network.answers(seen.len(), &|index, example| {
            let pictures = seen[index].chunks_exact(PICTURE);
            for (picture, out) in pictures.zip(example.inputs[0].chunks_exact_mut(PICTURE)) {
                write_planes(picture, &values, false, out);
            }
        });
        let (answers, _) = answers.as_chunks::<OUTPUTS>();
        answers.iter().map(|&answer| physical(answer)).collect()
    }
}

fn pilotnet(statistics: &Statistics, pictures: usize, seed: u64) -> Result<Graph, StudentError> {
    let input = [HEIGHT, WIDTH, 3 * pictures];
    let shape = Architecture::new(NetworkKind::Pilotnet, input, OUTPUTS)?;
    Ok(shape.graph(statistics, &[0.5; OUTPUTS], Layout::Nchw, seed)?)
}

/// The network's input for every byte, by colour.
pub fn plain() -> [[f32; 256]; 3] {
    [std::array::from_fn(|byte| byte as f32 / 255.0); 3]
}

/// Writes the network's input for `picture`, one plane for each colour, with the value of every byte
/// by colour. Left and right are exchanged when `mirrored`.
pub fn write_planes(picture: &[u8], values: &[[f32; 256]; 3], mirrored: bool, out: &mut [f32]) {
    debug_assert_eq!((picture.len(), out.len()), (PICTURE, PICTURE));
    let planes = out.chunks_exact_mut(HEIGHT * WIDTH).zip(values);
    for (colour, (plane, values)) in planes.enumerate() {
        let rows = picture.chunks_exact(3 * WIDTH);
        for (row, out) in rows.zip(plane.chunks_exact_mut(WIDTH)) {
            let bytes = row[colour..].iter().step_by(3);
            let write = |(to, &byte): (&mut f32, &u8)| *to = values[usize::from(byte)];
            match mirrored {
                true => out.iter_mut().rev().zip(bytes).for_each(write),
                false => out.iter_mut().zip(bytes).for_each(write),
            }
        }
    }
}
