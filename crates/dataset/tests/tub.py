"""Writes the tub beside it with Donkeycar's own code, as a car does while an operator drives.

    python -m venv venv
    venv/bin/pip install --no-deps donkeycar==5.3.0
    venv/bin/pip install numpy pillow pyfiglet prettytable progress requests pyyaml psutil docopt
    venv/bin/python tub.py

Ten records in catalogs of four; the steering is to the left, and two records are deleted.
"""

import itertools
import pathlib
import shutil
import time

import numpy as np
from donkeycar.parts.tub_v2 import Tub

# So that the same files are written again: half a second between two looks at the clock.
ticks = itertools.count()
time.time = lambda: 1_767_225_600 + 0.5 * next(ticks)

TUB = pathlib.Path(__file__).parent / "tub"

shutil.rmtree(TUB, ignore_errors=True)
inputs = ["cam/image_array", "user/angle", "user/throttle", "user/mode", "pilot/angle", "pilot/throttle"]
types = ["image_array", "float", "float", "str", "float", "float"]
tub = Tub(str(TUB), inputs=inputs, types=types, max_catalog_len=4)
for i in range(10):
    picture = np.full((120, 160, 3), 20 * i, np.uint8)
    tub.write_record(
        {
            "cam/image_array": picture,
            "user/angle": -0.1 * i,
            "user/throttle": 0.25,
            "user/mode": "user",
            "pilot/angle": 0.05 * i,
            # Without a pilot's answer, Donkeycar writes no key.
            "pilot/throttle": None,
        }
    )
tub.delete_records([2, 7])
tub.close()
