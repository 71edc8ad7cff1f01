//! Clients, which send what gym-donkeycar sends, at a server of their own.
#![allow(clippy::expect_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pilotage_gym::{Options, Pace, Server};
use serde_json::{Value, json};

fn serve(pace: Pace) -> SocketAddr {
    let server = Server::new("127.0.0.1:0", Options::default(), pace).expect("a free port");
    let address = server.address().expect("an address");
    thread::spawn(move || server.run());
    address
}

struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a server");
        let patience = Some(Duration::from_secs(20));
        stream.set_read_timeout(patience).expect("a timeout");
        let lines = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, lines }
    }

    /// A client whose car is at the start of `scene`.
    fn driving(address: SocketAddr, scene: &str) -> Self {
        let mut client = Self::connect(address);
        client.next("scene_selection_ready");
        client.send(&json!({"msg_type": "get_scene_names"}));
        let names = client.next("scene_names");
        let names = names["scene_names"].as_array().expect("a list");
        assert!(names.contains(&json!(scene)), "{names:?}");
        client.send(&json!({"msg_type": "load_scene", "scene_name": scene}));
        client.next("car_loaded");
        client
    }

    /// Nothing stands between messages, as with gym-donkeycar.
    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    fn control(&mut self, steering: f64, throttle: f64) {
        self.send(
            &json!({"msg_type": "control", "steering": steering.to_string(),
            "throttle": throttle.to_string(), "brake": "0.0"}),
        );
    }

    /// The next message of a type; others are passed over.
    fn next(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            assert!(
                self.lines.read_line(&mut line).expect("a line") > 0,
                "closed before {kind}"
            );
            let message: Value = serde_json::from_str(&line).expect("JSON");
            if message["msg_type"] == kind {
                return message;
            }
        }
    }

    /// Whether the server closes the connection, after what it still sends.
    fn ends(mut self) -> bool {
        let mut rest = Vec::new();
        self.lines.read_to_end(&mut rest).is_ok()
    }
}

fn number(message: &Value, key: &str) -> f64 {
    message[key].as_f64().expect("a number")
}

#[test]
fn a_client_steers_by_the_road_and_finishes_laps() {
    let mut client = Client::driving(serve(Pace::Fast), "simple");
    client.send(
        &json!({"msg_type": "cam_config", "img_w": "32", "img_h": "16", "img_d": "3",
        "img_enc": "JPG", "fov": "0", "fish_eye_x": "0.0", "fish_eye_y": "0.0"}),
    );
    let mut laps = 0;
    let (mut before, mut furthest) = (0.0, 0.0_f64);
    client.control(0.0, 0.3);
    while laps < 2 {
        let mut line = String::new();
        client.lines.read_line(&mut line).expect("a line");
        let message: Value = serde_json::from_str(&line).expect("JSON");
        if message["msg_type"] == "collision_with_starting_line" {
            laps += 1;
        }
        if message["msg_type"] != "telemetry" {
            continue;
        }
        assert_eq!(message["hit"], "none");
        let (cte, time) = (number(&message, "cte"), number(&message, "time"));
        assert!(time < 600.0, "no lap in ten minutes");
        furthest = furthest.max(cte.abs());
        // Back to the middle, damped by how fast it nears it.
        let rate = (cte - before) * 20.0;
        before = cte;
        client.control(
            -1.2 * cte - 0.9 * rate,
            if number(&message, "speed") < 2.0 {
                0.4
            } else {
                0.1
            },
        );
    }
    assert!(furthest < 1.4, "{furthest} m from the middle");
}

#[test]
fn positive_steering_is_to_the_right_and_a_reset_is_at_the_start() {
    let mut client = Client::driving(serve(Pace::Fast), "simple");
    let first = client.next("telemetry");
    for _ in 0..20 {
        client.control(0.5, 0.4);
        client.next("telemetry");
    }
    client.control(0.5, 0.4);
    let driven = client.next("telemetry");
    assert!(number(&driven, "speed") > 0.5);
    assert_eq!(driven["hit"], "none");
    let turned = number(&driven, "yaw") - number(&first, "yaw");
    assert!(turned > 5.0, "{turned} degrees clockwise");
    assert!(number(&driven, "gyro_y") > 0.0);
    client.send(&json!({"msg_type": "reset_car"}));
    client.control(0.0, 0.0);
    let again =
        std::iter::repeat_with(|| client.next("telemetry")).find(|it| number(it, "speed") == 0.0);
    let again = again.expect("at rest");
    for key in ["pos_x", "pos_z", "yaw"] {
        assert_eq!(again[key], first[key], "{key}");
    }
    // Clockwise from ahead: a car that turned right by a little has moved to its right.
    let heading = number(&first, "yaw").to_radians();
    let moved = [
        number(&driven, "pos_x") - number(&first, "pos_x"),
        number(&driven, "pos_z") - number(&first, "pos_z"),
    ];
    assert!(
        moved[0] * heading.cos() - moved[1] * heading.sin() > 0.0,
        "to the right: {moved:?}"
    );
    assert!(
        moved[0] * heading.sin() + moved[1] * heading.cos() > 0.0,
        "ahead: {moved:?}"
    );
}

