use proptest::prelude::*;

use super::*;

#[test]
fn the_sign_test_is_that_of_the_tables() {
    // R: binom.test(AGREEING, TURNS)$p.value
    for (agreeing, turns, expected) in [
        (7, 7, 0.015_625),
        (0, 7, 0.015_625),
        (9, 14, 0.423_950_195_312_5),
        (22, 22, 4.768_371_582_031_25e-7),
        (5, 10, 1.0),
        (0, 0, 1.0),
    ] {
        let chance = Votes { turns, agreeing }.chance();
        assert!(
            (chance - expected).abs() < 1e-12,
            "{agreeing} of {turns}: {chance}"
        );
    }
}

proptest! {
    /// A picture that is moved by whole columns has moved by these.
    #[test]
    fn a_moved_picture_has_its_displacement(
        colours in prop::collection::vec(any::<[u8; 3]>(), 160),
        by in -14_isize..=14,
    ) {
        let columns = 96_usize;
        let picture = |moved: isize| {
            let of = |x: usize| colours[(x as isize + 30 - moved) as usize];
            let row: Vec<u8> = (0..columns).flat_map(of).collect();
            let (width, height) = (columns as u32, 32);
            Profile::of(&Picture { width, height, rgb: row.repeat(32), turned: false })
        };
        let edges = |profile: &Profile| profile::edges(profile.band(3));
        let shift = profile::shift(&edges(&picture(0)), &edges(&picture(by)), profile::LARGE);
        prop_assert!((shift.unwrap() - by as f64).abs() < 0.3, "{shift:?}");
        // The same left and right.
        let back = profile::shift(&edges(&picture(by)), &edges(&picture(0)), profile::LARGE);
        prop_assert!((back.unwrap() + by as f64).abs() < 0.3, "{back:?}");
    }
}
