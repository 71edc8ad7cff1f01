//! The page of recordings.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use pilotage_dataset::Recording;
use pilotage_watch::Recordings;
use serde_json::{Value, json};

use crate::harness::{Running, start, start_all};

/// A folder with a recording of ten grey pictures, a log that is none, and what is no recording.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let monday = folder.path().join("monday 1");
    fs::create_dir(&monday).unwrap();
    let mut list = "image_name,steering,throttle,timestamp\n".to_owned();
    for index in 0..10 {
        let picture = image::RgbImage::from_pixel(8, 6, image::Rgb([20 * index; 3]));
        picture.save(monday.join(format!("{index}.jpg"))).unwrap();
        let steering = 0.1 * (f64::from(index) - 4.5);
        list += &format!("{index}.jpg,{steering:.2},0.5,{index}\n");
    }
    fs::write(monday.join("data.csv"), list).unwrap();
    fs::write(folder.path().join("a.mcap"), "no log").unwrap();
    fs::write(folder.path().join("secret.txt"), "secret").unwrap();
    fs::create_dir(folder.path().join(".hidden")).unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder
}

fn serve(folder: &Path) -> Running {
    let recordings = Recordings::of(folder.to_owned(), true).unwrap();
    start_all(None, None, Some(Arc::new(recordings)))
}

impl Running {
    fn request(&self, method: &str, path: &str) -> String {
        self.send(&format!(
            "{method} {path} HTTP/1.1\nHost: HOST\nOrigin: http://HOST\n\
             Authorization: Bearer TOKEN\nConnection: close\nContent-Length: 0\n\n"
        ))
    }