#[test]
fn pictures_and_lidar_are_those_that_were_asked_for() {
    let mut client = Client::driving(serve(Pace::Fast), "generated_road");
    let size = |message: &Value| {
        let bytes = STANDARD
            .decode(message["image"].as_str().expect("a text"))
            .expect("base64");
        let format = image::guess_format(&bytes).expect("an image");
        let picture = image::load_from_memory(&bytes).expect("an image");
        (
            format,
            picture.width(),
            picture.height(),
            picture.color().channel_count(),
        )
    };
    let usual = client.next("telemetry");
    assert_eq!(size(&usual), (image::ImageFormat::Jpeg, 160, 120, 3));
    assert_eq!(usual.get("lidar"), None);
    client.send(
        &json!({"msg_type": "cam_config", "img_w": "64", "img_h": "48", "img_d": "1",
        "img_enc": "PNG", "fov": "60", "offset_y": "0.2", "rot_x": "15"}),
    );
    client.send(
        &json!({"msg_type": "lidar_config", "degPerSweepInc": "2.0", "degAngDown": "0.0",
        "degAngDelta": "-1.0", "numSweepsLevels": "1", "maxRange": "20.0", "noise": "0.4"}),
    );
    client.control(0.0, 0.0);
    let other =
        std::iter::repeat_with(|| client.next("telemetry")).find(|it| it.get("lidar").is_some());
    let other = other.expect("a lidar");
    assert_eq!(size(&other), (image::ImageFormat::Png, 64, 48, 1));
    let echoes = other["lidar"].as_array().expect("a list");
    assert!(
        echoes.len() > 90,
        "{} of 180 rays have an echo",
        echoes.len()
    );
    for echo in echoes {
        let (angle, metres) = (number(echo, "rx"), number(echo, "d"));
        assert!(
            (0.0..360.0).contains(&angle) && (0.0..=20.1).contains(&metres),
            "{echo}"
        );
    }
}

#[test]
fn in_real_time_pictures_come_without_commands() {
    let mut client = Client::driving(serve(Pace::Real), "simple");
    let first = number(&client.next("telemetry"), "time");
    let third = std::iter::repeat_with(|| client.next("telemetry"))
        .nth(1)
        .expect("a picture");
    assert!((number(&third, "time") - first - 0.1).abs() < 1e-9);
    client.send(&json!({"msg_type": "quit_app"}));
    assert!(client.ends());
}

#[test]
fn what_is_wrong_ends_the_connection_and_no_other() {
    let address = serve(Pace::Real);
    let mut other = Client::driving(address, "simple");
    let endless = format!("{{\"msg_type\": \"{}", "a".repeat(1 << 17));
    for wrong in [
        "no JSON",
        "{\"msg_type\": \"control\", \"steering\": \"nan\", \"throttle\": \"0\"}",
        "{\"msg_type\": \"control\", \"steering\": \"1e999\", \"throttle\": \"0\"}",
        "{\"msg_type\": \"load_scene\", \"scene_name\": \"the moon\"}",
        "{\"msg_type\": \"cam_config\", \"img_w\": \"1000000\", \"img_h\": \"1000000\"}",
        "{\"msg_type\": \"cam_config\", \"img_w\": \"-1\"}",
        "{\"msg_type\": \"cam_config\", \"fov\": \"180\"}",
        "{\"msg_type\": \"lidar_config\", \"degPerSweepInc\": \"0\", \"numSweepsLevels\": \"1\"}",
        "{\"steering\": 1}",
        "[1, 2]",
        &endless,
    ] {
        let mut client = Client::connect(address);
        client.next("scene_selection_ready");
        // The server may have closed the connection before all is sent.
        let _ = client.stream.write_all(wrong.as_bytes());
        let closed = client.ends();
        let shown = wrong.get(..60).unwrap_or(wrong);
        assert!(closed || wrong.len() > 1 << 16, "{shown}");
    }
    other.next("telemetry");
}
