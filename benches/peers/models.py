"""Converts the shipped network from ONNX to the formats of LiteRT and ncnn.

The conversion is written by hand, because the converters of LiteRT and ncnn need
TensorFlow or PyTorch to read our ONNX files. Weights and scales equal those of the
ONNX files bit for bit. The INT8 model is the QDQ model that
`pilotage compile --export` writes.
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
    weights: np.ndarray  # float32, or quantized values in int8
    bias: np.ndarray  # always float32
    stride: int = 1
    relu: bool = False
    # Only for quantized layers: one scale for the input, one for each output channel.
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
    """The layers, in order. A batch normalization before a layer is folded into it."""
    graph = onnx.load(path).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    relus = {node.input[0] for node in graph.node if node.op_type == "Relu"}
    layers = []
    for node in graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
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
            values, scales, _ = maker[weights].input
            layer.weights, layer.weight_scales = constants[values], constants[scales]
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
    """Builds an ONNX model with an input of uint8 pixels, node by node."""

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
    """Writes the QDQ model in the form that suits ONNX Runtime. It runs a layer in integers
    only if the bias is int32 and the output is uint8, whose lowest quantized value is the
    zero that a Relu clips at. Scales and weights are those of the exported model."""
    model = Builder()

    def dequantized(name, values, scale, zero):
        scale, zero = model.constant(f"{name} scale", scale), model.constant(f"{name} zero", zero)
        return model.node("DequantizeLinear", [values, scale, zero], f"{name} number", axis=0)

    # The values 0 to 255 correspond to -128 to 127 in the exported model.
    last = dequantized("image", "image", layers[0].input_scale, np.uint8(128))
    for layer, after in zip(layers, layers[1:] + [None]):
        name, scales = layer.name, layer.weight_scales
        zeros = np.zeros(len(scales), np.int8)
        weights = model.constant(f"{name} quantized", layer.weights)
        weights = dequantized(f"{name} weights", weights, scales, zeros)
        unit = layer.input_scale * scales
        bias = model.constant(f"{name} bias quantized", np.round(layer.bias / unit).astype(np.int32))
        bias = dequantized(f"{name} bias", bias, unit, zeros.astype(np.int32))
        if layer.is_convolution:
            last = model.node("Conv", [last, weights, bias], name, strides=[layer.stride] * 2)
        else:
            last = model.node("Gemm", [last, weights, bias], name, transB=1)
        if after is None:
            break
        if layer.relu:
            last = model.node("Relu", [last], f"{name} relu")
        step, zero = model.constant(f"{name} step", after.input_scale), np.uint8(0)
        inputs = [last, step, model.constant(f"{name} least", zero)]
        values = model.node("QuantizeLinear", inputs, f"{name} out quantized")
        if layer.is_convolution and not after.is_convolution:
            values = model.node("Flatten", [values], "flat")
        last = dequantized(f"{name} out", values, after.input_scale, zero)
    model.save(last, path)


def write_litert(layers, path):
    """Writes a .tflite file. LiteRT uses NHWC. The last layer of an INT8 model is a float
    layer here, because its output has no scale: it is float32 in our model."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
    model.operatorCodes, graph.tensors, graph.operators = [], [], []
    codes = {}
    types = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8,
             "int32": schema.TensorType.INT32}

    def tensor(name, shape, kind, data=None, scales=None):
        entry = schema.TensorT()
        entry.name, entry.shape, entry.type = name, list(shape), types[kind]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            model.buffers.append(buffer)
            entry.buffer = len(model.buffers) - 1
        if scales is not None:
            scales = np.atleast_1d(scales)
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = scales.astype(np.float32)
            entry.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        graph.tensors.append(entry)
        return len(graph.tensors) - 1

    def operator(code, version, inputs, output, options=None, kind=0):
        if code not in codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = code
            entry.version = version
            codes[code] = len(model.operatorCodes)
            model.operatorCodes.append(entry)
        entry = schema.OperatorT()
        entry.opcodeIndex, entry.inputs, entry.outputs = codes[code], inputs, [output]
        entry.builtinOptions, entry.builtinOptionsType = options, kind
        graph.operators.append(entry)

    quantized = layers[0].input_scale is not None
    kind = "int8" if quantized else "float32"
    shape = (1, HEIGHT, WIDTH, 3)
    last = tensor("image", shape, kind, scales=layers[0].input_scale)
    graph.inputs = [last]
    for layer, after in zip(layers, layers[1:] + [None]):
        weights, bias, scales = layer.weights, layer.bias, layer.weight_scales
        if len(shape) == 4 and not layer.is_convolution:
            # ONNX flattens NCHW, LiteRT NHWC: reorder the weights instead of the activations.
            _, height, width, depth = shape
            weights = weights.reshape(-1, depth, height, width).transpose(0, 2, 3, 1)
            weights = weights.reshape(len(weights), -1)
            shape = (1, weights.shape[1])
            flat = tensor("flat", shape, kind, scales=layer.input_scale)
            new_shape = tensor("flat shape", (2,), "int32", np.array(shape, np.int32))
            operator(schema.BuiltinOperator.RESHAPE, 1, [last, new_shape], flat)
            last = flat
        if quantized and after is None:
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
            options_type = schema.BuiltinOptions.Conv2DOptions
        else:
            options = schema.FullyConnectedOptionsT()
            shape = (1, len(weights))
            code, version = schema.BuiltinOperator.FULLY_CONNECTED, 4
            options_type = schema.BuiltinOptions.FullyConnectedOptions
        if layer.relu:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        weights = tensor(f"{layer.name} weights", weights.shape, kind, weights, scales)
        scale = after.input_scale if after else None
        output = tensor(layer.name, shape, kind, scales=scale)
        operator(code, version, [last, weights, bias], output, options, options_type)
        last = output
    graph.outputs = [last]

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    pathlib.Path(path).write_bytes(builder.Output())


def write_ncnn(layers, path):
    """Writes path.param and path.bin. ncnn multiplies by its scales: they are the inverse of
    ONNX's."""
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
            # Above 100, a convolution's output stays int8, in the input scale of the next layer.
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
