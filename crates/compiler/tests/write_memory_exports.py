"""Writes networks with memory, with attention and with 3-D convolution to tests/exports, as PyTorch's
and Keras's exporters write them, with the outputs that these frameworks compute.

    python write_memory_exports.py OUT pytorch    # in an environment of exports/pytorch.txt
    python write_memory_exports.py OUT keras      # in an environment of exports/keras.txt

The weights are random. Element i of all inputs, one input after the other, is
((i * 2654435761 mod 2^32) >> 24) / 255. OUT/memory.json has the outputs, one after the other.
"""

import json
import os
import sys

import numpy as np


def inputs(*shapes):
    made, start = [], 0
    for shape in shapes:
        count = int(np.prod(shape))
        numbers = np.arange(start, start + count, dtype=np.uint64) * 2654435761 % 2**32
        made.append(((numbers // 2**24) / 255).astype(np.float32).reshape(shape))
        start += count
    return made


def store(out, name, outputs):
    path = os.path.join(out, "memory.json")
    answers = {}
    if os.path.exists(path):
        with open(path) as file:
            answers = json.load(file)
    answers[name] = [float(x) for y in outputs for x in np.asarray(y).reshape(-1)]
    with open(path, "w") as file:
        json.dump(dict(sorted(answers.items())), file, indent=1)
        file.write("\n")


def pytorch(out):
    import torch
    from torch import nn

    class Lstm(nn.Module):
        """One step, with the state as inputs and outputs."""

        def __init__(self):
            super().__init__()
            self.conv, self.cell = nn.Conv2d(3, 4, 3, 2), nn.LSTM(4 * 5 * 7, 8, batch_first=True)
            self.head = nn.Linear(8, 2)

        def forward(self, picture, hidden, cell):
            seen = torch.relu(self.conv(picture)).flatten(1).unsqueeze(1)
            y, (hidden, cell) = self.cell(seen, (hidden, cell))
            return torch.tanh(self.head(y[:, -1])), hidden, cell

    class Gru(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(6, 8, batch_first=True, bidirectional=True)
            self.head = nn.Linear(16, 2)

        def forward(self, sequence):
            return self.head(self.gru(sequence)[0][:, -1])

    class Attention(nn.Module):
        """A step of a vision transformer."""

        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.block = nn.TransformerEncoderLayer(
                8, 2, 16, batch_first=True, activation="gelu", norm_first=True
            )
            self.head = nn.Linear(8, 2)

        def forward(self, picture):
            tokens = self.patches(picture).flatten(2).transpose(1, 2)
            return self.head(self.block(tokens)[:, 0])

    class Volume(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv3d(3, 4, (3, 3, 3), (1, 2, 2), (1, 0, 0)), nn.ReLU(), nn.MaxPool3d(2),
                nn.Conv3d(4, 4, 2, padding=1), nn.AvgPool3d(2), nn.Flatten(),
            )
            self.head = nn.Linear(4 * 1 * 2 * 2, 2)

        def forward(self, clip):
            return self.head(self.body(clip))

    torch.manual_seed(7)
    picture, state = (1, 3, 12, 16), (1, 1, 8)
    legacy = {"dynamo": False, "opset_version": 17}
    modern = {"dynamo": True, "external_data": False}
    for name, network, shapes, how in [
        ("pytorch_lstm", Lstm(), [picture, state, state], legacy),
        ("pytorch_gru", Gru(), [(1, 5, 6)], modern | {"opset_version": 18}),
        ("pytorch_attention", Attention(), [picture], modern | {"opset_version": 23}),
        ("pytorch_volume", Volume(), [(1, 3, 4, 15, 16)], legacy),
    ]:
        network.eval()
        given = tuple(torch.from_numpy(x) for x in inputs(*shapes))
        torch.onnx.export(network, given, os.path.join(out, name + ".onnx"), **how)
        with torch.no_grad():
            outputs = network(*given)
        store(out, name, outputs if isinstance(outputs, tuple) else [outputs])


def keras(out):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tf2onnx
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    for name, shape, hidden in [
        ("keras_lstm", (1, 5, 6), [layers.LSTM(8)]),
        ("keras_conv_lstm", (1, 3, 8, 9, 3), [layers.ConvLSTM2D(2, 3), layers.Flatten()]),
    ]:
        model = keras.Sequential([layers.Input(shape[1:]), *hidden, layers.Dense(2)])
        signature = [tf.TensorSpec(shape, tf.float32, name="x")]
        call = tf.function(lambda x: model(x, training=False), signature)
        path = os.path.join(out, name + ".onnx")
        tf2onnx.convert.from_function(call, signature, opset=15, output_path=path)
        store(out, name, [call(*inputs(shape)).numpy()])


if __name__ == "__main__":
    {"pytorch": pytorch, "keras": keras}[sys.argv[2]](sys.argv[1])
