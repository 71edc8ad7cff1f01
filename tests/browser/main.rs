//! The page of `pilotage-watch` in Chromium: a lap watched, driving, and what happens to the car when
//! the page stops it, is closed, is suspended, or is cut off. Without Chromium the tests count as
//! skipped; `cargo xtask test --install` installs it, and in CI they fail without it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests print their measurements, and why they cannot run"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use rustix::process::{Signal, kill_process};
use serde_json::json;

mod chromium;
mod drive;
#[path = "../support/film.rs"]
mod film;
#[path = "../support/pins.rs"]
mod pins;

use chromium::CHROMIUM;
use drive::{Car, Drive, Network, Page};
use pins::FAILSAFE;

/// The throttle's pulse at rest, nanoseconds.
const NEUTRAL: u32 = 1_500_000;

/// An engine's lap, from the beginning to the end.
fn a_lap_is_watched() {
    let drive = Drive::start(&["drive", "--watch", "--json"]);
    let mut page = Page::open(&drive.url, &[]);
    page.until("a frame is shown", "frames.length > 0");
    page.until(
        "a picture is shown",
        "document.getElementById('view').className === ''",
    );
    let picture = "(() => { const it = document.getElementById('picture'); \
                   const data = it.getContext('2d').getImageData(0, 0, it.width, it.height).data; \
                   return new Set(data).size > 16 })()";
    page.until("the picture is that of a camera", picture);
    // A record of a drive may be without a car, the last one among them.
    let lap = "frames.findLast(it => it.car).car.lap";
    page.until("half the lap is shown", &format!("{lap} > 0.5"));
    assert_eq!(
        page.get("document.getElementById('state').textContent"),
        "driving"
    );
    page.until_state("the pilot has ended");
    let [shown, missed, lost] =
        ["counted", "missed", "lost"].map(|it| page.get(it).as_u64().unwrap());
    let last = page.get(lap).as_f64().unwrap();
    drop(page);
    let report = drive.report();
    let frames = report["timing"]["frames"].as_u64().unwrap();
    println!("{shown} frames shown, {missed} missed by the pilot, {lost} lost; {frames} driven");
    assert_eq!(report["metrics"]["laps"], 1, "{report}");
    assert!(last > 0.95, "the page saw {last} of the lap");
    assert_eq!(lost, 0);
    // The page is opened a few seconds after the start.
    assert!(
        shown <= frames + missed && 10 * shown > 6 * frames,
        "{shown} of {frames}"
    );
}

/// The simulated car, with keys and the stick, stopped and armed.
fn the_page_drives() {
    let drive = Drive::start(&["drive", "--by-page"]);
    let mut page = Page::open(&drive.url, &[]);
    page.take_the_wheel();
    // Slow enough to stay on the road on a busy machine.
    page.get("document.getElementById('limit').value = 10");
    let moves = "frames.at(-1).car.speed > 1";
    let rests = "frames.at(-1).car.speed < 0.1";
    page.press("ArrowUp");
    page.until("an arrow key drives the car", moves);
    page.release("ArrowUp");
    page.until("it is at rest without a key", rests);

    page.get("document.getElementById('stick').scrollIntoView({ block: 'end' })");
    let corner = "(() => { const it = document.getElementById('stick').getBoundingClientRect(); \
                  return `${it.left} ${it.top}` })()";
    let corner = page.get(corner);
    let mut corner = corner
        .as_str()
        .unwrap()
        .split(' ')
        .map(|it| it.parse::<f64>().unwrap());
    let (x, y) = (
        corner.next().unwrap() + 150.0,
        corner.next().unwrap() + 120.0,
    );
    page.browser.mouse("mousePressed", x, y).unwrap();
    // The pilot drives only with axes that it has seen at rest.
    std::thread::sleep(Duration::from_millis(200));
    page.browser
        .mouse("mouseMoved", x - 12.0, y - 80.0)
        .unwrap();
    page.until("the stick drives the car", moves);
    page.until("to the left", "frames.at(-1).asked[0] > 0.05");
    page.click("stop");
    page.until_state("stopped");
    page.until("STOP works while the stick is held", rests);
    page.browser.mouse("mouseReleased", x, y).unwrap();

    page.click("arm");
    page.click("arm");
    std::thread::sleep(Duration::from_millis(700));
    page.until_state("stopped");
    page.click("arm");
    page.until_state("driving");
    // Another page cannot take the wheel, and sees that.
    let mut other = Page::open(&drive.url, &[]);
    other.until("the wheel is taken", "wheel === 'taken'");
    page.press("KeyW");
    other.until("the armed car drives again", moves);
    page.browser
        .call("Page.navigate", json!({ "url": "about:blank" }))
        .unwrap();
    other.until_state("stopped");
    other.until("leaving the page stops the car", rests);
    other.until("and the wheel is free", "wheel === 'free'");
}

/// How the page's hold on a car ends, and the promised time until it is stopped.
struct Cut {
    what: &'static str,
    most: Duration,
    by: fn(&mut Page, &Drive, &Network),
}

/// docs/watch.md: a stop at once, and after a silence.
const AT_ONCE: Duration = Duration::from_millis(500);
const SILENCE: Duration = Duration::from_secs(2);
/// docs/watch.md: neutral after 250 ms of silence; the rest is for the frame, and for a busy machine.
const NEUTRAL_AFTER: Duration = Duration::from_millis(500);

