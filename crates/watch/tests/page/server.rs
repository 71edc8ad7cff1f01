//! The server over sockets: access, limits, actions, and what a page receives.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use pilotage_tap::{FrameRecord, Sensed};
use pilotage_vehicle::{Measurements, Rays, Scan, Time};
use pilotage_watch::{Brake, BrakeError, CarBrake, Ends};
use tungstenite::Message;

use crate::harness::{STOP, json, start, start_with, wait_until};

#[test]
fn the_page_is_served_with_a_policy_that_admits_only_its_own_script() {
    let running = start();
    let get = "GET /?token=TOKEN HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    let response = running.send(get);
    let (head, page) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(
        head.contains("default-src 'none'; script-src 'nonce-"),
        "{head}"
    );
    for header in ["no-store", "same-origin", "nosniff", "DENY"] {
        assert!(head.contains(header), "{header}: {head}");
    }
    let (_, nonce) = head.split_once("'nonce-").unwrap();
    let nonce = nonce.split('\'').next().unwrap();
    assert_eq!(page.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!page.contains("{{"));
    // Nothing is loaded from elsewhere.
    for outside in ["src=", "href=", "@import", "url(", "https:"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert_ne!(running.send(get), response, "a nonce is used once");
}

#[test]
fn without_the_token_nothing_is_served_and_nothing_is_done() {
    let running = start();
    let wrong = "0".repeat(32);
    for token in ["", "?token=", "?token=0", &format!("?token={wrong}")] {
        for path in [
            "/",
            "/live",
            "/stop",
            "/disarm",
            "/command/left",
            "/nothing",
        ] {
            for method in ["GET", "POST"] {
                let head = format!(
                    "{method} {path}{token} HTTP/1.1\nHost: HOST\nOrigin: http://HOST\n\
                     Connection: close\n\n"
                );
                let response = running.send(&head);
                assert!(response.starts_with("HTTP/1.1 401"), "{head}: {response}");
                assert!(response.contains("default-src 'none'"), "{response}");
            }
        }
    }
    assert_eq!(running.stops(), 0);
}

#[test]
fn another_host_or_origin_is_rejected() {
    let running = start();
    let forged_host = "GET /?token=TOKEN HTTP/1.1\nHost: evil.example\nConnection: close\n\n";
    assert_eq!(running.status(forged_host), 403);
    let no_host = "GET /?token=TOKEN HTTP/1.0\nConnection: close\n\n";
    assert_eq!(running.status(no_host), 403);
    for origin in [
        "",
        "Origin: null\n",
        "Origin: http://evil.example\n",
        "Origin: https://HOST\n",
        "Origin: http://HOST.evil.example\n",
    ] {
        for path in ["/stop", "/disarm"] {
            let head = format!(
                "POST {path}?token=TOKEN HTTP/1.1\nHost: HOST\n{origin}Connection: close\n\n"
            );
            assert_eq!(running.status(&head), 403, "{origin}");
        }
    }
    assert!(running.page_from("http://evil.example").is_err());
    assert_eq!(running.stops(), 0);
    assert!(running.page().is_ok());
}

#[test]
fn the_actions_are_done_and_reported() {
    let running = start();
    let response = running.send(STOP);
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    assert!(
        response.contains(r#"{"done":true,"text":"stopped"}"#),
        "{response}"
    );
    assert_eq!(running.stops(), 1);
    let response = running.send(&STOP.replace("/stop", "/disarm"));
    assert!(response.starts_with("HTTP/1.1 502"), "{response}");
    assert!(
        response.contains(r#""done":false,"text":"the guard is gone"#),
        "{response}"
    );
    // An address that a browser opens must not act.
    let get = STOP.replace("POST", "GET");
    assert_eq!(running.status(&get), 405);
    assert_eq!(running.status(&STOP.replace("/stop", "/nothing")), 404);
    assert_eq!(running.stops(), 1);
}

#[test]
fn a_page_receives_what_the_engine_gets_and_the_newest_scan() {
    let mut running = start();
    let mut page = running.page().unwrap();
    let drive = json(&mut page, "drive");
    let number = serde_json::json!({ "name": "speed", "replacement": 0.5 });
    let inputs = &drive["inputs"];
    assert_eq!(inputs["numbers"], serde_json::json!([number]));
    assert_eq!(inputs["commands"], serde_json::json!(["left", "right"]));
    assert_eq!(
        (&inputs["scan"]["rays"], &drive["lidar"]),
        (&541.into(), &true.into())
    );
    let mut record = FrameRecord::new(1, Time::from_nanos(1));
    record.set_sensed(&Sensed {
        measured: Measurements::new([Some(1.5), None, None, None]),
        measured_age: Duration::from_millis(300),
        scan_age: Duration::from_millis(20),
        lacking: [true, false, false, false],
        ..Sensed::default()
    });
    record.set_high_level(Some("left"));
    // The nearest echo of two neighbours is drawn.
    let mut millimetres: Vec<u16> = (0..1081).collect();
    millimetres[1080] = 0;
    let rays = Rays::new(1081, -135.0, 135.0).unwrap();
    let scan = Scan { rays, millimetres };
    record.scan = running.tap.offer_scan(&scan, Time::from_nanos(1));
    running.tap.publish(&record);
    let scan = json(&mut page, "scan");
    assert_eq!(
        (&scan["start"], &scan["step"]),
        (&(-134.875).into(), &0.5.into())
    );
    let ranges = scan["ranges"].as_array().unwrap();
    let drawn = [0, 1, 539, 540].map(|place| ranges[place].as_u64().unwrap());
    assert_eq!((drawn, ranges.len()), ([1, 2, 1078, 0], 541));
    let mut later = running.page().unwrap();
    assert_eq!(json(&mut later, "drive")["lidar"], true);
    running.tap.publish(&record);
    let frame = &json(&mut later, "frames")["frames"][0];
    assert_eq!(
        frame["measured"],
        serde_json::json!([1.5, null, null, null])
    );
    assert_eq!(
        (&frame["measured_age"], &frame["scan_age"]),
        (&300.0.into(), &20.0.into())
    );
    assert_eq!(
        (&frame["lacking"][0], &frame["high_level"]),
        (&"speed".into(), &"left".into())
    );
}

/// The pilot's socket is that of a stand-in that knows one command.
#[test]
fn a_page_sets_a_command_of_the_pilot_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("pilot.command");
    let listener = UnixListener::bind(&socket).unwrap();
    let pilot = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for stream in listener.incoming().take(2) {
            let stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let answer = if line == "left\n" {
                "set"
            } else {
                "no such command"
            };
            writeln!(&stream, "{answer}").unwrap();
            asked.push(line);
        }
        asked
    });
    let running = start_with(None, Some(socket));
    let command = |name: &str| running.send(&STOP.replace("/stop", &format!("/command/{name}")));
    let done = command("left");
    assert!(
        done.contains(r#"{"done":true,"text":"command left"}"#),
        "{done}"
    );
    let refused = command("back");
    assert!(
        refused.contains(r#""done":false,"text":"no such command""#),
        "{refused}"
    );
    // What is no name does not reach the pilot.
    for name in ["Left", "a%0Ab", "a%20b", &"x".repeat(25)] {
        let refused = command(name);
        assert!(refused.contains("not the name of a command"), "{refused}");
    }
    let head = STOP.replace("/stop", "/command/left");
    assert_eq!(running.status(&head.replace("TOKEN", "0")), 401);
    assert_eq!(
        running.status(&head.replace("Origin: http://HOST\n", "")),
        403
    );
    assert_eq!(running.status(&head.replace("POST", "GET")), 405);
    assert_eq!(pilot.join().unwrap(), ["left\n", "back\n"]);
    // Without such a pilot.
    let response = start().send(&head);
    assert!(
        response.contains("takes no commands from a page"),
        "{response}"
    );
    assert_eq!(running.stops(), 0);
}

#[test]
fn a_page_receives_the_drive_its_frames_and_pictures() {
    let mut running = start();
    let mut page = running.page().unwrap();
    let drive = json(&mut page, "drive");
    assert_eq!(drive["name"], "a <car>");
    assert_eq!(
        (&drive["deadline"], &drive["period"]),
        (&100.0.into(), &33.0.into())
    );
    assert_eq!(drive["track"], serde_json::json!([[1.0, 2.0]]));
    for number in 0..3 {
        running.publish(number);
    }
    let mut frames = Vec::new();
    while frames.len() < 3 {
        let batch = json(&mut page, "frames");
        assert_eq!(batch["lost"], 0);
        frames.extend(batch["frames"].as_array().unwrap().clone());
    }
    let numbers: Vec<_> = frames
        .iter()
        .map(|frame| frame["sequence"].clone())
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
    wait_until(|| running.offer(200));
    let picture = loop {
        if let Message::Binary(bytes) = page.read().unwrap() {
            break image::load_from_memory(&bytes).unwrap().to_rgb8();
        }
    };
    assert_eq!(picture.dimensions(), (32, 16));
    assert!(picture.get_pixel(3, 3).0[0].abs_diff(200) < 5);
    drop(running.pilot.take());
    json(&mut page, "ended");
    assert_eq!(running.ended.recv().unwrap(), Ends::PilotEnded);
}

#[test]
fn pictures_stop_when_no_page_is_open() {
    let mut running = start();
    let page = running.page().unwrap();
    wait_until(|| running.offer(1));
    drop(page);
    wait_until(|| running.live.viewers() == 0);
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(50));
        !running.offer(2)
    });
}

