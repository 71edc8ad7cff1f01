"""Writes tests/exports: two small networks with PilotNet's structure, one of them also with its
weights in a file beside it, and ONNX Runtime's outputs.
The networks are imitations of exports: they are built by hand with onnx.helper, in the forms that
PyTorch and Keras (through tf2onnx) export.

    python write_exports.py OUT

Needs the packages of requirements.txt. The files that this script wrote are committed.
Element i of the input is ((i * 2654435761 mod 2^32) >> 24) / 255.
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(7)
CONVOLUTIONS = [(6, 5, 2), (8, 5, 2), (8, 5, 2), (8, 3, 1), (8, 3, 1)]


class Model:
    def __init__(self):
        self.constants, self.nodes = [], []

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def weights(self, name, shape, fan_in):
        values = random.standard_normal(shape) * np.sqrt(2 / fan_in)
        return self.constant(name, values.astype(np.float32))

    def node(self, operator, inputs, name, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def save(self, path, inputs, outputs, opset):
        ports = [
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in side]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "net", ports[0], ports[1], self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def batch_norm(m, x, channels, name, epsilon):
    statistics = [
        m.constant(f"{name}.{what}", (base + random.random(channels) * 0.2).astype(np.float32))
        for what, base in [("weight", 0.9), ("bias", -0.1), ("running_mean", 0.3), ("running_var", 0.4)]
    ]
    return m.node("BatchNormalization", [x] + statistics, name, epsilon=epsilon)


def pytorch(path):
    m = Model()
    mean = m.constant("mean", np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1))
    std = m.constant("std", np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1))
    x = m.node("Sub", ["input", mean], "/Sub_output_0")
    x = m.node("Div", [x, std], "/Div_output_0")
    x = batch_norm(m, x, 3, "bn", 1e-3)
    channels = 3
    for i, (count, size, stride) in enumerate(CONVOLUTIONS):
        w = m.weights(f"conv.{i}.weight", (count, channels, size, size), channels * size * size)
        b = m.weights(f"conv.{i}.bias", (count,), 100)
        x = m.node(
            "Conv", [x, w, b], f"/conv/{i}", kernel_shape=[size, size], strides=[stride, stride],
            pads=[0, 0, 0, 0], dilations=[1, 1], group=1,
        )
        if i == 1:
            x = batch_norm(m, x, count, "bn1", 1e-5)
        x = m.node("Relu" if i else "Elu", [x], f"/act/{i}")
        channels = count
    x = m.node("Flatten", [x], "/Flatten_output_0", axis=1)
    width = 8 * 18
    for i, count in enumerate([32, 10, 2]):
        w = m.weights(f"fc.{i}.weight", (count, width), width)
        b = m.weights(f"fc.{i}.bias", (count,), 100)
        last = count == 2
        x = m.node("Gemm", [x, w, b], "output" if last else f"/fc/{i}", transB=1, alpha=1.0, beta=1.0)
        x = x if last else m.node("Relu", [x], f"/fcact/{i}")
        width = count
    m.save(path, [("input", ["batch_size", 3, 66, 200])], [("output", ["batch_size", 2])], 17)


def keras(path):
    m = Model()
    scale = m.constant("scale", np.float32(2))
    one = m.constant("one", np.ones((1, 1, 1, 1), np.float32))
    x = m.node("Mul", ["image", scale], "model/rescaling/mul")
    x = m.node("Sub", [x, one], "model/rescaling/sub")
    x = m.node("Transpose", [x], "model/conv2d/Conv2D__6", perm=[0, 3, 1, 2])
    channels = 3
    for i, (count, size, stride) in enumerate(CONVOLUTIONS):
        w = m.weights(f"conv2d_{i}/kernel", (count, channels, size, size), channels * size * size)
        b = m.weights(f"conv2d_{i}/bias", (count,), 100)
        same = {"auto_pad": "SAME_UPPER"} if i == 4 else {"auto_pad": "VALID"}
        x = m.node(
            "Conv", [x, w, b], f"model/conv2d_{i}/BiasAdd", kernel_shape=[size, size],
            strides=[stride, stride], **same,
        )
        x = m.node("Elu", [x], f"model/conv2d_{i}/Elu")
        channels = count
    x = m.node("Transpose", [x], "model/flatten/Transpose", perm=[0, 2, 3, 1])
    shape = m.constant("flatten/const", np.array([-1, 8 * 60], np.int64))
    x = m.node("Reshape", [x, shape], "model/flatten/Reshape")
    w = m.weights("dense/kernel", (480, 16), 480)
    b = m.weights("dense/bias", (16,), 100)
    x = m.node("MatMul", [x, w], "model/dense/MatMul")
    x = m.node("Add", [x, b], "model/dense/BiasAdd")
    x = m.node("Relu", [x], "model/dense/Relu")
    for name, activation in [("steering", "Tanh"), ("throttle", "Sigmoid")]:
        w = m.weights(f"{name}/kernel", (16, 1), 16)
        b = m.weights(f"{name}/bias", (1,), 100)
        y = m.node("MatMul", [x, w], f"model/{name}/MatMul")
        y = m.node("Add", [y, b], f"model/{name}/BiasAdd")
        m.node(activation, [y], name)
    m.save(
        path, [("image", ["unk__1", 66, 200, 3])],
        [("steering", ["unk__1", 1]), ("throttle", ["unk__1", 1])], 15,
    )


def main():
    out = sys.argv[1]
    answers = {}
    numbers = (np.arange(66 * 200 * 3, dtype=np.uint64) * 2654435761 % 2**32) // 2**24
    pixels = numbers.astype(np.float32) / np.float32(255)
    for write, shape in [(pytorch, (1, 3, 66, 200)), (keras, (1, 66, 200, 3))]:
        path = os.path.join(out, f"{write.__name__}.onnx")
        write(path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: pixels.reshape(shape)})
        answers[write.__name__] = [float(x) for y in found for x in y.reshape(-1)]
    # The default of PyTorch's exporter since 2.9: weights in NAME.onnx.data beside the model.
    onnx.save_model(
        onnx.load(os.path.join(out, "pytorch.onnx")), os.path.join(out, "external.onnx"),
        save_as_external_data=True, location="external.onnx.data", size_threshold=0,
    )
    with open(os.path.join(out, "answers.json"), "w") as file:
        json.dump(answers, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
