"""Times float32 PilotNet: this engine, ONNX Runtime and OpenVINO, one thread each.

    python3 -m venv VENV && VENV/bin/pip install -r requirements.txt
    cargo build --release -p pilotage-engine --example pilotnet
    VENV/bin/python pilotnet.py TARGET/release/examples/pilotnet [--rounds 9] [--core 0]

Every measurement is a fresh process pinned to one core; the engines take turns,
and the table gives the median over the rounds of each process's median. The
weights are those of the example, and the answers are compared first.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# Otherwise numpy starts threads of its own, which compete with what is measured.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

CONVOLUTIONS = [(24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1)]
DENSE = [1164, 100, 50, 10, 2]


def frame():
    import numpy as np

    index = np.arange(66 * 200 * 3, dtype=np.int64)
    pixels = (index * 7919 % 256).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(pixels.reshape(1, 66, 200, 3).transpose(0, 3, 1, 2))


def write_model(path):
    """The example's network, drawn from the same sequence of numbers."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    seed = 1
    nodes, weights = [], []

    def draw(shape, scale):
        nonlocal seed
        count = int(np.prod(shape))
        drawn = np.empty(count, np.uint32)
        for place in range(count):
            seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
            drawn[place] = seed
        unit = drawn.astype(np.float32) / np.float32(0xFFFFFFFF) - np.float32(0.5)
        return (unit * np.float32(scale)).reshape(shape)

    def constant(name, data):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(data), name))
        return name

    last, depth, height, width = "image", 3, 66, 200
    for index, (units, kernel, stride) in enumerate(CONVOLUTIONS):
        scale = np.sqrt(np.float32(24) / np.float32(kernel * kernel * depth))
        w = draw((units, kernel, kernel, depth), scale).transpose(0, 3, 1, 2)
        b = draw((units,), 0.1)
        names = [last, constant(f"w{index}", w), constant(f"b{index}", b)]
        nodes.append(helper.make_node("Conv", names, [f"c{index}"], strides=[stride] * 2))
        nodes.append(helper.make_node("Relu", [f"c{index}"], [f"r{index}"]))
        last, depth = f"r{index}", units
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    last, inputs = "flat", depth * height * width
    for index, units in enumerate(DENSE):
        w = draw((units, inputs), np.sqrt(np.float32(24) / np.float32(inputs)))
        b = draw((units,), 0.1)
        if index == 0:
            w = w.reshape(units, height, width, depth).transpose(0, 3, 1, 2).reshape(units, -1)
        names = [last, constant(f"v{index}", w), constant(f"a{index}", b)]
        nodes.append(helper.make_node("Gemm", names, [f"d{index}"], transB=1))
        last, inputs = f"d{index}", units
        if units != 2:
            nodes.append(helper.make_node("Relu", [last], [f"e{index}"]))
            last = f"e{index}"
    f32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "pilotnet",
        [helper.make_tensor_value_info("image", f32, [1, 3, 66, 200])],
        [helper.make_tensor_value_info(last, f32, [1, 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def onnxruntime_run(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    binding = session.io_binding()
    image = frame()
    binding.bind_cpu_input("image", image)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def run():
        session.run_with_iobinding(binding)

    return run, lambda: binding.copy_outputs_to_cpu()[0]


def openvino_run(model):
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    image = frame()
    request.set_input_tensor(openvino.Tensor(image))
    return request.infer, lambda: request.get_output_tensor().data


PEERS = {"onnxruntime": onnxruntime_run, "openvino": openvino_run}


def child(name, model, count):
    run, answer = PEERS[name](model)
    for _ in range(count // 10):
        run()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e6)
    times.sort()
    print(times[count // 2], times[int(count * 0.99)], *answer().ravel())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("example", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = str(pathlib.Path(folder, "pilotnet.onnx"))
        write_model(model)
        pinned = ["taskset", "-c", str(options.core)]
        ours = [options.example.resolve(), "--brief", "--rounds", str(options.count)]
        commands = {"pilotage": pinned + ours}
        commands["pilotage avx2"] = pinned + ours + ["--set", "avx2"]
        for name in PEERS:
            command = [sys.executable, __file__, "child", name, model, str(options.count)]
            commands[name] = pinned + command
        medians = {name: [] for name in commands}
        tails = {name: [] for name in commands}
        answers = {}
        for _ in range(options.rounds):
            for name, command in commands.items():
                words = subprocess.run(command, check=True, capture_output=True, text=True)
                median, tail, *answers[name] = map(float, words.stdout.split())
                medians[name].append(median)
                tails[name].append(tail)
    reference = answers["onnxruntime"]
    for name, answer in answers.items():
        worst = max(abs(a - b) for a, b in zip(answer, reference, strict=True))
        assert worst < 1e-4, f"{name} answers {answer}, ONNX Runtime {reference}"
    anchor = statistics.median(medians["onnxruntime"])
    print(f"{'':14} {'median us':>10} {'best us':>10} {'p99 us':>10} {'of ORT':>7}")
    for name, found in medians.items():
        median = statistics.median(found)
        tail = statistics.median(tails[name])
        print(f"{name:14} {median:10.1f} {min(found):10.1f} {tail:10.1f} {median / anchor:7.3f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
