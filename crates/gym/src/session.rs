//! The car of one client.

use std::time::Duration;

use pilotage_simulator::{
    Appearance, CameraSpec, CarKind, LidarSpec, Limits, Outcome, Preset, SensorSpec, TyreCar, World,
};
use pilotage_vehicle::{Measurement, Time};

use crate::devices::{self, Encoder};
use crate::error::SessionError;
use crate::message::{Control, Reply, Request};
use crate::scene;
use crate::telemetry::{Echo, Telemetry};

/// Above this speed a brake is a throttle against the motion, m/s: a car at rest would drive back.
const BRAKED: f64 = 0.3;

/// What the cars of a server are like.
#[derive(Debug, Clone)]
pub struct Options {
    /// The car and the ground's friction.
    pub car: TyreCar,
    /// Pictures per second, 1 to 1000.
    pub rate: u32,
    /// The seed of the random circuit, of the looks and of the sensors' noise.
    pub seed: u64,
}

impl Default for Options {
    /// A Donkeycar, and 20 pictures per second, as Donkeycar's simulator sends them.
    fn default() -> Self {
        Self {
            car: TyreCar::new(Preset::Donkeycar),
            rate: 20,
            seed: 1,
        }
    }
}

/// A client's car. It has no clock: [`advance`](Self::advance) drives it by the time of one picture.
pub struct Session {
    options: Options,
    camera: CameraSpec,
    encoder: Encoder,
    lidar: Option<LidarSpec>,
    scene: Option<String>,
    world: Option<World>,
    control: Control,
    laps: usize,
    rgb: Vec<u8>,
    has_ended: bool,
}

impl Session {
    /// A client that has just connected.
    pub fn new(options: Options) -> Self {
        Self {
            camera: devices::usual_camera(options.rate),
            options,
            encoder: Encoder::default(),
            lidar: None,
            scene: None,
            world: None,
            control: Control::default(),
            laps: 0,
            rgb: Vec::new(),
            has_ended: false,
        }
    }

    /// What a client gets when it connects.
    pub fn greeting(&self) -> Reply {
        Reply::SceneSelectionReady
    }

    /// Whether the client has ended the connection.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The time from a picture to the next.
    pub fn period(&self) -> Duration {
        Duration::from_secs(1) / self.options.rate.max(1)
    }

    /// Answers a message: appends replies.
    ///
    /// # Errors
    /// If the client asks for what there is not.
    pub fn handle(
        &mut self,
        request: Request,
        replies: &mut Vec<Reply>,
    ) -> Result<(), SessionError> {
        match request {
            Request::GetProtocolVersion => replies.push(Reply::ProtocolVersion { version: "2" }),
            Request::GetSceneNames => replies.push(Reply::SceneNames {
                scene_names: scene::names(),
            }),
            Request::LoadScene { scene_name } => {
                self.scene = Some(scene_name);
                self.begin()?;
                replies.push(Reply::CarLoaded);
            }
            Request::ExitScene => {
                (self.scene, self.world) = (None, None);
                replies.push(self.greeting());
            }
            Request::QuitApp => self.has_ended = true,
            Request::ResetCar => self.begin()?,
            Request::Control(control) => self.control = control,
            Request::CamConfig(request) => {
                let usual = devices::usual_camera(self.options.rate);
                self.camera = devices::camera(&request, usual)?;
                self.encoder = devices::encoder(&request)?;
                self.begin()?;
            }
            Request::LidarConfig(request) => {
                self.lidar = Some(devices::lidar(&request)?);
                self.begin()?;
            }
            Request::Other => {}
        }
        Ok(())
    }

    /// Puts the car at the start of the scene, at rest.
    fn begin(&mut self) -> Result<(), SessionError> {
        (self.control, self.laps) = (Control::default(), 0);
        let Some(name) = &self.scene else {
            return Ok(());
        };
        let seed = self.options.seed;
        let circuit = scene::circuit(name, seed).ok_or_else(|| SessionError::Scene {
            name: name.clone(),
            known: scene::names(),
        })?;
        let looks = Appearance {
            seed,
            ..Appearance::default().with_colours(circuit.colours())
        };
        let car = self.options.car;
        let (kind, mixer) = (CarKind::Tyres(car), car.dynamics().mixer()?);
        let world = World::new(circuit, &looks, &self.camera, kind, mixer)
            .with_limits(Limits {
                laps: u32::MAX,
                seconds: f64::INFINITY,
            })
            .with_sensors(SensorSpec::default())
            .with_seed(seed)
            .patient();
        self.world = Some(match self.lidar {
            Some(spec) => world.with_lidar(spec),
            None => world,
        });
        self.rgb.resize(self.camera.frame_bytes(), 0);
        Ok(())
    }

