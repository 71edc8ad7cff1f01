"""Computes ONNX Runtime's outputs for frames. Tests compare them with the engine's.

    python onnxruntime_answers.py MODEL.onnx FRAMES OUT

FRAMES contains images of the model's input size, concatenated: rows of interleaved
channels, one byte each. The model's input is pixels minus 128 as int8, or pixels as
float32, with shape 1 x channels x height x width. The outputs are written to OUT:
float32, little-endian, frame after frame, with the model's outputs concatenated.
Needs the packages of requirements.txt.
"""

import sys

import numpy
import onnx
import onnxruntime


def main(model: str, frames: str, out: str) -> None:
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (port,) = session.get_inputs()
    _, channels, height, width = port.shape
    pixels = numpy.fromfile(frames, numpy.uint8).reshape(-1, height, width, channels)
    planes = pixels.transpose(0, 3, 1, 2)
    if port.type == "tensor(int8)":
        planes = (planes.astype(numpy.int16) - 128).astype(numpy.int8)
    else:
        assert port.type == "tensor(float)", port.type
        planes = planes.astype(numpy.float32)
    answers = []
    for frame in numpy.ascontiguousarray(planes):
        outputs = session.run(None, {port.name: frame[numpy.newaxis]})
        answers.append(numpy.concatenate([output.astype("<f4").ravel() for output in outputs]))
    numpy.concatenate(answers).tofile(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
