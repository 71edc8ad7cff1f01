//! Networks that answer with a path along the painted line of the simulator. Their weights are written
//! by hand.

use std::fs;
use std::path::Path;

use pilotage_graph::{
    Conv, ElementType, Graph, GraphBuilder, Op, SliceAxis, Tensor, TensorType, ValueId,
};

/// The networks' input.
const WIDTH: usize = 80;
const HEIGHT: usize = 30;
/// The part of the simulated camera's frame that it is: the ground from 0.25 to 3.2 m ahead of it. The
/// frame is `width` pixels wide.
pub fn crop(width: usize) -> String {
    let pixel = width / 160;
    let (y, height) = (62 * pixel, 30 * pixel);
    format!("crop = {{ x = 0, y = {y}, width = {width}, height = {height} }}")
}

/// The simulated camera, as a recipe describes it.
fn camera(width: usize) -> String {
    let height = width / 4 * 3;
    format!(
        "camera = {{ width = {width}, height = {height}, horizontal_fov = 1.57, up = 0.10, \
         forward = 0.45 }}"
    )
}

/// A network under construction, and its convolution of `factor` times the redness of each pixel
/// plus `offset`. The line is 0.6 red, the road and the grass are not.
fn redness(factor: f32, offset: f32) -> (GraphBuilder, ValueId) {
    let mut b = GraphBuilder::new("path");
    let shape = TensorType::new(ElementType::F32, [1, 3, HEIGHT, WIDTH]);
    let image = b.input("image", shape).unwrap();
    let weights = vec![factor, -0.5 * factor, -0.5 * factor];
    let weights = Tensor::new([1, 3, 1, 1], weights).unwrap();
    let weights = b.constant("weights", weights).unwrap();
    let bias = b.constant("bias", Tensor::new([1], vec![offset]).unwrap());
    let conv = Conv {
        kernel: [1, 1],
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        groups: 1,
    };
    let inputs = [image, weights, bias.unwrap()];
    let red = b.node("redness", Op::Conv(conv), &inputs).unwrap();
    (b, red)
}

fn finished(mut b: GraphBuilder, path: ValueId) -> Graph {
    b.output("path", path).unwrap();
    b.finish().unwrap()
}

/// The probability that a pixel belongs to the line.
fn mask() -> Graph {
    let (mut b, red) = redness(40.0, -10.0);
    let mask = b.node("mask", Op::Sigmoid, &[red]).unwrap();
    finished(b, mask)
}

/// The middle of the line in each row, as a fraction of the width: the mean column, weighted by the
/// redness; in a row without red pixels the middle of the picture. 1 x rows.
fn columns() -> (GraphBuilder, ValueId) {
    let (mut b, red) = redness(1.0, -0.25);
    let red = b.node("red", Op::Relu, &[red]).unwrap();
    let rows = b.reshape("rows", red, &[HEIGHT, WIDTH]).unwrap();
    // A little red in the middle, so that there is some in every row.
    let mut sum = |name: &str, weight: &dyn Fn(usize) -> f32, more: f32| {
        let weights = Tensor::new([WIDTH, 1], (0..WIDTH).map(weight).collect::<Vec<f32>>());
        let weights = b.constant(format!("{name} weights"), weights.unwrap());
        let sum = b.node(format!("{name} sum"), Op::MatMul, &[rows, weights.unwrap()]);
        let more = b.constant(
            format!("{name} more"),
            Tensor::new([1, 1], vec![more]).unwrap(),
        );
        b.node(name, Op::Add, &[sum.unwrap(), more.unwrap()])
            .unwrap()
    };
    let moments = sum(
        "moments",
        &|column| (column as f32 + 0.5) / WIDTH as f32,
        0.01,
    );
    let weights = sum("weights of rows", &|_| 1.0, 0.02);
    let columns = b.node("columns", Op::Div, &[moments, weights]).unwrap();
    let columns = b.reshape("middles", columns, &[1, HEIGHT]).unwrap();
    (b, columns)
}

