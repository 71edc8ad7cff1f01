"""Writes reference.txt: small pictures resized by Pillow.

    python3 -m venv venv && venv/bin/pip install pillow==13.0.0
    venv/bin/python make.py > reference.txt

A line holds: source width and height, channels, crop x y width height, output
width and height, "grey" when the result is converted, and the resulting bytes in
hexadecimal. The source is noise from a generator that the Rust test implements too.
"""

from PIL import Image, __version__


def noise(count):
    state, pixels = 1, bytearray()
    for _ in range(count):
        state = (state * 1103515245 + 12345) % 2**31
        pixels.append(state >> 16 & 255)
    return bytes(pixels)


CASES = [
    (64, 48, 3, (0, 24, 64, 24), (20, 7), False),  # the lower half, shrunk as PilotNet's
    (64, 48, 3, (5, 3, 41, 37), (9, 11), False),  # a crop that touches no edge
    (16, 12, 3, (0, 0, 16, 12), (16, 12), False),  # unchanged
    (7, 5, 3, (0, 0, 7, 5), (18, 13), False),  # enlarged
    (33, 40, 3, (1, 2, 31, 37), (40, 6), False),  # enlarged along one axis, shrunk along the other
    (96, 96, 3, (0, 0, 96, 96), (3, 3), False),  # 32 times smaller
    (48, 36, 1, (4, 6, 40, 30), (13, 11), False),  # grey
    (48, 36, 3, (4, 6, 40, 30), (13, 11), True),  # colour to grey
    (9, 1, 1, (0, 0, 9, 1), (4, 3), False),  # a single row
]

print(f"# Pillow {__version__}; see make.py")
for width, height, channels, (x, y, w, h), size, grey in CASES:
    mode = "RGB" if channels == 3 else "L"
    image = Image.frombytes(mode, (width, height), noise(width * height * channels))
    image = image.crop((x, y, x + w, y + h)).resize(size, Image.Resampling.BILINEAR)
    if grey:
        image = image.convert("L")
    flag = "grey" if grey else "same"
    print(width, height, channels, x, y, w, h, *size, flag, image.tobytes().hex())
