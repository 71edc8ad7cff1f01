//! Whole turns of a lidar's head as scans, in memory of a fixed size.

use pilotage_vehicle::Scan;

use crate::LidarConfig;
use crate::packet::{CLOCK, POINTS, Packet, TURN};

/// Between points up to so far apart (hundredths of a degree) each direction has the nearer of the two.
const NEIGHBOURS: u64 = 250;
/// A turn of which more than this share is missing is no scan.
const MOST_MISSING: usize = 8;

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEnd {
    /// Its scan is whole.
    Whole,
    /// Too many points are missing.
    Short,
    /// Nothing sent an echo, in any direction that is not masked: the lidar is covered or broken. A free
    /// space would look the same, and is none that a car drives in.
    Blind,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    millimetres: u16,
    /// The turn in which it was measured.
    turn: u64,
}

/// Assembles points to scans. A turn begins behind the car, so that its oldest and its newest point
/// meet there. Cells are numbered from there on in the direction in which the head turns.
#[derive(Debug)]
pub struct Assembly {
    cells: Vec<Cell>,
    /// Added to a point's angle, hundredths of a degree: the angle from the first cell on.
    shift: u32,
    turn: u64,
    /// The latest point: where it is, in units of a hundredth of a degree divided by the number of
    /// cells, and its distance.
    last: Option<(u64, u16)>,
    /// The lidar's time of the latest packet, ms.
    time: Option<u16>,
    /// The cell of each ray, and whether it is masked.
    places: Vec<(usize, bool)>,
    scan: Scan,
}

impl Assembly {
    /// Turns of the lidar that `config` describes.
    pub fn new(config: &LidarConfig) -> Self {
        let rays = config.directions();
        let count = rays.count();
        let place = |ray: usize| {
            let cell = match config.is_upside_down {
                true => ray,
                false => (count - ray) % count,
            };
            (cell, config.masks(rays.angle(ray)))
        };
        let forward = (config.forward.rem_euclid(360.0) * 100.0).round() as u32;
        Self {
            cells: vec![Cell::default(); count],
            shift: TURN + TURN / 2 - forward,
            // No cell is of this turn or of the one before.
            turn: 2,
            last: None,
            time: None,
            places: (0..count).map(place).collect(),
            scan: Scan {
                rays,
                ..Scan::default()
            },
        }
    }

    /// The scan of the latest turn that was whole; before, one that is not whole.
    pub const fn scan(&self) -> &Scan {
        &self.scan
    }

    /// Forgets the turn that has begun.
    pub fn reset(&mut self) {
        self.turn += 2;
        (self.last, self.time) = (None, None);
    }

    /// Takes the points of a packet. Allocates nothing. Returns how a turn ended that they complete.
    pub fn take(&mut self, packet: &Packet) -> Option<TurnEnd> {
        // If packets of half a turn or more are lost, nobody knows which turn the next one is of.
        if let Some(last) = self.time {
            let elapsed = (u32::from(packet.time) + CLOCK).saturating_sub(last.into());
            if elapsed % CLOCK * u32::from(packet.speed) > 180 * 1000 {
                self.reset();
            }
        }
        self.time = Some(packet.time);
        let mut ended = None;
        for point in 0..POINTS {
            let end = self.point(packet.angle(point), packet.millimetres[point]);
            ended = ended.or(end);
        }
        ended
    }

    fn point(&mut self, angle: u32, millimetres: u16) -> Option<TurnEnd> {
        let (count, turn) = (self.cells.len() as u64, u64::from(TURN));
        let full = turn * count;
        // Half a cell more: a cell's direction is its middle.
        let angle = u64::from((angle + self.shift) % TURN);
        let place = (angle * count + turn / 2) % full;
        let cell = |place: u64| (place / turn) as usize;
        let Some((last, before)) = self.last.replace((place, millimetres)) else {
            self.write(cell(place), millimetres);
            return None;
        };
        let moved = (place + full - last) % full;
        if moved > full / 2 {
            // The angle went back a little: only noise of the measured angle does that.
            self.last = Some((last, before));
            return None;
        }
        let mut ended = None;
        let mut at = cell(last);
        while at != cell(place) {
            at = (at + 1) % self.cells.len();
            if at == 0 {
                ended = Some(self.end());
            }
            if at != cell(place) && moved <= NEIGHBOURS * count {
                self.write(at, nearer(before, millimetres));
            }
        }
        self.write(at, millimetres);
        ended
    }

    fn write(&mut self, at: usize, millimetres: u16) {
        let turn = self.turn;
        if let Some(cell) = self.cells.get_mut(at) {
            let millimetres = match cell.turn == turn {
                true => nearer(cell.millimetres, millimetres),
                false => millimetres,
            };
            *cell = Cell { millimetres, turn };
        }
    }

    /// Ends the turn. What is missing in it is taken from the turn before, if it is little.
    fn end(&mut self) -> TurnEnd {
        let turn = self.turn;
        self.turn += 1;
        let missing = self.cells.iter().filter(|cell| cell.turn != turn).count();
        let is_known = self.cells.iter().all(|cell| cell.turn + 1 >= turn);
        if !is_known || missing * MOST_MISSING > self.cells.len() {
            return TurnEnd::Short;
        }
        let cells = &self.cells;
        let echoes = self.places.iter().map(|&(cell, is_masked)| {
            let found = cells.get(cell).filter(|_| !is_masked);
            found.map_or(0, |cell| cell.millimetres)
        });
        if echoes.clone().all(|millimetres| millimetres == 0) {
            return TurnEnd::Blind;
        }
        self.scan.millimetres.clear();
        self.scan.millimetres.extend(echoes);
        TurnEnd::Whole
    }
}

/// The nearer of two distances, of which 0 is no echo.
fn nearer(one: u16, other: u16) -> u16 {
    match (one, other) {
        (0, echo) | (echo, 0) => echo,
        (one, other) => one.min(other),
    }
}

#[cfg(test)]
mod tests;
