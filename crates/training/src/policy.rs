//! The policy that drives: the expert, or a network.

use pilotage_simulator::CameraSpec;
use pilotage_vision::VisionError;
use rayon::prelude::*;

use crate::expert::Expert;
use crate::rollout::{Drive, FIRST_ROW};
use crate::student::Student;

/// Computes the speed (m/s) and the yaw rate (rad/s) for every car.
pub enum Policy<'a> {
    /// The expert, which uses the true state.
    Expert(Expert),
    /// A network, which uses the picture and what sensors measure.
    Student(&'a mut Student),
}

impl Policy<'_> {
    /// The number of pictures that it sees.
    pub fn pictures(&self) -> usize {
        match self {
            Self::Expert(_) => 1,
            Self::Student(student) => student.form().pictures,
        }
    }

    /// Computes an answer for every car. A network first takes a picture with each car's camera;
    /// the answer is `None` if that frame was lost.
    ///
    /// # Errors
    /// The errors of [`Drive::look`].
    pub fn answers(
        &mut self,
        drives: &mut [Drive],
    ) -> Result<Vec<Option<(f32, f32)>>, VisionError> {
        let fresh: Vec<bool> = match self {
            Self::Expert(_) => vec![true; drives.len()],
            Self::Student(_) => drives
                .par_iter_mut()
                .map(Drive::look)
                .collect::<Result<_, _>>()?,
        };
        let answers: Vec<(f32, f32)> = match self {
            Self::Expert(expert) => drives.iter().map(|d| expert_answer(expert, d)).collect(),
            Self::Student(student) => {
                let observed: Vec<_> = drives.iter().map(Drive::observation).collect();
                student.answers(&observed)
            }
        };
        let pairs = fresh.into_iter().zip(answers);
        Ok(pairs.map(|(fresh, a)| fresh.then_some(a)).collect())
    }
}

/// The expert's answer for `drive`.
pub fn expert_answer(expert: &Expert, drive: &Drive) -> (f32, f32) {
    let world = &drive.world;
    let sight = sight(world.camera());
    let (s, pose, sight) = match expert.foresees {
        false => (world.s(), world.pose(), sight),
        true => {
            let (s, pose) = drive.at_effect();
            let gone = libm::remainder(s - world.s(), world.circuit().length());
            (s, pose, sight - gone.max(0.0))
        }
    };
    let (speed, yaw_rate) = expert.drive(world.circuit(), s, pose, sight);
    (speed as f32, yaw_rate as f32)
}

/// The distance ahead at which the top of the network's picture shows the road, metres.
fn sight(camera: &CameraSpec) -> f64 {
    let focal = 0.5 * camera.width as f64 / libm::tan(0.5 * camera.horizontal_fov);
    let above = 0.5 * camera.height as f64 - FIRST_ROW as f64;
    let down = camera.pitch - libm::atan(above / focal);
    if down > 0.0 {
        camera.forward + camera.up / libm::tan(down)
    } else {
        f64::INFINITY
    }
}
