"""Writes tests/calibration.json: histograms, and the limits that onnxruntime's
quantizer (entropy) and numpy (percentile, squared error) choose from the same data.

    python write_calibration.py OUT.json

Needs the packages of requirements.txt. The file that this script wrote is committed.
"""

import json
import sys

import numpy as np
from onnxruntime.quantization.calibrate import HistogramCollector

BINS = 2049


def least_squares(data, limit):
    best = (np.inf, limit)
    width = 2 * limit / BINS
    for ring in range(1, BINS // 2 + 1):
        candidate = (ring + 0.5) * width
        scale = candidate / 127
        levels = np.clip(np.rint(data / scale), -127, 127)
        error = np.sum((levels * scale - data) ** 2)
        if error < best[0]:
            best = (error, candidate)
    return best[1], best[0]


def main():
    random = np.random.default_rng(11)
    relu = np.maximum(random.standard_normal(60_000), 0) * 3
    cases = {
        "normal": random.standard_normal(60_000),
        "relu": relu,
        "long tails": random.standard_t(3, 60_000),
        "laplace": random.laplace(size=60_000),
        "outlier": np.append(random.standard_normal(60_000) * 0.1, [9.0]),
        "uniform": random.uniform(-2, 2, 60_000),
    }
    out = {}
    for name, data in cases.items():
        data = data.astype(np.float32).astype(np.float64)
        limit = float(np.max(np.abs(data)))
        hist, edges = np.histogram(data, bins=BINS, range=(-limit, limit))
        collector = HistogramCollector("entropy", True, BINS, 128, 99.99, "same")
        low, high = collector.get_entropy_threshold(
            (hist, edges, -limit, limit, limit), 128
        )
        best, error = least_squares(data, limit)
        out[name] = {
            "limit": limit,
            "counts": {str(i): int(c) for i, c in enumerate(hist) if c},
            "entropy": float(high),
            "percentile 99.9": float(np.percentile(np.abs(data), 99.9)),
            "least squares": best,
            "squared error": error,
        }
    with open(sys.argv[1], "w") as file:
        json.dump(out, file)
        file.write("\n")


if __name__ == "__main__":
    main()
