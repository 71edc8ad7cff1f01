use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::Sector;
use crate::packet::{Parser, encode};

/// The points of a turn at 10 turns a second.
const TURN_POINTS: u32 = 450;

fn config(rays: usize) -> LidarConfig {
    LidarConfig {
        port: PathBuf::new(),
        forward: 0.0,
        is_upside_down: false,
        rays,
        mask: Vec::new(),
    }
}

/// Packets of a lidar at 10 turns a second from the `from`th on, which measures `distance` at each of its
/// own angles, in degrees.
fn packets(from: u32, count: u32, distance: impl Fn(f64) -> u16) -> Vec<Packet> {
    let mut parser = Parser::default();
    let mut packets = Vec::new();
    for packet in from..from + count {
        let angle = |point: u32| (packet * 12 + point) % TURN_POINTS * 80;
        let distances = std::array::from_fn(|it| distance(f64::from(angle(it as u32)) / 100.0));
        let angles = (angle(0) as u16, angle(11) as u16);
        let time = (packet * 8 / 3) % CLOCK;
        parser.take(&encode(3600, angles, &distances, time as u16), |packet| {
            packets.push(*packet);
        });
    }
    assert_eq!(packets.len(), count as usize);
    packets
}

fn ends(assembly: &mut Assembly, packets: &[Packet]) -> Vec<TurnEnd> {
    let ends = packets.iter().filter_map(|packet| assembly.take(packet));
    ends.collect()
}

/// What a lidar sees whose distance, in mm, is a hundred times the degrees of its own angle, and 1 m more.
fn ramp(angle: f64) -> u16 {
    (1000.0 + 100.0 * angle) as u16
}

#[test]
fn a_scan_has_each_point_in_its_direction_however_the_lidar_is_mounted() {
    for (forward, is_upside_down) in [(0.0, false), (90.0, false), (0.0, true), (-30.0, true)] {
        for rays in [360, 450, 720] {
            let mut assembly = Assembly::new(&LidarConfig {
                forward,
                is_upside_down,
                ..config(rays)
            });
            assert!(!assembly.scan().is_whole());
            let ends = ends(&mut assembly, &packets(0, 120, ramp));
            assert!(ends.len() >= 2 && ends[1..].iter().all(|it| *it == TurnEnd::Whole));
            let scan = assembly.scan();
            assert!(scan.is_whole());
            for (ray, &found) in scan.millimetres.iter().enumerate() {
                let left = scan.rays.angle(ray);
                let own = if is_upside_down { left } else { -left };
                let own = (own + forward).rem_euclid(360.0);
                // The ramp's end lies beside its beginning: the nearer of both counts there.
                if !(2.0..358.0).contains(&own) {
                    continue;
                }
                let error = f64::from(found) - f64::from(ramp(own));
                // A point is at most 0.4 degrees away, or half a ray's width; the nearer of two counts.
                assert!(error.abs() <= 125.0, "{forward} {left}: {error}");
            }
        }
    }
}

#[test]
fn left_is_left() {
    // An obstacle at the lidar's 90 degrees, clockwise from above: on the right.
    let wall = |angle: f64| {
        if (80.0..=100.0).contains(&angle) {
            500
        } else {
            0
        }
    };
    let mut assembly = Assembly::new(&config(360));
    ends(&mut assembly, &packets(0, 120, wall));
    let at = |assembly: &Assembly, angle| {
        let scan = assembly.scan();
        scan.millimetres[scan.rays.nearest(angle).unwrap()]
    };
    assert_eq!((at(&assembly, -90.0), at(&assembly, 90.0)), (500, 0));
    let mut assembly = Assembly::new(&LidarConfig {
        is_upside_down: true,
        ..config(360)
    });
    ends(&mut assembly, &packets(0, 120, wall));
    assert_eq!((at(&assembly, -90.0), at(&assembly, 90.0)), (0, 500));
}

#[test]
fn a_lost_packet_is_filled_from_the_turn_before_and_many_are_not() {
    // A turn ends behind the car: after 19 packets, and then after 37 or 38.
    let mut assembly = Assembly::new(&config(450));
    ends(&mut assembly, &packets(0, 150, |_| 3000));
    let mut rest = packets(150, 57, |_| 2000);
    rest.remove(30);
    assert_eq!(ends(&mut assembly, &rest), [TurnEnd::Whole; 2]);
    let distances = assembly.scan().millimetres.iter();
    assert_eq!(distances.filter(|it| **it == 3000).count(), 12);

    // A seventh of a turn.
    let mut assembly = Assembly::new(&config(450));
    ends(&mut assembly, &packets(0, 150, |_| 3000));
    let mut rest = packets(150, 120, |_| 2000);
    rest.drain(30..36);
    let found = ends(&mut assembly, &rest);
    assert!(found.contains(&TurnEnd::Short), "{found:?}");
    assert_eq!(found.last(), Some(&TurnEnd::Whole));
}

