"""Times one engine in this process: runners.py ENGINE WHAT THREADS COUNT FOLDER.

Every engine gets the input format that suits it best. The frame is written to the
engine's input buffer before the clock starts, so only the inference is timed: Pilotage's
engine reads its input where pilotage-vision has written it, and the others can be used in
the same way. INT8 models take quantized INT8 values, as Pilotage's, and not floats. The
garbage collector is off during the measurement. Python's part of a timed call is only the
call: 2 or 3 us with ONNX Runtime. With OpenVINO it would be 7 us, so its time is the one
that OpenVINO's C++ code measures.
"""

import gc
import json
import pathlib
import sys
import time

import numpy as np

# Of the shipped network; another one's is in shape.json.
SHAPE = (1, 3, 66, 200)
FRAMES = 16
QUANTILES = {"median": 0.5, "p90": 0.9, "p99": 0.99}

FRAMES_OF = {"float32": "values.f32", "int8": "quantized.i8", "uint8": "quantized.u8"}
# The models for the ONNX runtimes, and the type of their input.
ONNX = {
    "fp32": ("fp32.onnx", "float32"),
    # See models.write_unsigned. It is also faster with OpenVINO.
    "int8": ("uint8.onnx", "uint8"),
    "exported": ("int8.onnx", "int8"),
    # Any networks (networks.py).
    "network.fp32": ("network.fp32.onnx", "float32"),
    "network.int8": ("network.int8.onnx", "float32"),
}
# The input types of the models that models.py writes for the other runtimes.
KINDS = {"fp32": "float32", "int8": "int8"}


def frames(folder, kind):
    other = folder / "shape.json"
    shape = json.loads(other.read_text()) if other.exists() else SHAPE
    return np.fromfile(folder / FRAMES_OF[kind], kind).reshape(-1, *shape)


def session(folder, precision, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    model = str(folder / ONNX[precision][0])
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def onnxruntime(folder, precision, threads):
    run = session(folder, precision, threads)
    bindings = []
    for frame in frames(folder, ONNX[precision][1]):
        binding = run.io_binding()
        for value in run.get_inputs():
            binding.bind_cpu_input(value.name, filled(frame, value.shape))
        for output in run.get_outputs():
            binding.bind_output(output.name, "cpu")
        bindings.append(binding)

    def place(index):
        nonlocal binding
        binding = bindings[index]

    def infer():
        run.run_with_iobinding(binding)

    names = [output.name for output in run.get_outputs()]
    return place, infer, lambda: dict(zip(names, binding.copy_outputs_to_cpu()))


def filled(frame, shape):
    """An input of this shape. One that consists of pictures gets the frame in its layout, as often
    as it has pictures; another one, such as a state or a measured number, is zero."""
    shape = [size if isinstance(size, int) else 1 for size in shape]  # An open size is the batch.
    behind = len(shape) > 3 and shape[-1] == frame.shape[1]
    frame = frame.transpose(0, 2, 3, 1) if behind else frame
    pictures, rest = divmod(int(np.prod(shape)), frame.size)
    if len(shape) < 4 or rest or not pictures:
        return np.zeros(shape, frame.dtype)
    return np.tile(frame.ravel(), pictures).reshape(shape)


def openvino(folder, precision, threads):
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        # The default is bfloat16 on machines that support it.
        "INFERENCE_PRECISION_HINT": "f32",
        # taskset pins the process.
        "ENABLE_CPU_PINNING": False,
    }
    model, kind = ONNX[precision]
    compiled = openvino.Core().compile_model(str(folder / model), "CPU", settings)
    request = compiled.create_infer_request()
    tensors = [[openvino.Tensor(filled(frame, list(value.partial_shape.to_shape())))
                for value in compiled.inputs] for frame in frames(folder, kind)]

    def place(index):
        for number, tensor in enumerate(tensors[index]):
            request.set_input_tensor(number, tensor)

    # The `infer` of InferRequest does the same with more Python code.
    run = super(type(request), request).infer

    def infer():
        run({}, True, False)
        return request.latency * 1e3

    names = [value.any_name for value in compiled.outputs]
    return place, infer, lambda: {name: tensor.data for name, tensor
                                  in zip(names, request.output_tensors)}