#[test]
fn oversized_requests_and_messages_are_rejected() {
    let running = start();
    let long = "x".repeat(20_000);
    let head = format!("GET /?token=TOKEN&{long} HTTP/1.1\nHost: HOST\nConnection: close\n\n");
    let status = running.status(&head);
    assert!(matches!(status, 0 | 414 | 431), "{status}");
    let head = format!("GET /?token=TOKEN HTTP/1.1\nHost: HOST\nX: {long}\n\n");
    let status = running.status(&head);
    assert!(matches!(status, 0 | 431), "{status}");
    for body in ["Content-Length: 9000000000", "Transfer-Encoding: chunked"] {
        let head = STOP.replace("Content-Length: 0", body);
        assert_eq!(running.status(&head), 413, "{body}");
    }
    assert_eq!(running.stops(), 0);
    for message in [
        Message::text("x".repeat(100_000)),
        Message::text("stop"),
        Message::binary(vec![0; 10]),
    ] {
        let mut page = running.page().unwrap();
        let _ = page.send(message);
        wait_until(|| page.read().is_err());
    }
    wait_until(|| running.live.viewers() == 0);
    assert_eq!(running.stop(), 200);
}

#[test]
fn a_page_that_never_reads_delays_neither_the_pilot_nor_another_page() {
    let mut running = start();
    let never_reads = running.page().unwrap();
    // So little fits between the two that the server soon has to wait for the page.
    rustix::net::sockopt::set_socket_recv_buffer_size(never_reads.get_ref(), 4096).unwrap();
    let mut page = running.page().unwrap();
    let mut number = 0;
    // The server gives the page up, and keeps the other.
    while running.live.viewers() > 1 {
        for _ in 0..400 {
            number += 1;
            running.publish(number);
            running.offer(number);
        }
        json(&mut page, "frames");
        assert!(
            number < 1_000_000,
            "the page that never reads is still open"
        );
    }
    drop(never_reads);
    running.publish(123_456_789);
    loop {
        let batch = json(&mut page, "frames");
        let frames = batch["frames"].as_array().unwrap();
        if frames.iter().any(|frame| frame["sequence"] == 123_456_789) {
            break;
        }
    }
    assert_eq!(running.stop(), 200);
}