    fn value(&self, method: &str, path: &str) -> Value {
        let response = self.request(method, path);
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        serde_json::from_str(response.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

#[test]
fn recordings_are_listed_shown_and_marked() {
    let folder = folder();
    let running = serve(folder.path());
    let list = running.value("GET", "/recordings/list");
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["a.mcap", "monday 1"]);

    let shown = running.value("GET", "/recordings/of/monday%201");
    assert_eq!(shown["marked"], json!(vec![false; 10]));
    assert_eq!(shown["steering"][0], -0.45);
    assert_eq!(shown["limit"], 0.5);
    let total = |shown: &Value| -> u64 {
        let bars = shown["bars"].as_array().unwrap();
        bars.iter().map(|bar| bar.as_u64().unwrap()).sum()
    };
    assert_eq!(total(&shown), 10);
    let marked = running.value("POST", "/recordings/of/monday%201/mark/2/5");
    let expected: Vec<bool> = (0..10).map(|index| (2..=5).contains(&index)).collect();
    assert_eq!(marked["marked"], json!(expected));
    assert_eq!(total(&marked), 6);
    let monday = folder.path().join("monday 1");
    assert_eq!(Recording::open(&monday).unwrap().records().len(), 6);
    // Nothing is deleted, and the marks can be removed.
    assert!(monday.join("3.jpg").exists());
    let used = running.value("POST", "/recordings/of/monday%201/use/3/9");
    assert_eq!(total(&used), 9);
    assert_eq!(Recording::open(&monday).unwrap().records().len(), 9);
}

#[test]
fn pictures_are_those_of_the_recording() {
    let folder = folder();
    let running = serve(folder.path());
    let picture = running.request("GET", "/recordings/of/monday%201/7");
    assert!(picture.contains("content-type: image/jpeg"), "{picture}");
    assert!(picture.contains("x-content-type-options: nosniff"));
    for (path, status) in [
        ("/recordings/of/monday%201/10", 404),
        ("/recordings/of/monday%201/-1", 400),
        ("/recordings/of/other", 404),
        ("/recordings/of/..", 404),
        ("/recordings/of/..%2f..%2fetc", 404),
        ("/recordings/of/secret.txt", 404),
        ("/recordings/of/.hidden", 404),
        ("/recordings/of/a.mcap", 422),
    ] {
        let response = running.request("GET", path);
        let code = response.split(' ').nth(1).unwrap();
        assert_eq!(code, status.to_string(), "{path}: {response}");
        assert!(!response.contains("secret\n"), "{response}");
    }
    // A page of another site, and one without the token.
    let foreign = "POST /recordings/of/monday%201/mark/0/1 HTTP/1.1\nHost: HOST\nOrigin: http://evil\n\
                   Authorization: Bearer TOKEN\nConnection: close\nContent-Length: 0\n\n";
    assert_eq!(running.status(foreign), 403);
    let without = foreign.replace("TOKEN", "0").replace("evil", "HOST");
    assert_eq!(running.status(&without), 401);
    let refused = running.request("POST", "/recordings/of/monday%201/mark/5/10");
    assert!(
        refused.starts_with("HTTP/1.1 422") && refused.contains("has the records 0 to 9"),
        "{refused}"
    );
    assert!(!folder.path().join("monday 1/left_out.csv").exists());
}

#[test]
fn one_recording_can_be_asked_for_while_another_is_shown() {
    let folder = folder();
    let tuesday = folder.path().join("tuesday");
    fs::create_dir(&tuesday).unwrap();
    let picture = image::RgbImage::from_pixel(8, 6, image::Rgb([9; 3]));
    picture.save(tuesday.join("0.png")).unwrap();
    fs::write(tuesday.join("1.png"), "no picture").unwrap();
    let running = serve(folder.path());
    running.value("GET", "/recordings/of/monday%201");
    let picture = running.request("GET", "/recordings/of/tuesday/0");
    assert!(picture.contains("content-type: image/png"), "{picture}");
    let damaged = running.request("GET", "/recordings/of/tuesday/1");
    assert!(damaged.starts_with("HTTP/1.1 422"), "{damaged}");
    let marked = running.value("POST", "/recordings/of/monday%201/mark/9/9");
    assert_eq!(marked["marked"][9], true);
    // A picture without a list has no steering.
    let shown = running.value("GET", "/recordings/of/tuesday");
    assert_eq!(shown["steering"], json!([null, null]));
    assert_eq!(Recording::open(&tuesday).unwrap().records().len(), 2);
}

#[test]
fn recordings_without_records_and_marks_that_cannot_be_written_are_reported() {
    let folder = folder();
    let monday = folder.path().join("monday 1");
    // In place of the file with the marks: root may write to any folder.
    fs::create_dir(monday.join("left_out.csv")).unwrap();
    let none = folder.path().join("none");
    fs::create_dir(&none).unwrap();
    fs::write(none.join("data.csv"), "image_name,steering,throttle\n").unwrap();
    let running = serve(folder.path());
    let refused = running.request("POST", "/recordings/of/monday%201/mark/0/1");
    assert!(
        refused.starts_with("HTTP/1.1 422") && refused.contains("left_out.csv"),
        "{refused}"
    );
    let empty = running.request("GET", "/recordings/of/none");
    assert!(empty.starts_with("HTTP/1.1 422"), "{empty}");
}

#[test]
fn clients_that_disconnect_or_send_garbage_change_nothing() {
    let folder = folder();
    let running = serve(folder.path());
    for path in [
        "/recordings/of/%ff",
        "/recordings/of/%00",
        "/recordings/of/",
        "/recordings/of//etc",
        "/recordings/of/monday%201/mark/9/2",
        "/recordings/of/monday%201/mark/0/18446744073709551615",
        "/recordings/of/monday%201/mark/0/18446744073709551616",
        "/recordings/of/monday%201/mark/a/b",
        "/recordings/of/monday%201/left_out.csv/mark/0/1",
    ] {
        let response = running.request("POST", path);
        assert!(response.starts_with("HTTP/1.1 4"), "{path}: {response}");
    }
    let marking = running.request("GET", "/recordings/of/monday%201/mark/0/1");
    assert!(marking.starts_with("HTTP/1.1 405"), "{marking}");
    for _ in 0..20 {
        let mut stream = TcpStream::connect(running.address).unwrap();
        let head = format!(
            "GET /recordings/of/monday%201 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            running.address, running.token
        );
        stream.write_all(head.as_bytes()).unwrap();
    }
    assert!(!folder.path().join("monday 1/left_out.csv").exists());
    assert_eq!(running.stop(), 200);
}

#[test]
fn without_a_folder_no_recording_is_served() {
    let running = start();
    for path in ["/recordings", "/recordings/list"] {
        let response = running.request("GET", path);
        assert!(response.starts_with("HTTP/1.1 404"), "{response}");
    }
    assert!(Recordings::of("/does/not/exist".into(), false).is_err());
}

#[test]
fn a_stop_is_not_kept_waiting_by_recordings() {
    let folder = folder();
    let running = serve(folder.path());
    // Requests that are not read.
    let waiting = [(); 16].map(|()| {
        let mut stream = TcpStream::connect(running.address).unwrap();
        let head = format!(
            "GET /recordings/of/monday%201 HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
            running.address, running.token
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    });
    assert_eq!(running.stop(), 200);
    drop(waiting);
    assert_eq!(running.stops(), 1);
}
