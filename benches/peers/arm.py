"""The Python part of `cargo xtask arm-table`.

`arm.py prepare FOLDER`, on the host, writes the models for the other engines, and the
frames that crates/engine/examples/repeat.rs has written, in their formats.

`arm.py run ENGINE PRECISION INFERENCES FOLDER`, in the emulator, runs an engine on each
frame once, and then INFERENCES times on the last one. It prints the answers as JSON. Input
and output do not move between inferences, so that two runs with different INFERENCES differ by
the inferences, and by what Python does for a call: some thousand instructions of millions.
"""

import json
import pathlib
import sys
import tomllib

import numpy as np

RECIPE = pathlib.Path(__file__).parent.parent.parent / "engines/pilotnet.toml"


def prepare(folder):
    import models

    for precision in ("fp32", "int8"):
        layers = models.read(folder / f"{precision}.onnx")
        models.write_litert(layers, folder / f"{precision}.tflite")
    models.write_unsigned(layers, folder / "uint8.onnx")
    # The fp32 engine has folded the scale, and reads pixels as they are; the model does not.
    scale = np.float32(tomllib.loads(RECIPE.read_text())["input"]["scale"])
    values = planes(np.fromfile(folder / "fp32.frames", np.float32) * scale, models)
    values.tofile(folder / "values.f32")
    quantized = planes(np.fromfile(folder / "int8.frames", np.int8), models)
    quantized.tofile(folder / "quantized.i8")
    (quantized.view(np.uint8) ^ 0x80).tofile(folder / "quantized.u8")


def planes(frames, models):
    """The frames as ONNX models read them: Pilotage's engines have interleaved channels."""
    frames = frames.reshape(-1, models.HEIGHT, models.WIDTH, 3)
    return np.ascontiguousarray(frames.transpose(0, 3, 1, 2))


def run(engine, precision, inferences, folder):
    import runners

    place, infer, answer = runners.PEERS[engine](folder, precision, 1)
    count = len(runners.frames(folder, runners.KINDS[precision]))
    answers = []
    for index in range(count):
        place(index)
        infer()
        answers.append(runners.flat(answer()))
    for _ in range(inferences):
        infer()
    print(json.dumps({"answers": answers}))


def main():
    match sys.argv[1:]:
        case ["prepare", folder]:
            prepare(pathlib.Path(folder))
        case ["run", engine, precision, inferences, folder]:
            run(engine, precision, int(inferences), pathlib.Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
