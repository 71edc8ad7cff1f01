"""Compares a calibration table with the ranges that ONNX Runtime computes, for the tests.

    python tensor_ranges.py MODEL.onnx FRAMES TABLE

FRAMES contains images of the model's input size, concatenated: rows of interleaved
channels, one byte each. The model's input is the bytes divided by 255. TABLE is a
calibration table in TensorRT's format. Prints a line for each float tensor that
depends on the input and for each line of TABLE: name, largest magnitude over all
frames (or nan), scale in TABLE (or nan), separated by tabs. Needs the packages of
requirements.txt.
"""

import struct
import sys

import numpy
import onnx
import onnxruntime


def read_table(path: str) -> dict[str, float]:
    header, *lines = open(path, encoding="utf-8").read().splitlines()
    assert header == "TRT-8502-EntropyCalibration2", header
    scales = {}
    for line in lines:
        name, bits = line.rsplit(": ", 1)
        assert len(bits) == 8 and name not in scales, line
        (scales[name],) = struct.unpack(">f", bytes.fromhex(bits))
    return scales


def largest(path: str, frames: str) -> dict[str, float]:
    model = onnx.load(path)
    # Tensors that depend only on constants are not activations.
    depends = {port.name for port in model.graph.input}
    depends -= {tensor.name for tensor in model.graph.initializer}
    inputs = sorted(depends)
    for node in model.graph.node:
        if depends & set(node.input):
            depends |= {name for name in node.output if name}
    outputs = {port.name for port in model.graph.output}
    for name in sorted(depends - outputs - set(inputs)):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # Run the model without optimization: fused operators would round differently.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (port,) = session.get_inputs()
    last = port.shape[3] == 3
    height, width = port.shape[1:3] if last else port.shape[2:4]
    pictures = numpy.fromfile(frames, numpy.uint8).reshape(-1, height, width, 3)
    names = [output.name for output in session.get_outputs()]
    found = dict.fromkeys([port.name, *names], 0.0)
    for picture in pictures:
        x = picture.astype(numpy.float32) / numpy.float32(255)
        x = x if last else numpy.ascontiguousarray(x.transpose(2, 0, 1))
        values = dict(zip(names, session.run(None, {port.name: x[numpy.newaxis]})))
        for name, value in {port.name: x, **values}.items():
            if value.dtype == numpy.float32:
                found[name] = max(found[name], float(numpy.abs(value).max()))
            else:
                found.pop(name, None)
    return found


def main(model: str, frames: str, table: str) -> None:
    scales, magnitudes = read_table(table), largest(model, frames)
    for name in sorted(scales.keys() | magnitudes.keys()):
        numbers = (numbers.get(name, float("nan")) for numbers in (magnitudes, scales))
        print(name, *numbers, sep="\t")


if __name__ == "__main__":
    main(*sys.argv[1:])
