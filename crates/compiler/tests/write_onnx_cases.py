"""Writes the ONNX standard's own backend test cases to files, one folder for each case.

    python write_onnx_cases.py OUT

Needs the packages of requirements.txt. Reads the node cases (from
onnx.backend.test.case.node.collect_testcases), the models that PyTorch exported
(onnx/backend/test/data/pytorch-converted, pytorch-operator) and the small models
under simple. Models under real and light are left out, because their weights or
inputs would have to be downloaded.

A case is written only if all its operators are in OPERATORS, all its tensors have
elements and a type in TYPES, at least one tensor is float32, no Resize is cubic,
antialiased or a crop, and no GridSample is cubic or of volumes. OUT/operators.json contains
OPERATORS. The test compares them with the operators that the reader supports.

OUT/NAME/ contains
    model.onnx
    case.json   element types, shapes, tolerances, and for each input the nodes that
                read it ([operator, position] pairs)
    set_N.bin   the elements of all inputs, then of all outputs, little-endian
                and row-major

Pilotage reads opsets 9 to 28. Models of an earlier opset (PyTorch's have opset 6)
are converted with ONNX's own version converter. A case of a later opset is changed to
opset 28 if all its operators have the same inputs, outputs and attributes in both
versions (later versions mostly add element types). If an operator differs, the case
keeps its opset and is on the test's list of left-out cases.
"""

import json
import os
import sys
import warnings

import numpy
import onnx
import onnx.version_converter
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

FIRST_OPSET, LAST_OPSET = 9, 28
# The operators in pilotage_graph::SUPPORTED_OPERATORS, except And, Not, Or and Xor.
OPERATORS = """
Abs Acos Acosh Add ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization Cast
Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace
DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather GatherElements
GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GridSample
GroupNormalization HardSigmoid HardSwish Hardmax Identity If InstanceNormalization IsNaN LRN LSTM
LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LpNormalization MatMul Max MaxPool
Mean MeanVarianceNormalization Min Mish Mod Mul Neg OneHot PRelu Pad Pow QLinearConv QLinearMatMul
QuantizeLinear RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
ReverseSequence RotaryEmbedding Round Scan ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign
Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh
ThresholdedRelu Tile Transpose Trilu Unsqueeze Upsample Where
""".split()
# Element types that a case may have; cases with other types are not float32 cases.
TYPES = {"float32": "<f4", "int64": "<i8", "int32": "<i4", "uint8": "u1", "int8": "i1", "bool": "u1"}


def main():
    out = sys.argv[1]
    warnings.simplefilter("ignore")
    written = 0
    for name, model, data_sets, rtol, atol in node_cases() + stored_cases():
        written += write(os.path.join(out, name), name, model, data_sets, rtol, atol)
    with open(os.path.join(out, "operators.json"), "w") as file:
        json.dump(OPERATORS, file)
    print(f"{written} cases of float32 and fixed shape written to {out}")


def node_cases():
    return [
        (case.name, case.model, case.data_sets, case.rtol, case.atol)
        for case in collect_testcases(None)
    ]


def stored_cases():
    data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
    cases = []
    for kind in ["pytorch-converted", "pytorch-operator", "simple"]:
        for name in sorted(os.listdir(os.path.join(data, kind))):
            folder = os.path.join(data, kind, name)
            model = onnx.load(os.path.join(folder, "model.onnx"))
            sets = []
            for data_set in sorted(os.listdir(folder)):
                if data_set.startswith("test_data_set_"):
                    at = os.path.join(folder, data_set)
                    sets.append((protos(at, "input"), protos(at, "output")))
            cases.append((f"{kind}_{name}", model, sets, 1e-3, 1e-7))
    return cases


def protos(folder, kind):
    found = []
    while True:
        path = os.path.join(folder, f"{kind}_{len(found)}.pb")
        if not os.path.exists(path):
            return found
        tensor = onnx.TensorProto()
        with open(path, "rb") as file:
            try:
                tensor.ParseFromString(file.read())
            except Exception:  # a sequence or an optional, not a tensor
                tensor = None
        found.append(tensor)


def array(value):
    """An array of one of TYPES, or None."""
    try:
        if isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        if isinstance(value, (list, tuple, dict, str)) or value is None:
            return None
        value = numpy.asarray(value)
    except Exception:
        return None
    return value if value.dtype.name in TYPES else None