#[test]
fn packets_of_different_turns_are_no_scan() {
    let mut assembly = Assembly::new(&config(450));
    ends(&mut assembly, &packets(0, 150, |_| 3000));
    // Nearly two turns later the points go on where they stopped.
    assert_eq!(
        ends(&mut assembly, &packets(150, 36, |_| 2000)),
        [TurnEnd::Whole]
    );
    assert_eq!(
        ends(&mut assembly, &packets(261, 21, |_| 1000)),
        [TurnEnd::Short]
    );
    assert_eq!(
        ends(&mut assembly, &packets(282, 37, |_| 1000)),
        [TurnEnd::Whole]
    );
    assert!(assembly.scan().millimetres.iter().all(|it| *it == 1000));
}

#[test]
fn a_mask_hides_the_car_itself() {
    let mut assembly = Assembly::new(&LidarConfig {
        mask: vec![
            Sector {
                from: 170.0,
                to: -170.0,
            },
            Sector {
                from: 30.0,
                to: 40.0,
            },
        ],
        ..config(360)
    });
    ends(&mut assembly, &packets(0, 120, |_| 100));
    let scan = assembly.scan();
    for (ray, &found) in scan.millimetres.iter().enumerate() {
        let angle = scan.rays.angle(ray);
        let is_masked = angle.abs() >= 170.0 || (30.0..=40.0).contains(&angle);
        assert_eq!(found, if is_masked { 0 } else { 100 }, "{angle}");
    }
}

#[test]
fn the_nearest_echo_of_a_direction_counts() {
    // 450 points for 90 rays: five for each.
    let mut assembly = Assembly::new(&config(90));
    let one = |angle: f64| match (angle * 100.0).round() as u32 % 400 {
        0 => 0,
        80 => 700,
        _ => 900,
    };
    ends(&mut assembly, &packets(0, 120, one));
    assert!(assembly.scan().millimetres.iter().all(|it| *it == 700));
}

#[test]
fn packets_are_taken_without_memory() {
    let all = packets(0, 400, ramp);
    let mut assembly = Assembly::new(&config(450));
    let mut found = 0;
    let counted = allocation_counter::measure(|| {
        for packet in &all {
            found += usize::from(assembly.take(packet).is_some());
        }
    });
    assert_eq!(counted.count_total, 0);
    assert!(found > 8);
}

proptest! {
    #[test]
    fn any_packets_end_in_whole_scans_or_none(
        rays in 90..1000_usize,
        forward in -360.0..360.0_f64,
        is_upside_down in any::<bool>(),
        packets in prop::collection::vec(
            (any::<u16>(), 0..TURN, 0..3000_u32, any::<[u16; POINTS]>(), any::<u16>()), 0..200,
        ),
    ) {
        let mut assembly = Assembly::new(&LidarConfig { forward, is_upside_down, ..config(rays) });
        for (speed, start, span, millimetres, time) in packets {
            let packet = Packet { speed, start, span, millimetres, time };
            let end = assembly.take(&packet);
            prop_assert!(end != Some(TurnEnd::Whole) || assembly.scan().is_whole());
            prop_assert!(assembly.scan().millimetres.len() <= rays);
        }
    }
}

#[test]
fn a_turn_without_any_echo_is_no_scan() {
    let mut assembly = Assembly::new(&LidarConfig {
        mask: vec![Sector {
            from: -30.0,
            to: 30.0,
        }],
        ..config(360)
    });
    let seen = ends(&mut assembly, &packets(0, 120, ramp));
    assert_eq!(seen.last(), Some(&TurnEnd::Whole));
    // Covered, and with echoes of what is masked only.
    for distance in [|_| 0, |angle: f64| if angle < 20.0 { 80 } else { 0 }] {
        let blind = ends(&mut assembly, &packets(120, 120, distance));
        assert_eq!(blind.last(), Some(&TurnEnd::Blind));
        // The scan is still the latest with an echo.
        assert!(assembly.scan().nearest_echo().is_some());
    }
    let one = |angle: f64| if angle.round() == 90.0 { 500 } else { 0 };
    let seen = ends(&mut assembly, &packets(240, 120, one));
    assert_eq!(seen.last(), Some(&TurnEnd::Whole));
    let echoes = assembly.scan().millimetres.iter().filter(|&&it| it != 0);
    assert!(echoes.count() > 0);
}
