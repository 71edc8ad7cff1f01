"""Writes networks that drive by a lidar's scan to tests/exports, as PyTorch's and Keras's exporters write
them: the layers of TinyLidarNet, with a quarter of its units.

    python write_scan_exports.py OUT pytorch    # in an environment of exports/pytorch.txt
    python write_scan_exports.py OUT keras      # in an environment of exports/keras.txt
    python write_scan_exports.py OUT answers    # in an environment with onnxruntime

The weights are random. Distance i is 200 + ((i * 2654435761 mod 2^32) >> 16) mod 9800 millimetres, and the networks get
metres. OUT/scan.json has the outputs that ONNX Runtime computes.
"""

import json
import os
import sys

import numpy as np

RAYS = 541
CONVOLUTIONS = [(6, 10, 4), (9, 8, 4), (12, 4, 2), (16, 3, 1), (16, 3, 1)]
UNITS = [25, 12, 10]
NAMES = ["pytorch_lidar", "keras_lidar"]


def scan():
    hashed = np.arange(RAYS, dtype=np.uint64) * 2654435761 % 2**32
    return (200 + (hashed // 2**16) % 9800).astype(np.float32) / np.float32(1000)


def pytorch(out):
    import torch
    from torch import nn

    torch.manual_seed(7)
    layers, channels, length = [], 1, RAYS
    for units, width, step in CONVOLUTIONS:
        layers += [nn.Conv1d(channels, units, width, step), nn.ReLU()]
        channels, length = units, (length - width) // step + 1
    layers.append(nn.Flatten())
    size = channels * length
    for units in UNITS:
        layers += [nn.Linear(size, units), nn.ReLU()]
        size = units
    network = nn.Sequential(*layers, nn.Linear(size, 2), nn.Tanh()).eval()
    given = torch.from_numpy(scan().reshape(1, 1, RAYS))
    how = {"dynamo": True, "external_data": False, "input_names": ["ranges"]}
    torch.onnx.export(network, (given,), os.path.join(out, NAMES[0] + ".onnx"), **how)


def keras(out):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tf2onnx
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    hidden = [layers.Conv1D(*shape, activation="relu") for shape in CONVOLUTIONS]
    dense = [layers.Dense(units, activation="relu") for units in UNITS]
    answer = layers.Dense(2, activation="tanh")
    model = keras.Sequential([layers.Input((RAYS, 1)), *hidden, layers.Flatten(), *dense, answer])
    signature = [tf.TensorSpec((1, RAYS, 1), tf.float32, name="ranges")]
    call = tf.function(lambda x: model(x, training=False), signature)
    path = os.path.join(out, NAMES[1] + ".onnx")
    tf2onnx.convert.from_function(call, signature, opset=15, output_path=path)


def answers(out):
    import onnxruntime

    found = {}
    for name in NAMES:
        session = onnxruntime.InferenceSession(os.path.join(out, name + ".onnx"))
        port = session.get_inputs()[0]
        (output,) = session.run(None, {port.name: scan().reshape(port.shape)})
        found[name] = [float(x) for x in output.reshape(-1)]
    with open(os.path.join(out, "scan.json"), "w") as file:
        json.dump(found, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    {"pytorch": pytorch, "keras": keras, "answers": answers}[sys.argv[2]](sys.argv[1])