def litert(folder, precision, threads):
    from ai_edge_litert.interpreter import Interpreter

    # By default the interpreter delegates everything to XNNPACK.
    interpreter = Interpreter(str(folder / f"{precision}.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    outputs = interpreter.get_output_details()
    tensors, inputs = [], []
    for value in interpreter.get_input_details():
        tensors.append(interpreter.tensor(value["index"]))
        inputs.append([quantized_for(value, filled(frame, list(value["shape"])))
                       for frame in frames(folder, KINDS.get(precision, "float32"))])

    def place(index):
        for tensor, values in zip(tensors, inputs):
            tensor()[...] = values[index]

    return place, interpreter.invoke, lambda: {
        value["name"]: interpreter.get_tensor(value["index"]) for value in outputs}


def quantized_for(value, floats):
    """Float values in the type of LiteRT's input; others unchanged."""
    if floats.dtype == value["dtype"]:
        return floats
    scale, zero = value["quantization"]
    return np.clip(np.round(floats / scale) + zero, -128, 127).astype(value["dtype"])


def ncnn(folder, precision, threads):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    # Compute fp32 models in fp32. The INT8 model is not faster with these options.
    for kind in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage"):
        setattr(net.opt, f"use_{kind}", False)
    assert net.load_param(str(folder / f"{precision}.param")) == 0
    assert net.load_model(str(folder / f"{precision}.bin")) == 0
    # The least int8 value of ncnn is -127.
    inputs = np.maximum(frames(folder, KINDS[precision]), -127)
    mats = [ncnn.Mat(frame[0]).clone() for frame in inputs]
    found = mat = None

    def place(index):
        nonlocal mat
        mat = mats[index]

    def infer():
        nonlocal found
        extractor = net.create_extractor()
        extractor.input("image", mat)
        _, found = extractor.extract("controls")

    return place, infer, lambda: {"controls": np.array(found)}


def camera(folder, layout, threads, engine=True, area=False, whole=False):
    """Converts 640x480 frames to INT8 inputs with OpenCV, and runs ONNX Runtime on them.

    This is the fastest code that we could write: the crop comes first, the resize is bilinear
    without antialiasing (INTER_AREA antialiases, and ours is close to it), and there is no
    float picture, because the INT8 model does not need one. `whole` is the usual code: colour
    conversion of the whole frame first, then the crop.
    """
    import cv2

    cv2.setNumThreads(1)
    raw = np.fromfile(folder / f"camera.{layout}", np.uint8)
    inputs = raw.reshape(-1, 480, 640, 2 if layout == "yuyv" else 3)
    quantized = np.empty(SHAPE, np.uint8)
    planes = list(quantized[0])
    run = session(folder, "int8", threads)
    binding = run.io_binding()
    binding.bind_cpu_input("image", quantized)
    binding.bind_output("controls", "cpu")
    how = cv2.INTER_AREA if area else cv2.INTER_LINEAR
    frame = None

    def place(index):
        nonlocal frame
        frame = inputs[index]

    def infer():
        road = frame if whole else frame[240:]
        if layout == "yuyv":
            road = cv2.cvtColor(road, cv2.COLOR_YUV2RGB_YUYV)
        if whole:
            road = road[240:]
        small = cv2.resize(road, (200, 66), interpolation=how)
        cv2.split(small, planes)
        if engine:
            run.run_with_iobinding(binding)

    return place, infer, lambda: {
        "controls": binding.copy_outputs_to_cpu()[0] if engine else np.zeros(2)}


def opencv(folder, layout, threads):
    return camera(folder, layout, threads, engine=False)


def opencv_area(folder, layout, threads):
    return camera(folder, layout, threads, engine=False, area=True)


def camera_whole(folder, layout, threads):
    return camera(folder, layout, threads, whole=True)


def opencv_whole(folder, layout, threads):
    return camera(folder, layout, threads, engine=False, whole=True)


MADE = (onnxruntime, openvino, litert, ncnn, camera, camera_whole)
MADE += (opencv, opencv_area, opencv_whole)
PEERS = {make.__name__: make for make in MADE}


def main():
    peer, precision, threads, count, folder = sys.argv[1:]
    folder, threads, count = pathlib.Path(folder), int(threads), int(count)
    place, infer, answer = PEERS[peer](folder, precision, threads)
    answers = []
    for index in range(FRAMES):
        place(index)
        infer()
        found = answer()
        answers.append(flat(found))
    micros = []
    gc.disable()
    for index in range(-(count // 10), count):
        place(index % FRAMES)
        start = time.perf_counter()
        own = infer()
        if index >= 0:
            micros.append(own or (time.perf_counter() - start) * 1e6)
    micros.sort()
    times = {f"{name}_us": micros[int((count - 1) * share)] for name, share in QUANTILES.items()}
    sizes = [[name, int(np.size(values))] for name, values in found.items()]
    print(json.dumps({"engine": peer, **times, "outputs": sizes, "answers": answers}))


def flat(found):
    """The outputs' numbers, one after the other."""
    return [float(number) for values in found.values() for number in np.ravel(values)]


if __name__ == "__main__":
    main()
