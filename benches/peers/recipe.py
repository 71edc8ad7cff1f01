"""Writes the recipes of the exported networks that need one."""

import json
import pathlib

FRAMES = pathlib.Path(__file__).resolve().parent.parent.parent / "engines/frames"
# The tables of a network whose only output is two numbers.
CONTROLS = """
[[output]]
name = "controls"
index = 0
meaning = "steering"

[[output]]
name = "controls"
index = 1
meaning = "throttle"
"""


def recipe(folder, name, height, width, tables, layout="nchw", top=""):
    """Writes NAME.toml: `top` are keys of the top level, `tables` what stands beside the picture.

    The shipped frames are half a second apart, and stand for consecutive ones here."""
    (folder / f"{name}.toml").write_text(f"""model = {json.dumps(f"{name}.onnx")}
precision = "int8"
domain = "simulated"
{top}
[input]
width = {width}
height = {height}
colour = "rgb"
layout = "{layout}"
scale = 0.003921568627450980
{tables}
[calibration]
frames = {json.dumps(str(FRAMES))}
max_frames = 126
""")
