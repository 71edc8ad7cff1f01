"""Compares this engine with ONNX Runtime, OpenVINO and LiteRT on any networks.

`cargo xtask peers --models NETWORK.onnx ...` builds the programs and calls this script. A network
with one input, a picture of three channels whose values are 0 to 1, and two numbers as outputs
needs nothing else; any other one needs its recipe beside it, NETWORK.toml. Inputs that do not
consist of pictures are zero for all engines.

Pilotage compiles a network to float32, and to INT8 with the shipped frames for calibration. If the
gate refuses it, as it often does with random weights, it is compiled again with an open gate: its
time is measured, and the table says so. ONNX Runtime quantizes with its own tool, as its
documentation advises for x86 (QDQ, unsigned activations, a scale for each output channel), on
frames of the same recording; OpenVINO runs that model too. LiteRT reads no ONNX: it runs
NETWORK.fp32.tflite and NETWORK.int8.tflite, if they are there.
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
import tempfile
import time
import tomllib

import numpy as np
import onnx

import peers

OTHERS = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT"}
FRAMES = peers.ROOT / "engines/frames"
PRECISIONS = ("fp32", "int8")


def main():
    parser = argparse.ArgumentParser()
    for name in ("pilotage", "example", "folder"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--models", type=pathlib.Path, nargs="+", required=True)
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
        except (SystemExit, Exception) as error:  # The other networks are still measured.
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            failed = True
        peers.keep(found, options.json)
    print(text(found, options.rounds))
    for name, network in found["networks"].items():
        for job in network["jobs"]:
            if job["engine"] == "Pilotage" and "failed" in job:
                print(f"error: our own engine, {name}, {job['what']}: {job['failed']}",
                      file=sys.stderr)
                failed = True
    sys.exit(failed)


def measured(model, options):
    """Compiles and times one network. Returns what its rows of the table contain."""
    folder = options.folder / model.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    recipe = model.with_suffix(".toml")
    if not recipe.exists():
        recipe = written(model, folder)
    parsed = tomllib.loads(recipe.read_text())
    shape = [1, 3, parsed["input"]["height"], parsed["input"]["width"]]
    (folder / "shape.json").write_text(json.dumps(shape))
    compiled = {precision: compile_to(folder, recipe, parsed, precision, options)
                for precision in PRECISIONS}
    peers.quietly([options.example, "frames", recipe, folder])
    shutil.copy(model, folder / "network.fp32.onnx")
    for beside in model.parent.glob(f"{model.name}.data"):
        shutil.copy(beside, folder)
    for precision in PRECISIONS:
        lite = model.with_suffix(f".{precision}.tflite")
        if lite.exists():
            shutil.copy(lite, folder / f"network.{precision}.tflite")
    try:
        quantized(folder)
    except Exception as error:  # Its jobs fail then, and the table says so.
        print(f"ONNX Runtime cannot quantize {model.stem}: {error}", file=sys.stderr)

    jobs = all_jobs(folder, compiled, options)
    rounds = [[peers.run(job) for job in jobs] for _ in range(options.rounds)]
    by_round = list(zip(*rounds))
    anchor = next(runs[0] for job, runs in zip(jobs, by_round) if job["peer"] == "onnxruntime")
    for job, runs in zip(jobs, by_round):
        failed = next((run["failed"] for run in runs if "failed" in run), None)
        if failed:
            job["failed"] = failed
            continue
        job["medians"] = [run["median_us"] for run in runs]
        job["p99"] = statistics.median(run["p99_us"] for run in runs)
        job["difference"] = difference(runs[0], anchor)
    return {"about": about(model), "compiled": compiled, "jobs": jobs}


def compile_to(folder, recipe, parsed, precision, options):
    """Compiles the network; again with an open gate, if it does not pass."""
    engine = folder / f"{precision}.engine"
    command = [options.pilotage, "compile", recipe, "--precision", precision, "--out", engine]
    began = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        most = 0
        while process.poll() is None:
            most = max(most, memory(process.pid))
            time.sleep(0.01)
        said.seek(0)
        reason = said.read().decode().strip()
    found = {"seconds": time.monotonic() - began, "megabytes": most / 1024, "gate": "passed"}
    if process.returncode:
        open_gate = [argument for output in parsed.get("output", [])
                     for argument in ("--gate", f"{output['meaning']}=1e6")]
        again = subprocess.run([*command, *open_gate], capture_output=True, text=True)
        if again.returncode:
            sys.exit(f"error: {recipe.stem}, {precision}: {reason}")
        found["gate"] = "failed"
    return found


def memory(process):
    """The most memory that a process had so far, KiB. (Its resource usage counts this script's
    memory too, which it had between fork and exec.)"""
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except OSError:  # It has ended.
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)


def difference(run, reference):
    """The largest difference of the outputs that both have, as a share of their span."""
    own, others = named(run), named(reference)
    shared = [name for name in own if name in others and own[name].shape == others[name].shape]
    if not shared:
        return float("nan")
    worst = max(np.abs(own[name] - others[name]).max() for name in shared)
    span = max(np.ptp(others[name], axis=0).max() for name in shared)
    return float(worst / span) if span else float("nan")  # Of a network that does not vary.


def named(run):
    """The answers to all frames, by the name of the output: frames x numbers."""
    if "failed" in run:
        return {}
    answers, outputs, start = np.array(run["answers"]), {}, 0
    for name, size in run["outputs"]:
        outputs[name] = answers[:, start:start + size]
        start += size
    return outputs


def about(model):
    """Where the network comes from, as the file says, and its opset."""
    loaded = onnx.load(model, load_external_data=False)
    opset = next(each.version for each in loaded.opset_import if each.domain in ("", "ai.onnx"))
    source = {entry.key: entry.value for entry in loaded.metadata_props}.get("source", "")
    return {"source": source, "opset": opset,
            "exporter": f"{loaded.producer_name} {loaded.producer_version.split(' ')[0]}"}


def written(model, folder):
    """Writes a recipe for a network of one picture and two numbers."""
    graph = onnx.load(model, load_external_data=False).graph
    inputs = pictures(graph)
    shape = sizes(inputs[0])
    outputs = [(value.name, index) for value in graph.output
               for index in range(int(np.prod(sizes(value))))]
    is_picture = len(inputs) == 1 and len(shape) == 4 and 3 in (shape[1], shape[3])
    if not is_picture or len(outputs) != 2:
        sys.exit(f"error: {model}: without a recipe beside it ({model.stem}.toml) the input must be "
                 f"one picture of three channels, and the outputs two numbers; there are "
                 f"{len(inputs)} inputs, the first {shape}, and {len(outputs)} numbers")
    layout = "nchw" if shape[1] == 3 else "nhwc"
    height, width = shape[2:] if layout == "nchw" else shape[1:3]
    lines = [f"model = {json.dumps(str(model.resolve()))}", 'precision = "int8"',
             'domain = "simulated"', "[input]", f"width = {width}", f"height = {height}",
             'colour = "rgb"', f'layout = "{layout}"', "scale = 0.003921568627450980"]
    for (name, index), meaning in zip(outputs, ("steering", "throttle")):
        lines += ["[[output]]", f"name = {json.dumps(name)}", f"index = {index}",
                  f'meaning = "{meaning}"']
    lines += ["[calibration]", f"frames = {json.dumps(str(FRAMES))}", "max_frames = 126"]
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

    import runners

    frames = iter(runners.frames(folder, "float32"))
    graph = onnx.load(folder / "network.fp32.onnx", load_external_data=False).graph
    inputs = {value.name: sizes(value) for value in pictures(graph)}

    class Reader(quantization.CalibrationDataReader):
        def get_next(self):
            frame = next(frames, None)
            if frame is None:
                return None
            return {name: runners.filled(frame, shape) for name, shape in inputs.items()}

    prepared = folder / "network.prepared.onnx"
    quant_pre_process(str(folder / "network.fp32.onnx"), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared), str(folder / "network.int8.onnx"), Reader(), per_channel=True,
        quant_format=quantization.QuantFormat.QDQ,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8)


def all_jobs(folder, compiled, options):
    """The jobs of a round, in their order."""
    cores = sorted(os.sched_getaffinity(0))
    count = str(options.count)
    jobs = []
    for threads in options.threads:
        if threads > len(cores):
            continue
        pinned = ["taskset", "-c", ",".join(map(str, cores[:threads]))]
        for precision in PRECISIONS:
            own = [options.example, "engine", folder / f"{precision}.engine",
                   folder / "pixels.u8", "--threads", threads, "--count", count]
            rows = [("pilotage", "Pilotage", own)]
            what = f"network.{precision}"
            for peer, name in OTHERS.items():
                if peer == "litert" and not (folder / f"{what}.tflite").exists():
                    continue
                rows.append((peer, name, [sys.executable, peers.HERE / "runners.py", peer, what,
                                          threads, count, folder]))
            for peer, name, command in rows:
                jobs.append({"peer": peer, "engine": name, "what": precision, "threads": threads,
                             "command": [*pinned, *map(str, command)]})
    return jobs


def text(found, rounds):
    machine = found["machine"]
    versions = ", ".join(f"{name} {importlib.metadata.version(peers.PACKAGES.get(package, package))}"
                         for package, name in OTHERS.items())
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['date']}; {versions}; medians of "
        f"{rounds} rounds in turn; load average at the start {machine['load'][0]:.1f}. "
        "Milliseconds, and for the others their time over ours.",
        "",
        "| network | from | exporter | opset | threads | gate | compile, s | MB | fp32 "
        "| ONNX Runtime | OpenVINO | LiteRT | difference | INT8 | p99 / median | ONNX Runtime "
        "| OpenVINO | LiteRT |",
        "|" + " --- |" * 18,
    ]
    for name, network in found["networks"].items():
        for threads in sorted({job["threads"] for job in network["jobs"]}):
            lines.append(row(name, network, threads))
    return "\n".join(lines)


def row(name, network, threads):
    about, int8 = network["about"], network["compiled"]["int8"]
    of = {(job["peer"], job["what"]): job for job in network["jobs"] if job["threads"] == threads}
    cells = [name, about["source"], about["exporter"], str(about["opset"]), str(threads),
             int8["gate"], f"{int8['seconds']:.1f}", f"{int8['megabytes']:.0f}"]
    for what in PRECISIONS:
        own = of["pilotage", what]
        cells.append(cell(own, lambda job: f"{statistics.median(job['medians']) / 1e3:.3f}"))
        if what == "int8":
            cells.append(cell(own, lambda job: f"{tail(job):.2f}"))
        for peer in OTHERS:
            there = of.get((peer, what))
            cells.append(cell(there, lambda job: f"{over(job, own):.2f}") if there else "-")
        if what == "fp32":
            cells.append(cell(own, lambda job: f"{job['difference']:.0e}"))
    return "| " + " | ".join(cells) + " |"


def cell(job, shown):
    return "failed" if "failed" in job else shown(job)


def tail(job):
    return job["p99"] / statistics.median(job["medians"])


def over(job, own):
    """The other's time over ours in the same round, as the median over the rounds."""
    if "medians" not in own:
        return float("nan")
    return statistics.median(other / ours for other, ours in zip(job["medians"], own["medians"]))


if __name__ == "__main__":
    main()
