"""Runs this engine and others alternately, and prints a comparison.

`cargo xtask peers` builds the programs and calls this script. Every measurement is a new
process, pinned to one core or to two. A round runs each engine once, and ONNX Runtime in
float32 on one thread at its start and its end. The times of a round are compared with the
latter, and the tables contain medians over the rounds.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tomllib

import numpy as np

import models
import table

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
RECIPE = ROOT / "engines/pilotnet.toml"
# The pixel formats that Pilotage and OpenCV both support.
CAMERAS = ["rgb8", "yuyv"]
# The names on the command line, the names in the tables, and the packages with the version.
PYTHON = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT", "ncnn": "ncnn"}
PACKAGES = {"litert": "ai-edge-litert"}
RUST = {"rten": "rten", "tract": "tract-onnx"}
NAMES = ["pilotage", *PYTHON, *RUST, "camera"]


def main():
    parser = argparse.ArgumentParser()
    for name in ("pilotage", "example", "rust", "folder"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()

    prepare(options)
    jobs = [job for job in all_jobs(options) if job["peer"] in {*options.only, "pilotage"}]
    found = {"machine": machine(), "jobs": jobs, "rounds": []}
    keep(found, options.json)  # A file that cannot be written fails now, not at the end.
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}, load {os.getloadavg()[0]:.1f}",
              file=sys.stderr, flush=True)
        found["rounds"].append(one_round(jobs))
        keep(found, options.json)
    outputs = tomllib.loads(RECIPE.read_text())["output"]
    rows = table.measured(found, outputs)
    print(table.text(found, rows))
    for row in table.ours_wrong(rows):
        name = f"{row['what']}, {row['threads']} threads"
        print(f"error: our own engine, {name}: {row['verdict']}", file=sys.stderr)
    sys.exit(bool(table.ours_wrong(rows)))


def keep(found, file):
    if file:
        file.write_text(json.dumps(found, indent=1))


def prepare(options):
    """Writes all models and frames again, which is fast."""
    folder = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for precision in ("fp32", "int8"):
        engine = folder / f"{precision}.engine"
        export = ["--export", folder] if precision == "int8" else []
        command = [options.pilotage, "compile", RECIPE, "--precision", precision]
        quietly([*command, "--out", engine, *export])
    shutil.copy(ROOT / "engines/pilotnet.onnx", folder / "fp32.onnx")
    (folder / "int8.qdq.onnx").rename(folder / "int8.onnx")
    for precision in ("fp32", "int8"):
        layers = models.read(folder / f"{precision}.onnx")
        models.write_litert(layers, folder / f"{precision}.tflite")
        models.write_ncnn(layers, folder / precision)
    models.write_unsigned(layers, folder / "uint8.onnx")
    quietly([options.example, "frames", RECIPE, folder])
    write_camera(folder)


def write_camera(folder):
    """Writes the frames as 640x480 camera frames: stretched over the lower half."""
    import cv2

    roads = np.fromfile(folder / "pixels.u8", np.uint8).reshape(-1, models.HEIGHT, models.WIDTH, 3)
    pictures = np.zeros((len(roads), 480, 640, 3), np.uint8)
    for picture, small in zip(pictures, roads):
        picture[240:] = cv2.resize(small, (640, 240), interpolation=cv2.INTER_LINEAR)
    pictures.tofile(folder / "camera.rgb8")
    yuyv = [cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_YUYV) for picture in pictures]
    np.array(yuyv).tofile(folder / "camera.yuyv")


def quietly(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{done.stderr}")


def all_jobs(options):
    """The jobs of a round, in their order."""
    folder, count = options.folder, str(options.count)
    cores = sorted(os.sched_getaffinity(0))
    jobs = []

    def add(peer, engine, version, what, threads, command, **more):
        pinned = ["taskset", "-c", ",".join(map(str, cores[:threads]))]
        jobs.append(dict(peer=peer, engine=engine, version=version, what=what, threads=threads,
                         command=[*pinned, *map(str, command)], **more))

    def runner(peer, what, threads):
        return [sys.executable, HERE / "runners.py", peer, what, threads, count, folder]

    own = ours()
    for threads in (1, 2)[:len(cores)]:
        for precision, frames in (("fp32", "values.f32"), ("int8", "quantized.i8")):
            command = [options.example, "engine", folder / f"{precision}.engine"]
            command += [folder / "pixels.u8", "--threads", threads, "--count", count]
            add("pilotage", "Pilotage", own, precision, threads, command)
            for peer, name in PYTHON.items():
                version = importlib.metadata.version(PACKAGES.get(peer, peer))
                add(peer, name, version, precision, threads, runner(peer, precision, threads))
            # Both run the QDQ model in float32. Written with ConvInteger and MatMulInteger
            # instead, rten took 0.96 of the time and tract 0.95; QLinearConv made tract slower.
            for peer, package in RUST.items():
                model = folder / f"{precision}.onnx"
                kind = "int8" if precision == "int8" else "float"
                command = [options.rust, peer, model, folder / frames, kind, threads, count]
                add(peer, peer, locked(package), precision, threads, command)
    runtime = importlib.metadata.version("onnxruntime")
    add("onnxruntime", "ONNX Runtime", runtime, "int8 as exported", 1,
        runner("onnxruntime", "exported", 1))
    for camera in CAMERAS:
        command = [options.example, "camera", folder / "int8.engine"]
        command += [folder / f"camera.{camera}", "--count", count, "--format", camera]
        add("camera", "Pilotage", own, camera, 1, command, part="controls")
        add("camera", "Pilotage", own, camera, 1, [*command, "--vision-only"], part="picture")
        version = importlib.metadata.version("opencv-python-headless")
        add("camera", "OpenCV, ONNX Runtime", f"{version}, {runtime}", camera, 1,
            runner("camera", camera, 1), part="controls")
        add("camera", "OpenCV", version, camera, 1, runner("opencv", camera, 1), part="picture")
        add("camera", "OpenCV, INTER_AREA", version, camera, 1,
            runner("opencv_area", camera, 1), part="picture")
        # The order of conversion and crop matters only for YUYV: RGB needs no conversion.
        if camera == "yuyv":
            add("camera", "OpenCV, ONNX Runtime, whole frame", f"{version}, {runtime}", camera, 1,
                runner("camera_whole", camera, 1), part="controls")
            add("camera", "OpenCV, whole frame", version, camera, 1,
                runner("opencv_whole", camera, 1), part="picture")
    anchor = next(job for job in jobs if job["peer"] == "onnxruntime")
    return [anchor | {"peer": "pilotage", "anchor": True}, *jobs]


def one_round(jobs):
    """The result of each job. The anchor, which is the first job, runs again at the end."""
    return [run(job) for job in [*jobs, jobs[0]]]


def run(job):
    threads = str(job["threads"])
    environment = os.environ | {
        "OMP_NUM_THREADS": threads,
        "RAYON_NUM_THREADS": threads,
        # numpy's threads would compete with the measured code.
        "OPENBLAS_NUM_THREADS": "1",
        "RUST_BACKTRACE": "0",
    }
    done = subprocess.run(job["command"], env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        # Rust prints the reason in the first line, Python in the last.
        reason = next((line for line in lines if line.startswith("Error: ")), lines[-1])
        if job.get("anchor"):
            sys.exit(f"error: ONNX Runtime, which all is compared with, failed: {reason}")
        return {"failed": reason}
    return json.loads(done.stdout.splitlines()[-1])


def ours():
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    version = manifest["workspace"]["package"]["version"]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    return f"{version} {commit}".strip()


def locked(package):
    lock = tomllib.loads((HERE / "rust/Cargo.lock").read_text())
    return next(entry["version"] for entry in lock["package"] if entry["name"] == package)


def machine():
    cpu = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line]
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
        "load": os.getloadavg(),
    }


if __name__ == "__main__":
    main()
