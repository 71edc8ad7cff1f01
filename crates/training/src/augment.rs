//! Augmentation of light and colour beyond the simulator's: a random curve over each picture's grey
//! levels.

use pilotage_simulator::Random;

/// The network's input, 0 to 1, for every byte by colour, after a random brightness, colour cast,
/// contrast and gamma. Half of the calls return `plain` unchanged.
pub fn table(plain: &[[f32; 256]; 3], random: &mut Random) -> [[f32; 256]; 3] {
    match levels(random) {
        Some(levels) => levels.map(|levels| levels.map(|level| f32::from(level) / 255.0)),
        None => *plain,
    }
}

/// What every byte of a colour becomes under a random brightness, colour cast, contrast and gamma,
/// rounded as from a camera; `None`, for no change, in half of the calls.
pub fn levels(random: &mut Random) -> Option<[[u8; 256]; 3]> {
    if random.chance(0.5) {
        return None;
    }
    let gain = random.log_range(0.65, 1.4);
    let gamma = random.log_range(0.75, 1.35);
    let lift = random.range(-0.06, 0.06);
    Some(std::array::from_fn(|_| {
        let cast = gain * random.log_range(0.88, 1.14);
        std::array::from_fn(|byte| {
            let light = libm::pow(byte as f64 / 255.0, gamma) * cast + lift;
            libm::round(light.clamp(0.0, 1.0) * 255.0) as u8
        })
    }))
}
