"""Compares this engine with ONNX Runtime and OpenVINO on any networks.

`cargo xtask peers --models NETWORK.onnx ...` builds the programs and calls this script. A network
has one input, a picture of three channels whose values are 0 to 1, and two numbers as outputs.
Pilotage compiles it twice, with the shipped frames for calibration and a gate that lets everything
pass: what is compared is time, and float32 answers. ONNX Runtime quantizes with its own tool, as
its documentation advises for x86 (QDQ, unsigned activations, a scale for each output channel), on
the same frames; OpenVINO runs that model too. LiteRT reads no ONNX.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx

import peers

OTHERS = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
FRAMES = peers.ROOT / "engines/frames"


def main():
    parser = argparse.ArgumentParser()
    for name in ("pilotage", "example", "folder"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("models", type=pathlib.Path, nargs="+")
    options = parser.parse_args()

    found = {"machine": peers.machine(), "networks": {}}
    peers.keep(found, options.json)  # A file that cannot be written fails now, not at the end.
    stems = [model.stem for model in options.models]
    if len(set(stems)) < len(stems):
        sys.exit("error: two of the models have the same name: rename one")
    failed = False
    for model in options.models:
        print(f"==> {model}", file=sys.stderr, flush=True)
        try:
            found["networks"][model.stem] = measured(model, options)
        except SystemExit as error:  # The other networks are still measured.
            print(error, file=sys.stderr)
            failed = True
        peers.keep(found, options.json)
    print(text(found, options.rounds))
    for rows in found["networks"].values():
        for row in rows["jobs"]:
            if row["engine"] == "Pilotage" and "failed" in row:
                print(f"error: our own engine, {row['what']}: {row['failed']}", file=sys.stderr)
                failed = True
    sys.exit(failed)


def measured(model, options):
    """Compiles and times one network. Returns its jobs with their measurements."""
    folder = options.folder / model.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recipe = written(model, folder)
    seconds = {}
    for precision in ("fp32", "int8"):
        began = time.monotonic()
        peers.quietly([options.pilotage, "compile", recipe, "--precision", precision,
                       "--out", folder / f"{precision}.engine"])
        seconds[precision] = time.monotonic() - began
    peers.quietly([options.example, "frames", recipe, folder])
    shutil.copy(model, folder / "network.fp32.onnx")
    for beside in model.parent.glob(f"{model.name}.data"):
        shutil.copy(beside, folder)
    quantized(folder)

    jobs = all_jobs(folder, options)
    rounds = []
    for _ in range(options.rounds):
        rounds.append([peers.run(job) for job in jobs])
    anchor = jobs.index(next(job for job in jobs if job["peer"] == "onnxruntime"))
    reference = np.array(rounds[0][anchor].get("answers", np.nan))
    span = np.ptp(reference, axis=0).max() or np.nan  # Of a network that does not vary.
    for index, job in enumerate(jobs):
        runs = [each[index] for each in rounds]
        failed = next((run["failed"] for run in runs if "failed" in run), None)
        if failed:
            job["failed"] = failed
            continue
        job["medians"] = [run["median_us"] for run in runs]
        job["p99"] = statistics.median(run["p99_us"] for run in runs)
        job["difference"] = np.abs(np.array(runs[0]["answers"]) - reference).max() / span
    return {"seconds": seconds, "jobs": jobs}


def written(model, folder):
    """Writes a recipe for the network."""
    graph = onnx.load(model, load_external_data=False).graph
    inputs = pictures(graph)
    shape = sizes(inputs[0])
    outputs = [(value.name, index) for value in graph.output
               for index in range(int(np.prod(sizes(value))))]
    is_picture = len(inputs) == 1 and len(shape) == 4 and 3 in (shape[1], shape[3])
    if not is_picture or len(outputs) != 2:
        sys.exit(f"error: {model}: the input must be one picture of three channels, and the "
                 f"outputs two numbers; there are {len(inputs)} inputs, the first {shape}, and "
                 f"{len(outputs)} numbers")
    layout = "nchw" if shape[1] == 3 else "nhwc"
    height, width = shape[2:] if layout == "nchw" else shape[1:3]
    (folder / "shape.json").write_text(json.dumps([1, 3, height, width]))
    lines = [f"model = {json.dumps(str(model.resolve()))}", 'precision = "int8"',
             'domain = "simulated"', "[input]", f"width = {width}", f"height = {height}",
             'colour = "rgb"', f'layout = "{layout}"', "scale = 0.003921568627450980"]
    for (name, index), meaning in zip(outputs, ("steering", "throttle")):
        lines += ["[[output]]", f"name = {json.dumps(name)}", f"index = {index}",
                  f'meaning = "{meaning}"', "gate = { mse = 1e12, worst = 1e6 }"]
    lines += ["[calibration]", f"frames = {json.dumps(str(FRAMES))}", 'method = "minmax"']
    recipe = folder / "network.toml"
    recipe.write_text("\n".join(lines) + "\n")
    return recipe


def pictures(graph):
    """The inputs that are not constants."""
    constants = {constant.name for constant in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def sizes(value):
    """The tensor's shape; a size that the model leaves open is 1, the batch."""
    return [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]


