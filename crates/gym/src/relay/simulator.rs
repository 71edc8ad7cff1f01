//! The connection to the simulator.

use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageReader;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{RelayError, Wanted};

/// A simulator that sends nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line: a picture of 1920x1080 without loss, in base64.
const LONGEST: u64 = 16 << 20;

/// The pictures of another size that may come before the camera is set.
const MOST_OTHERS: u32 = 100;

/// What the simulator sends, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    msg_type: String,
    #[serde(default)]
    scene_names: Vec<String>,
    #[serde(default)]
    image: String,
}

/// Sends messages to the simulator.
pub struct Sender(TcpStream);

impl Sender {
    /// Sends one, in one piece. gym-donkeycar puts nothing between messages; a line's end does no harm.
    pub fn send(&mut self, message: &Value) -> io::Result<()> {
        let text = format!("{message}\n");
        self.0.write_all(text.as_bytes())
    }
}

/// A connection, which is a car.
pub struct Simulator {
    lines: BufReader<TcpStream>,
    sender: Sender,
    /// Whether the scene was asked for.
    is_loading: bool,
}

impl Simulator {
    /// Connects. The sender is for another thread.
    pub fn connect(address: &impl ToSocketAddrs) -> io::Result<(Self, Sender)> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let simulator = Self {
            lines: BufReader::new(stream.try_clone()?),
            sender: Sender(stream.try_clone()?),
            is_loading: false,
        };
        Ok((simulator, Sender(stream)))
    }

    /// The next picture: rows of RGB. Answers the messages before it.
    pub fn picture(&mut self, wanted: &Wanted) -> Result<Vec<u8>, RelayError> {
        let mut others = 0;
        loop {
            let message = self.message()?;
            match message.msg_type.as_str() {
                "telemetry" => match decode(&message.image, wanted) {
                    Err(RelayError::Picture { .. }) if others < MOST_OTHERS => others += 1,
                    decoded => return decoded,
                },
                "scene_selection_ready" if !self.is_loading => {
                    self.send(&json!({"msg_type": "get_scene_names"}))?;
                }
                "scene_names" if !self.is_loading => {
                    let known = message.scene_names;
                    if !known.contains(&wanted.scene) {
                        let name = wanted.scene.clone();
                        return Err(RelayError::Scene { name, known });
                    }
                    self.send(&json!({"msg_type": "load_scene", "scene_name": wanted.scene}))?;
                    self.is_loading = true;
                }
                "car_loaded" | "need_car_config" => self.configure(wanted)?,
                _ => {}
            }
        }
    }

    /// Texts for numbers, as gym-donkeycar sends them; 0 is the simulator's usual value.
    fn configure(&mut self, wanted: &Wanted) -> Result<(), RelayError> {
        self.send(
            &json!({"msg_type": "car_config", "body_style": "donkey", "body_r": "128", "body_g": "128",
            "body_b": "128", "car_name": "Pilotage", "font_size": "100"}),
        )?;
        self.send(
            &json!({"msg_type": "cam_config", "img_w": wanted.width.to_string(),
            "img_h": wanted.height.to_string(), "img_d": "3", "img_enc": "JPG", "fov": "0",
            "fish_eye_x": "0", "fish_eye_y": "0", "offset_x": "0", "offset_y": "0", "offset_z": "0",
            "rot_x": "0", "rot_y": "0", "rot_z": "0"}),
        )
    }

    fn send(&mut self, message: &Value) -> Result<(), RelayError> {
        self.sender.send(message).map_err(RelayError::Connection)
    }

    fn message(&mut self) -> Result<Message, RelayError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.lines).take(LONGEST);
        let length = limited.read_until(b'\n', &mut line);
        match length.map_err(RelayError::Connection)? {
            0 => Err(RelayError::Connection(io::ErrorKind::UnexpectedEof.into())),
            _ => serde_json::from_slice(&line)
                .map_err(|error| RelayError::Message(error.to_string())),
        }
    }
}

/// A picture of the wanted size. One of another size is not decoded.
fn decode(image: &str, wanted: &Wanted) -> Result<Vec<u8>, RelayError> {
    let (width, height) = (wanted.width, wanted.height);
    let wrong = |found: String| RelayError::Picture {
        found,
        width,
        height,
    };
    let bytes = STANDARD.decode(image);
    let bytes = bytes.map_err(|error| wrong(format!("no base64 ({error})")))?;
    let reader = || ImageReader::new(Cursor::new(&bytes)).with_guessed_format();
    let no_picture = |error: String| wrong(format!("no picture ({error})"));
    let read = |error: io::Error| no_picture(error.to_string());
    let size = reader().map_err(read)?.into_dimensions();
    let size = size.map_err(|error| no_picture(error.to_string()))?;
    if size != (width, height) {
        return Err(wrong(format!("{} x {}", size.0, size.1)));
    }
    let picture = reader().map_err(read)?.decode();
    let picture = picture.map_err(|error| no_picture(error.to_string()))?;
    Ok(picture.into_rgb8().into_raw())
}