fn lane() -> Graph {
    let (b, columns) = columns();
    finished(b, columns)
}

/// Of each row, from the lowest on: how far the ground lies ahead of the camera, and how many metres
/// the whole width of the picture spans there.
fn ground() -> impl Iterator<Item = (f32, f32)> {
    let focal = 320.0 / (1.57_f32 / 2.0).tan();
    (0..HEIGHT).rev().map(move |row| {
        let below = 248.0 + 4.0 * (row as f32 + 0.5) - 240.0;
        let ahead = 0.10 * focal / below;
        (ahead, ahead * 640.0 / focal)
    })
}

/// The lateral coordinate of the line at a fixed distance for each row, the nearest first.
fn waypoints() -> Graph {
    let (mut b, columns) = columns();
    let near_first = SliceAxis {
        start: HEIGHT - 1,
        step: -1,
        length: HEIGHT,
    };
    let whole = SliceAxis {
        start: 0,
        step: 1,
        length: 1,
    };
    let axes = vec![whole, near_first];
    let columns = b
        .node("near first", Op::Slice { axes }, &[columns])
        .unwrap();
    let middle = b.constant("middle", Tensor::new([1, 1], vec![0.5f32]).unwrap());
    let beside = b
        .node("beside", Op::Sub, &[middle.unwrap(), columns])
        .unwrap();
    let spans: Vec<f32> = ground().map(|(_, span)| span).collect();
    let spans = b.constant("spans", Tensor::new([1, HEIGHT], spans).unwrap());
    let lateral = b
        .node("lateral", Op::Mul, &[beside, spans.unwrap()])
        .unwrap();
    finished(b, lateral)
}

/// The part of a recipe that differs by the kind of the path.
fn decoder(kind: &str, width: usize) -> String {
    let camera = camera(width);
    let path = match kind {
        "mask" => format!("threshold = 0.5\n{camera}"),
        "lane" => {
            let rows: Vec<f32> = (0..HEIGHT)
                .map(|row| (row as f32 + 0.5) / HEIGHT as f32)
                .collect();
            format!("rows = {rows:?}\n{camera}")
        }
        _ => {
            let x: Vec<f32> = ground().map(|(ahead, _)| 0.45 + ahead).collect();
            format!("x = {x:?}")
        }
    };
    format!("[decoder]\nkind = \"{kind}\"\nlook_ahead = 1.2\nspeed = 3.0\n{path}\n")
}

/// Writes path.onnx and path.toml: a network that finds the red line of the simulator, of this kind.
/// Its frames are in the folder `frames`; the camera's are `width` pixels wide.
pub fn write(folder: &Path, width: usize, kind: &str, precision: &str) {
    let crop = crop(width);
    let graph = match kind {
        "mask" => mask(),
        "lane" => lane(),
        _ => waypoints(),
    };
    fs::write(folder.join("path.onnx"), graph.write()).unwrap();
    // Sums of a few pixels of many are lost in 8 bits.
    let layers = match (kind, precision) {
        (_, "fp32") | ("mask", _) => "",
        _ => "[layers]\n\"moments sum\" = \"fp32\"\n\"weights of rows sum\" = \"fp32\"\n",
    };
    let recipe = format!(
        "model = \"path.onnx\"\nprecision = \"{precision}\"\ndomain = \"simulated\"\n\n\
         [input]\nwidth = {WIDTH}\nheight = {HEIGHT}\n{crop}\n\n{}\n\
         [calibration]\nframes = \"frames\"\nmax_frames = 150\n\n{layers}",
        decoder(kind, width)
    );
    fs::write(folder.join("path.toml"), recipe).unwrap();
    fs::write(
        folder.join("car.toml"),
        "[engine]\nfile = \"path.engine\"\n",
    )
    .unwrap();
}