    /// Drives for the time of one picture, and appends it with the car's state to `replies`: nothing
    /// without a scene.
    ///
    /// # Errors
    /// If the picture cannot be encoded.
    pub fn advance(&mut self, replies: &mut Vec<Reply>) -> Result<(), SessionError> {
        let period = self.period();
        let (steering, throttle) = self.levers();
        if let Some(world) = &mut self.world {
            let end = world.now() + period;
            world.advance_to(end, steering, throttle);
        }
        self.look(replies)
    }

    /// The same without driving: once more the picture and the state.
    ///
    /// # Errors
    /// If the picture cannot be encoded.
    pub fn look(&mut self, replies: &mut Vec<Reply>) -> Result<(), SessionError> {
        let Some(world) = &mut self.world else {
            return Ok(());
        };
        let laps = world.laps().len() + 1;
        if laps > self.laps {
            replies.push(Reply::CollisionWithStartingLine {
                // Not 0, which gym-donkeycar takes for no lap yet.
                time_stamp: 1.0 + world.laps().last().copied().unwrap_or(0.0),
                starting_line_index: 0,
            });
            self.laps = laps;
        }
        world.render(&mut self.rgb);
        let image = self.encoder.encode(&self.rgb, &self.camera)?;
        let telemetry = state(world, self.control, image);
        replies.push(Reply::Telemetry(Box::new(telemetry)));
        Ok(())
    }

    /// Steering (left positive) and throttle for the simulated car.
    fn levers(&self) -> (f32, f32) {
        let speed = self.world.as_ref().map_or(0.0, |world| world.car().speed());
        let Control {
            steering,
            throttle,
            brake,
        } = self.control;
        let brake = brake.clamp(0.0, 1.0);
        let throttle = match brake > 0.0 {
            true if speed.abs() > BRAKED => -brake * speed.signum(),
            true => 0.0,
            false => throttle.clamp(-1.0, 1.0),
        };
        (-steering.clamp(-1.0, 1.0) as f32, throttle as f32)
    }
}

/// The state of a world's car, in Unity's axes.
fn state(world: &mut World, control: Control, image: String) -> Telemetry {
    // A car that has left the road stays where it is.
    let has_left = matches!(world.outcome(), Some(Outcome::OffRoad { .. }));
    let moving = if has_left { 0.0 } else { 1.0 };
    let (pose, speed) = (world.pose(), moving * world.car().speed());
    let measured = world.measured();
    let measured = |it: Measurement| moving * f64::from(measured.get(it).unwrap_or(0.0));
    let lidar = world.scan().map(|(scan, _)| {
        let echo = |(index, &millimetres): (usize, &u16)| Echo {
            rx: (-scan.rays.angle(index)).rem_euclid(360.0),
            ry: 0.0,
            d: f64::from(millimetres) * 1e-3,
        };
        let rays = scan.millimetres.iter().enumerate();
        rays.filter(|&(_, &it)| it > 0).map(echo).collect()
    });
    Telemetry {
        image,
        steering_angle: control.steering,
        throttle: control.throttle,
        speed,
        hit: if has_left { "border" } else { "none" },
        time: world.now().since(Time::ZERO).as_secs_f64(),
        cte: -world.offset(),
        pos_x: -pose.y,
        pos_y: 0.0,
        pos_z: pose.x,
        vel_x: -speed * pose.heading.sin(),
        vel_y: 0.0,
        vel_z: speed * pose.heading.cos(),
        gyro_x: 0.0,
        gyro_y: -measured(Measurement::YawRate),
        gyro_z: 0.0,
        accel_x: -measured(Measurement::LateralAcceleration),
        accel_y: 0.0,
        accel_z: measured(Measurement::Acceleration),
        pitch: 0.0,
        yaw: -pose.heading.to_degrees(),
        roll: 0.0,
        active_node: 0,
        total_nodes: 0,
        lidar,
    }
}