def write(folder, name, model, data_sets, rtol, atol):
    graph = model.graph
    for node in all_nodes(graph):
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            return 0
    if all(node.op_type == "Einsum" for node in graph.node):
        model, data_sets = in_float32(model, data_sets)
        graph = model.graph
    sets = []
    for inputs, outputs in data_sets:
        if isinstance(inputs, dict):
            return 0
        sets.append(([array(x) for x in inputs], [array(x) for x in outputs]))
    flat = [x for inputs, outputs in sets for x in inputs + outputs]
    if not flat or any(x is None for x in flat):
        return 0
    if not any(x.dtype == numpy.float32 for x in flat):
        return 0
    if any(x.size == 0 for x in flat) or any(resizes_otherwise(node) for node in graph.node):
        return 0
    if any(node.op_type == "GridSample" for node in graph.node) and flat[0].ndim != 4:
        return 0

    model = in_range(model)
    graph = model.graph
    constants = {init.name for init in graph.initializer}
    names = [value.name for value in graph.input if value.name not in constants]
    first_inputs, first_outputs = sets[0]
    if len(names) != len(first_inputs):
        return 0
    readers = {value: [] for value in names}
    for node in graph.node:
        for position, value in enumerate(node.input):
            if value in readers:
                readers[value].append([node.op_type, position])
    case = {
        "training": trains(graph, dict(zip(names, first_inputs))),
        "windowed_ranks": windowed_ranks(model),
        "rtol": rtol,
        "atol": atol,
        "inputs": [describe(n, x) | {"readers": readers[n]} for n, x in zip(names, first_inputs)],
        "outputs": [describe(o.name, x) for o, x in zip(graph.output, first_outputs)],
        "sets": [[[list(x.shape) for x in side] for side in pair] for pair in sets],
    }
    os.makedirs(folder)
    onnx.save(model, os.path.join(folder, "model.onnx"))
    with open(os.path.join(folder, "case.json"), "w") as file:
        json.dump(case, file, indent=1)
    for i, (inputs, outputs) in enumerate(sets):
        with open(os.path.join(folder, f"set_{i}.bin"), "wb") as file:
            for tensor in inputs + outputs:
                file.write(tensor.astype(TYPES[tensor.dtype.name]).tobytes())
    return 1


def resizes_otherwise(node):
    """Whether a node is a Resize or a GridSample of a kind that is not in scope."""
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "GridSample":
        return given.get("mode") in (b"cubic", b"bicubic")
    return node.op_type == "Resize" and (
        given.get("mode") == b"cubic"
        or given.get("antialias", 0) != 0
        or given.get("coordinate_transformation_mode") == b"tf_crop_and_resize"
    )


def in_float32(model, data_sets):
    """The case in float32. ONNX's cases of Einsum are of float64."""
    narrowed = onnx.ModelProto()
    narrowed.CopyFrom(model)
    for value in list(narrowed.graph.input) + list(narrowed.graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    narrow = lambda x: x.astype(numpy.float32) if x.dtype == numpy.float64 else x
    return narrowed, [tuple([narrow(x) for x in side] for side in pair) for pair in data_sets]


def all_nodes(graph):
    """The nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from all_nodes(attribute.g)


def describe(name, tensor):
    return {"name": name, "type": tensor.dtype.name}


def trains(graph, inputs):
    """Whether a node is in training mode."""
    values = {init.name: array(init) for init in graph.initializer} | inputs
    for node in graph.node:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get("training_mode"):
            return True
        if node.op_type == "Dropout" and len(node.input) > 2:
            mode = values.get(node.input[2])
            if mode is not None and mode.any():
                return True
    return False


def windowed_ranks(model):
    """The rank of the input of each node that is supported in two dimensions only."""
    model = onnx.shape_inference.infer_shapes(model)
    graph = model.graph
    ranks = {}
    for value in list(graph.input) + list(graph.value_info) + list(graph.output):
        if value.type.tensor_type.HasField("shape"):
            ranks[value.name] = len(value.type.tensor_type.shape.dim)
    return [ranks.get(n.input[0]) for n in graph.node if n.op_type == "ConvTranspose"]


def in_range(model):
    """The model with an opset of FIRST_OPSET to LAST_OPSET, if its function stays the same."""
    imports = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if len(imports) != 1 or FIRST_OPSET <= imports[0].version <= LAST_OPSET:
        return model
    if imports[0].version < FIRST_OPSET:
        return onnx.version_converter.convert_version(model, FIRST_OPSET)
    if not all(is_same_operator(node, imports[0].version) for node in all_nodes(model.graph)):
        return model
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    lowered.ir_version = min(lowered.ir_version, 10)
    for opset in lowered.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = LAST_OPSET
    try:
        onnx.checker.check_model(lowered, full_check=True)
    except Exception:
        return model
    return lowered


def is_same_operator(node, version):
    """Whether LAST_OPSET has this node's operator with the same inputs, outputs
    and attributes. Attributes that are newer than LAST_OPSET must be unused."""
    new = onnx.defs.get_schema(node.op_type, version, "")
    old = onnx.defs.get_schema(node.op_type, LAST_OPSET, "")
    used = {attribute.name for attribute in node.attribute}
    return (
        ports(new) == ports(old)
        and used <= set(old.attributes)
        and all(
            name in new.attributes and attribute_of(new, name) == attribute_of(old, name)
            for name in old.attributes
        )
    )


def ports(schema):
    return [[(p.name, str(p.option)) for p in side] for side in (schema.inputs, schema.outputs)]


def attribute_of(schema, name):
    attribute = schema.attributes[name]
    return str(attribute.type), attribute.required, attribute.default_value.SerializeToString()


if __name__ == "__main__":
    main()
