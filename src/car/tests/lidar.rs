use std::path::Path;

use pilotage_lidar::Sector;

use super::{accepted, refused};

#[test]
fn a_lidar_has_its_port_its_mounting_and_its_mask() {
    let lidar = accepted("[lidar]\nport = \"/dev/serial/by-id/usb-lidar\"").lidar;
    let lidar = lidar.unwrap();
    assert_eq!(lidar.port, Path::new("/dev/serial/by-id/usb-lidar"));
    assert_eq!((lidar.forward, lidar.is_upside_down), (0.0, false));
    assert_eq!((lidar.rays, lidar.mask.len()), (450, 0));
    let text = "[lidar]\nkind = \"ld06\"\nport = \"/dev/ttyTHS1\"\nforward = 90\nupside_down = true\n\
                rays = 720\nmask = [[150, -150], [-10.5, 10]]";
    let lidar = accepted(text).lidar.unwrap();
    assert_eq!((lidar.forward, lidar.is_upside_down), (90.0, true));
    let sector = |from, to| Sector { from, to };
    assert_eq!(lidar.mask, [sector(150.0, -150.0), sector(-10.5, 10.0)]);
    assert_eq!(lidar.directions().count(), 720);
    assert_eq!(accepted("").lidar, None);
}

#[test]
fn a_lidar_that_cannot_be_is_refused_with_its_line() {
    let port = "port = \"/dev/ttyUSB0\"\n";
    let sectors = vec!["[1, 2]"; 17].join(", ");
    for (text, key) in [
        (String::new(), "lidar.port"),
        ("port = \"\"".to_owned(), "lidar.port"),
        (format!("{port}rays = 89"), "lidar.rays"),
        (format!("{port}rays = 2001"), "lidar.rays"),
        (format!("{port}forward = nan"), "lidar.forward"),
        (format!("{port}mask = [[1, 2], [0, 181]]"), "lidar.mask.1.1"),
        (format!("{port}mask = [{sectors}]"), "lidar.mask"),
    ] {
        let message = refused(&format!("[lidar]\n{text}"));
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
    let message = refused(&format!("[lidar]\n{port}kind = \"rplidar\""));
    assert!(message.contains("there is `ld06`"), "{message}");
    // A motor's port is no lidar's.
    let vesc = include_str!("../../../cars/f1tenth.toml");
    let port = vesc.lines().find(|line| line.starts_with("port")).unwrap();
    let message = refused(&format!("{vesc}\n[lidar]\n{port}\n"));
    assert!(message.contains("port of the actuator"), "{message}");
}