const CUTS: [Cut; 7] = [
    Cut {
        what: "STOP is pressed",
        most: AT_ONCE,
        by: |page, _, _| {
            let click = "document.getElementById('stop').click()";
            page.browser
                .send("Runtime.evaluate", json!({ "expression": click }))
                .unwrap();
        },
    },
    Cut {
        what: "the tab is closed",
        most: AT_ONCE,
        by: |page, _, _| {
            let target = json!({ "targetId": page.browser.target });
            page.browser.send("Target.closeTarget", target).unwrap();
        },
    },
    Cut {
        what: "the browser is killed",
        most: AT_ONCE,
        by: |page, _, _| page.signal(Signal::KILL),
    },
    Cut {
        what: "the tab is frozen",
        most: SILENCE,
        by: |page, _, _| {
            let frozen = json!({ "state": "frozen" });
            page.browser
                .send("Page.setWebLifecycleState", frozen)
                .unwrap();
        },
    },
    Cut {
        what: "all of the browser is suspended",
        most: SILENCE,
        by: |page, _, _| page.signal(Signal::STOP),
    },
    Cut {
        what: "the network is cut",
        most: SILENCE,
        by: |_, _, network| network.cut(),
    },
    Cut {
        what: "pilotage-watch is killed",
        most: AT_ONCE,
        by: |_, drive, _| kill_process(drive.page_program(), Signal::KILL).unwrap(),
    },
];

/// A car with motors is driven by the page through a network; then its hold ends in each way.
fn the_car_stops_in_time_however_the_page_ends() {
    let car = Car::new();
    let drive = car.drive();
    println!("| what happens | motor neutral after, ms | stopped after, ms | at most, ms |");
    println!("| --- | --- | --- | --- |");
    let url = drive.url.replace("127.0.0.1", "localhost");
    for Cut { what, most, by } in CUTS {
        let network = Network::to(drive.port());
        let mut page = Page::open(&url, &[network.argument(drive.port())]);
        page.take_the_wheel();
        page.arm();
        page.press("ArrowUp");
        page.press("ArrowLeft");
        car.time_until(Instant::now(), "the car moves", |[_, throttle]| {
            throttle > NEUTRAL
        });
        let began = Instant::now();
        by(&mut page, &drive, &network);
        let neutral = car.time_until(began, what, |[_, throttle]| throttle == NEUTRAL);
        let stopped = car.time_until(began, what, |pulses| pulses == FAILSAFE);
        println!(
            "| {what} | {:.0} | {:.0} | {} |",
            neutral.as_secs_f64() * 1e3,
            stopped.as_secs_f64() * 1e3,
            most.as_millis()
        );
        assert!(
            neutral <= NEUTRAL_AFTER,
            "{what}: neutral after {neutral:?}"
        );
        assert!(stopped <= most, "{what}: stopped after {stopped:?}");
        // It stays stopped, also when the browser goes on.
        if what.contains("suspended") {
            page.signal(Signal::CONT);
        }
        for _ in 0..100 {
            assert_eq!(car.pulses(), FAILSAFE, "{what}");
            std::thread::sleep(Duration::from_millis(3));
        }
    }
    drive.wait_for_message("the page's program has ended");
}

/// Four pictures, of which two are left out and one of them is used again.
fn recordings_are_scrubbed_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let monday = folder.path().join("monday");
    film::pictures(&monday);
    let program = Drive::recordings(folder.path());
    let mut page = Page::open(&program.url, &[]);
    page.until("the first picture is shown", "drawn === 0");
    let width = "document.getElementById('picture').width";
    assert_eq!(page.get(width), 640);
    // The pictures of `film` differ in their blue.
    let blue =
        "document.getElementById('picture').getContext('2d').getImageData(5, 5, 1, 1).data[2]";
    let first = page.get(blue);
    let scrub = |to: u32| {
        format!(
            "(() => {{ const it = document.getElementById('at'); it.value = {to}; \
             it.dispatchEvent(new Event('input')) }})()"
        )
    };
    // Nothing is chosen yet.
    assert_eq!(page.get("document.getElementById('mark').disabled"), true);
    page.get(&scrub(1));
    page.until("the second picture is shown", "drawn === 1");
    assert_ne!(page.get(blue), first);
    page.click("from");
    page.get(&scrub(2));
    page.click("to");
    page.click("mark");
    page.until(
        "two are left out",
        "shown.marked.filter(Boolean).length === 2",
    );
    let left = || {
        pilotage_dataset::Recording::open(&monday)
            .unwrap()
            .records()
            .len()
    };
    assert_eq!(left(), 2);
    page.click("from");
    page.click("use");
    page.until(
        "one is used again",
        "shown.marked.filter(Boolean).length === 1",
    );
    assert_eq!(left(), 3);
    let shown = page.get("document.getElementById('result').textContent");
    assert!(
        shown.as_str().unwrap().contains("4 records, 1 left out"),
        "{shown}"
    );
    page.click("play");
    page.until("it plays to the end", "drawn === 3 && !playing");
}

fn main() -> ExitCode {
    let version = Command::new(CHROMIUM).arg("--version").output();
    let there = version.is_ok_and(|it| it.status.success());
    let in_ci = std::env::var_os("CI").is_some();
    if !there && !in_ci {
        eprintln!(
            "not run: there is no program {CHROMIUM}; Debian's package {CHROMIUM} has it, and \
             `cargo xtask test --install` installs it"
        );
    }
    let tests: [(&str, fn()); 4] = [
        ("a_lap_is_watched", a_lap_is_watched),
        ("the_page_drives", the_page_drives),
        (
            "recordings_are_scrubbed_and_marked",
            recordings_are_scrubbed_and_marked,
        ),
        (
            "the_car_stops_in_time_however_the_page_ends",
            the_car_stops_in_time_however_the_page_ends,
        ),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        let run = move || {
            test();
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(!there && !in_ci)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}
