//! Converts inputs to the layout of a plan's port.

use pilotage_engine::AxisOrder;
use pilotage_graph::Tensor;

/// Converts NCHW to NHWC if the port requires it. All such inputs are float32 here.
pub fn in_layout(tensor: &Tensor, layout: AxisOrder) -> Tensor {
    let (AxisOrder::Nhwc, &[n, c, h, w], Some(data)) = (layout, tensor.shape(), tensor.as_f32())
    else {
        return tensor.clone();
    };
    let mut pixels = Vec::with_capacity(data.len());
    for image in 0..n {
        for pixel in 0..h * w {
            pixels.extend((0..c).map(|channel| data[(image * c + channel) * h * w + pixel]));
        }
    }
    Tensor::new([n, h, w, c], pixels).unwrap()
}