def quantized(folder):
    """Quantizes the network with ONNX Runtime's tool."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    shape = json.loads((folder / "shape.json").read_text())
    frames = np.fromfile(folder / "values.f32", np.float32).reshape(-1, *shape)
    graph = onnx.load(folder / "network.fp32.onnx", load_external_data=False).graph
    [picture] = pictures(graph)
    name, last = picture.name, sizes(picture)[3] == 3

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.frames = iter(frames)

        def get_next(self):
            frame = next(self.frames, None)
            if frame is None:
                return None
            return {name: frame.transpose(0, 2, 3, 1) if last else frame}

    prepared = folder / "network.prepared.onnx"
    quant_pre_process(str(folder / "network.fp32.onnx"), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared), str(folder / "network.int8.onnx"), Reader(), per_channel=True,
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8)


def all_jobs(folder, options):
    """The jobs of a round, in their order."""
    cores = sorted(os.sched_getaffinity(0))
    count = str(options.count)
    jobs = []
    for threads in (1, 2)[:len(cores)]:
        pinned = ["taskset", "-c", ",".join(map(str, cores[:threads]))]
        for precision in ("fp32", "int8"):
            own = [options.example, "engine", folder / f"{precision}.engine",
                   folder / "pixels.u8", "--threads", threads, "--count", count]
            rows = [("pilotage", "Pilotage", own)]
            for peer, name in OTHERS.items():
                what = f"network.{precision}"
                rows.append((peer, name, [sys.executable, peers.HERE / "runners.py", peer, what,
                                          threads, count, folder]))
            for peer, name, command in rows:
                jobs.append({"peer": peer, "engine": name, "what": precision, "threads": threads,
                             "command": [*pinned, *map(str, command)]})
    return jobs


def text(found, rounds):
    machine = found["machine"]
    versions = ", ".join(f"{name} {importlib.metadata.version(package)}"
                         for package, name in OTHERS.items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; {versions}; medians of "
        f"{rounds} rounds in turn; load average at the start {machine['load'][0]:.1f}. "
        "Milliseconds, and for the others their time over ours.",
        "",
        "| network | threads | compile, s | fp32 | ONNX Runtime | OpenVINO | difference | INT8 "
        "| p99 / median | ONNX Runtime | OpenVINO |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, network in found["networks"].items():
        for threads in sorted({job["threads"] for job in network["jobs"]}):
            of = {(job["peer"], job["what"]): job for job in network["jobs"]
                  if job["threads"] == threads}
            cells = [name, str(threads), f"{network['seconds']['int8']:.0f}"]
            for what in ("fp32", "int8"):
                own = of["pilotage", what]
                cells.append(cell(own, lambda row: f"{statistics.median(row['medians']) / 1e3:.3f}"))
                if what == "int8":
                    cells.append(cell(own, lambda row: f"{tail(row):.2f}"))
                for peer in OTHERS:
                    cells.append(cell(of[peer, what], lambda row: f"{over(row, own):.2f}"))
                if what == "fp32":
                    cells.append(cell(own, lambda row: f"{row['difference']:.0e}"))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row, shown):
    return "failed" if "failed" in row else shown(row)


def tail(row):
    return row["p99"] / statistics.median(row["medians"])


def over(row, own):
    """The other's time over ours in the same round, as the median over the rounds."""
    if "medians" not in own:
        return float("nan")
    return statistics.median(other / ours for other, ours in zip(row["medians"], own["medians"]))


if __name__ == "__main__":
    main()
