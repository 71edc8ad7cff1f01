"""The shipped network, read from ONNX, as LiteRT and ncnn want it.

Both are written by hand here: neither's own converter takes our ONNX without
TensorFlow or PyTorch. Weights and scales are those of the ONNX files, to the bit;
the INT8 model is the QDQ one that `pilotage compile --export` writes.
"""

import dataclasses
import pathlib
import struct

import numpy as np
import onnx
from onnx import numpy_helper

HEIGHT, WIDTH = 66, 200


@dataclasses.dataclass
class Layer:
    """A convolution (weights OIHW) or a fully connected layer (weights OI)."""

    name: str
    weights: np.ndarray  # float32, or int8 levels
    bias: np.ndarray  # float32 always
    stride: int = 1
    relu: bool = False
    # Only of a quantised layer; one scale for the input, one for each output channel.
    input_scale: np.float32 | None = None
    weight_scales: np.ndarray | None = None

    @property
    def is_convolution(self):
        return self.weights.ndim == 4

    def float_weights(self):
        if self.weight_scales is None:
            return self.weights
        shape = (-1,) + (1,) * (self.weights.ndim - 1)
        return self.weights.astype(np.float32) * self.weight_scales.reshape(shape)


def read(path):
    """The layers, in order; a batch normalisation before one is folded into it."""
    graph = onnx.load(path).graph
    constants = {held.name: numpy_helper.to_array(held) for held in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    relus = {node.input[0] for node in graph.node if node.op_type == "Relu"}
    layers = []
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        settings = {held.name: onnx.helper.get_attribute_value(held) for held in node.attribute}
        source, weights, bias = node.input
        layer = Layer(
            name=node.output[0],
            weights=constants.get(weights),
            bias=constants[bias],
            stride=settings.get("strides", [1])[0],
            relu=node.output[0] in relus,
        )
        assert not any(settings.get("pads", [0])), f"{layer.name} is padded"
        if layer.weights is None:
            levels, scales, _ = maker[weights].input
            layer.weights, layer.weight_scales = constants[levels], constants[scales]
            layer.input_scale = constants[maker[source].input[1]]
        elif source in maker and maker[source].op_type == "BatchNormalization":
            fold(layer, maker[source], constants)
        layers.append(layer)
    return layers


def fold(layer, norm, constants):
    scale, shift, mean, variance = (constants[name] for name in norm.input[1:])
    scale = scale / np.sqrt(variance + norm.attribute[0].f)
    shift = shift - mean * scale
    layer.bias = layer.bias + np.einsum("oihw,i->o", layer.weights, shift)
    layer.weights = layer.weights * scale.reshape(1, -1, 1, 1)


class Builder:
    """An ONNX model of uint8 pixels, node by node."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, data):
        self.constants.append(numpy_helper.from_array(np.asarray(data), name))
        return name

    def node(self, kind, inputs, output, **settings):
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], **settings))
        return output

    def save(self, answer, path):
        types, info = onnx.TensorProto, onnx.helper.make_tensor_value_info
        image = info("image", types.UINT8, [1, 3, HEIGHT, WIDTH])
        answer = info(answer, types.FLOAT, [1, 2])
        graph = onnx.helper.make_graph(self.nodes, "pilotnet", [image], [answer], self.constants)
        opsets = [onnx.helper.make_opsetid("", 17)]
        onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)


def write_unsigned(layers, path):
    """The QDQ model as ONNX Runtime wants it. It runs a layer in integers only where
    the bias is int32, and where the lowest level of the output is the zero that a Relu
    stops at: uint8. Steps and weights are those of the exported model."""
    made = Builder()

    def dequantised(name, levels, scale, zero):
        held = [levels, made.constant(f"{name} scale", scale), made.constant(f"{name} zero", zero)]
        return made.node("DequantizeLinear", held, f"{name} number", axis=0)

    # Levels 0 to 255 stand for what -128 to 127 do in the exported model.
    last = dequantised("image", "image", layers[0].input_scale, np.uint8(128))
    for layer, after in zip(layers, layers[1:] + [None]):
        name, scales = layer.name, layer.weight_scales
        zeros = np.zeros(len(scales), np.int8)
        weights = made.constant(f"{name} levels", layer.weights)
        weights = dequantised(f"{name} weights", weights, scales, zeros)
        unit = layer.input_scale * scales
        bias = made.constant(f"{name} bias levels", np.round(layer.bias / unit).astype(np.int32))
        bias = dequantised(f"{name} bias", bias, unit, zeros.astype(np.int32))
        if layer.is_convolution:
            last = made.node("Conv", [last, weights, bias], name, strides=[layer.stride] * 2)
        else:
            last = made.node("Gemm", [last, weights, bias], name, transB=1)
        if after is None:
            break
        if layer.relu:
            last = made.node("Relu", [last], f"{name} relu")
        step, zero = made.constant(f"{name} step", after.input_scale), np.uint8(0)
        held = [last, step, made.constant(f"{name} least", zero)]
        levels = made.node("QuantizeLinear", held, f"{name} out levels")
        if layer.is_convolution and not after.is_convolution:
            levels = made.node("Flatten", [levels], "flat")
        last = dequantised(f"{name} out", levels, after.input_scale, zero)
    made.save(last, path)


def write_litert(layers, path):
    """A .tflite file. LiteRT is NHWC. The last layer of an INT8 model has no scale
    for its output (ours gives float32 there), so it is a float layer here."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    codes = {}
    types = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8,
             "int32": schema.TensorType.INT32}

    def tensor(name, shape, kind, data=None, scales=None):
        held = schema.TensorT()
        held.name, held.shape, held.type = name, list(shape), types[kind]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            model.buffers.append(buffer)
            held.buffer = len(model.buffers) - 1
        if scales is not None:
            scales = np.atleast_1d(scales)
            held.quantization = schema.QuantizationParametersT()
            held.quantization.scale = scales.astype(np.float32)
            held.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        graph.tensors.append(held)
        return len(graph.tensors) - 1

    def operator(code, version, inputs, output, options=None, kind=0):
        if code not in codes:
            held = schema.OperatorCodeT()
            held.builtinCode = held.deprecatedBuiltinCode = code
            held.version = version
            codes[code] = len(model.operatorCodes)
            model.operatorCodes.append(held)
        held = schema.OperatorT()
        held.opcodeIndex, held.inputs, held.outputs = codes[code], inputs, [output]
        held.builtinOptions, held.builtinOptionsType = options, kind
        graph.operators.append(held)

    quantised = layers[0].input_scale is not None
    kind = "int8" if quantised else "float32"
    shape = (1, HEIGHT, WIDTH, 3)
    last = tensor("image", shape, kind, scales=layers[0].input_scale)
    graph.inputs = [last]
    for layer, after in zip(layers, layers[1:] + [None]):
        weights, bias, scales = layer.weights, layer.bias, layer.weight_scales
        if len(shape) == 4 and not layer.is_convolution:
            # ONNX flattens NCHW, LiteRT NHWC: the weights move instead of the numbers.
            _, height, width, depth = shape
            weights = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1)
            weights = weights.reshape(len(weights), -1)
            shape = (1, weights.shape[1])
            flat = tensor("flat", shape, kind, scales=layer.input_scale)
            wanted = tensor("flat shape", (2,), "int32", np.array(shape, np.int32))
            operator(schema.BuiltinOperator.RESHAPE, 1, [last, wanted], flat)
            last = flat
        if quantised and after is None:
            weights, scales, kind = layer.float_weights(), None, "float32"
            number = tensor("dequantised", shape, kind)
            operator(schema.BuiltinOperator.DEQUANTIZE, 2, [last], number)
            last = number
        if scales is not None:
            scales = scales.astype(np.float32)
            unit = np.float64(layer.input_scale) * scales
            bias = np.round(bias / unit).astype(np.int32)
            bias = tensor(f"{layer.name} bias", bias.shape, "int32", bias, unit)
        else:
            bias = tensor(f"{layer.name} bias", bias.shape, "float32", bias)
        if layer.is_convolution:
            weights = weights.transpose(0, 2, 3, 1)
            options = schema.Conv2DOptionsT()
            options.strideW = options.strideH = layer.stride
            options.padding = schema.Padding.VALID
            places = [(shape[side] - weights.shape[side]) // layer.stride + 1 for side in (1, 2)]
            shape = (1, *places, len(weights))
            code, version = schema.BuiltinOperator.CONV_2D, 3
            of = schema.BuiltinOptions.Conv2DOptions
        else:
            options = schema.FullyConnectedOptionsT()
            shape = (1, len(weights))
            code, version = schema.BuiltinOperator.FULLY_CONNECTED, 4
            of = schema.BuiltinOptions.FullyConnectedOptions
        if layer.relu:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        held = tensor(f"{layer.name} weights", weights.shape, kind, weights, scales)
        scale = after.input_scale if after else None
        output = tensor(layer.name, shape, kind, scales=scale)
        operator(code, version, [last, held, bias], output, options, of)
        last = output
    graph.outputs = [last]

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    pathlib.Path(path).write_bytes(builder.Output())


def write_ncnn(layers, path):
    """path.param and path.bin. ncnn's scales multiply: they are one over ONNX's."""
    lines = [f"Input image 0 1 image 0={WIDTH} 1={HEIGHT} 2=3"]
    weights = bytearray()
    last = "image"
    for layer, after in zip(layers, layers[1:] + [None]):
        settings = {0: len(layer.weights)}
        size = layer.weights.size
        if layer.is_convolution:
            settings |= {1: layer.weights.shape[3], 3: layer.stride, 5: 1, 6: size}
        else:
            settings |= {1: 1, 2: size}
        if layer.relu:
            settings[9] = 1
        if layer.weight_scales is None:
            weights += struct.pack("<I", 0)  # float32 follows
            weights += layer.weights.astype("<f4").tobytes()
            weights += layer.bias.astype("<f4").tobytes()
        else:
            # Above 100 a convolution's output stays int8, in the scale of the layer after it.
            stays = layer.is_convolution and after.is_convolution
            settings[8] = 102 if stays else 2
            weights += struct.pack("<I", 0x000D4B38)  # int8 follows, padded to four bytes
            weights += layer.weights.tobytes() + bytes(-size % 4)
            weights += layer.bias.astype("<f4").tobytes()
            weights += (1 / layer.weight_scales).astype("<f4").tobytes()
            weights += struct.pack("<f", 1 / layer.input_scale)
            if stays:
                weights += struct.pack("<f", 1 / after.input_scale)
        kind = "Convolution" if layer.is_convolution else "InnerProduct"
        spelled = " ".join(f"{key}={value}" for key, value in settings.items())
        lines.append(f"{kind} {layer.name} 1 1 {last} {layer.name} {spelled}")
        last = layer.name
    head = ["7767517", f"{len(lines)} {len(lines)}"]
    pathlib.Path(f"{path}.param").write_text("\n".join(head + lines) + "\n")
    pathlib.Path(f"{path}.bin").write_bytes(weights)