#[test]
fn a_page_gets_no_picture_before_it_has_shown_the_earlier_ones() {
    let mut running = start();
    let mut page = running.page().unwrap();
    let mut pictures = 0;
    let mut number = 0;
    // Without receipts there are two; more than a second of frames passes.
    while number < 60 {
        number += 1;
        running.publish(number);
        running.offer(number);
        std::thread::sleep(Duration::from_millis(30));
        while number.is_multiple_of(5) {
            match page.read().unwrap() {
                Message::Binary(_) => pictures += 1,
                Message::Text(text) if text.contains("frames") => break,
                _ => {}
            }
        }
    }
    running.publish(1_000_000);
    loop {
        match page.read().unwrap() {
            Message::Binary(_) => pictures += 1,
            Message::Text(text) if text.contains("1000000") => break,
            _ => {}
        }
    }
    assert_eq!(pictures, 2);
    page.send(Message::text("shown")).unwrap();
    wait_until(|| running.offer(7));
    while !matches!(page.read().unwrap(), Message::Binary(_)) {
        running.publish(1);
        running.offer(8);
    }
}

#[test]
fn fifty_pages_and_a_flood_leave_room_for_a_stop() {
    let mut running = start();
    let pages: Vec<_> = (0..50).map(|_| running.page()).collect();
    let open = pages.iter().filter(|page| page.is_ok()).count();
    assert_eq!((open, running.live.viewers()), (32, 32));
    running.publish(1);
    assert_eq!(running.stop(), 200);
    let guess = "GET /?token=00 HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    let refused: Vec<_> = (0..400).map(|_| running.status(guess)).collect();
    assert!(refused.iter().all(|status| [401, 429].contains(status)));
    assert!(refused.contains(&429));
    // A flood with the token too.
    let load = "GET /nothing?token=TOKEN HTTP/1.1\nHost: HOST\nConnection: close\n\n";
    let loads: Vec<_> = (0..400).map(|_| running.status(load)).collect();
    assert!(loads.contains(&404) && loads.contains(&429));
    assert_eq!((running.stop(), running.stops()), (200, 2));
    drop(pages);
    wait_until(|| running.live.viewers() == 0);
    wait_until(|| running.page().is_ok());
}

#[test]
fn connections_that_send_nothing_are_closed() {
    let running = start();
    let idle: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(running.address).unwrap())
        .collect();
    // All places are taken until the server closes the idle connections.
    wait_until(|| running.stop() == 200);
    for mut connection in idle {
        let _ = connection.set_read_timeout(Some(Duration::from_secs(20)));
        assert!(!matches!(connection.read(&mut [0; 1]), Ok(1)));
    }
}

#[test]
fn the_stop_of_a_simulated_car_goes_to_its_pilot_and_else_to_the_guard() {
    let mut running = start();
    let mut page = running.page().unwrap();
    json(&mut page, "drive");
    let brake = CarBrake {
        file: Some("/nonexistent/car.toml".into()),
        live: Arc::clone(&running.live),
    };
    brake.stop().unwrap();
    wait_until(|| running.tap.take_stop());
    assert!(matches!(brake.disarm(), Err(BrakeError::Simulated)));
    drop(running.pilot.take());
    json(&mut page, "ended");
    let error = brake.stop().unwrap_err();
    assert!(matches!(error, BrakeError::Stop(_)), "{error}");
    assert!(
        error.to_string().contains("/nonexistent/car.toml"),
        "{error}"
    );
    let error = brake.disarm().unwrap_err();
    assert!(matches!(error, BrakeError::NoCar { .. }), "{error}");
}
