"""Trains an LSTM behind the shipped network's layers, from recordings of the simulator, with PyTorch.

    python3 -m venv /tmp/memory
    /tmp/memory/bin/pip install torch==2.15.0 onnx==1.23.2 numpy pillow==13.0.0 \\
        --extra-index-url https://download.pytorch.org/whl/cpu
    cargo run --release -p pilotage-training -- record first --driver engines/pilotnet.onnx \\
        --latency 100 --frames 48000 --seed 500000 --jpeg 95
    /tmp/memory/bin/python crates/training/examples/memory.py engines/pilotnet.onnx memory first
    pilotage compile memory.toml

Writes memory.onnx and memory.toml. Then its own driving, labelled by the expert, is learned too
(docs/training.md): record another folder with --driver memory.engine, and name both folders.

The convolutions stay those of the shipped network; the fully connected layers, the LSTM and its
output layer are trained on sequences of 32 frames.
"""

import csv
import pathlib
import sys

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from PIL import Image
from torch import nn

HIDDEN, LENGTH, BATCH, PASSES = 64, 32, 32, 10
# What the shipped recipe multiplies the outputs by, and adds to them: m/s and rad/s.
SCALE, OFFSET = torch.tensor([17.5, 14.2]), torch.tensor([6.5, -7.1])
RECIPE = """\
model = "{name}.onnx"
precision = "int8"
domain = "simulated"

[input]
crop = {{ x = 0, y = 240, width = 640, height = 240 }}
width = 200
height = 66

[[output]]
name = "controls"
index = 0
meaning = "speed"
scale = 17.5
offset = 6.5
gate = {{ mse = 0.05, worst = 1.0 }}

[[output]]
name = "controls"
index = 1
meaning = "yaw_rate"
scale = 14.2
offset = -7.1
gate = {{ mse = 0.003, worst = 0.4 }}

[[memory.state]]
input = "h"
output = "h_next"

[[memory.state]]
input = "c"
output = "c_next"

[calibration]
frames = "{frames}"
"""


class Net(nn.Module):
    """PilotNet, to whose answer a linear layer of an LSTM's state is added."""

    def __init__(self, model):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, eps=1e-3)
        sizes = ((3, 24, 5, 2), (24, 36, 5, 2), (36, 48, 5, 2), (48, 64, 3, 1), (64, 64, 3, 1))
        self.conv = nn.ModuleList(nn.Conv2d(*size) for size in sizes)
        sizes = ((1152, 1164), (1164, 100), (100, 50), (50, 10), (10, 2))
        self.fc = nn.ModuleList(nn.Linear(*size) for size in sizes)
        self.lstm, self.head = nn.LSTM(100, HIDDEN), nn.Linear(HIDDEN, 2)
        tensors = onnx.load(model).graph.initializer
        weights = {it.name: torch.from_numpy(numpy_helper.to_array(it).copy()) for it in tensors}
        with torch.no_grad():
            for kind, layers in (("conv", self.conv), ("fc", self.fc)):
                for number, layer in enumerate(layers, 1):
                    layer.weight.copy_(weights[f"{kind}{number}.weight"])
                    layer.bias.copy_(weights[f"{kind}{number}.bias"])
            self.norm.weight.copy_(weights["norm.scale"])
            self.norm.bias.copy_(weights["norm.shift"])
            self.norm.running_mean.copy_(weights["norm.mean"])
            self.norm.running_var.copy_(weights["norm.variance"])
            # The network begins as the one without a memory.
            self.head.weight.zero_()
            self.head.bias.zero_()
        self.conv.requires_grad_(False)
        self.eval()

    def flat(self, image):
        image = self.norm(image)
        for layer in self.conv:
            image = F.relu(layer(image))
        return image.flatten(1)

    def features(self, flat):
        return F.relu(self.fc[1](F.relu(self.fc[0](flat))))

    def answer(self, features, hidden):
        return self.fc[4](F.relu(self.fc[3](F.relu(self.fc[2](features))))) + self.head(hidden)

    def sequence(self, flat):
        """Answers for frames x drives, each drive without a memory at its first frame."""
        features = self.features(flat)
        return self.answer(features, self.lstm(features)[0])

    def forward(self, image, h, c):
        """One frame, as the engine runs it."""
        features = self.features(self.flat(image))
        hidden, (h_next, c_next) = self.lstm(features[None], (h, c))
        return self.answer(features, hidden[0]), h_next, c_next


def read(net, folders):
    """The convolutions' outputs and the labels, plain and mirrored, and where each drive begins."""
    flats, mirrored, labels, begins = [], [], [], []
    for folder in map(pathlib.Path, folders):
        with open(folder / "data.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        before = -np.inf
        for row in rows:
            if float(row["timestamp"]) - before > 1:
                begins.append(len(labels))
            before = float(row["timestamp"])
            labels.append((float(row["v"]), float(row["w"])))
        for start in range(0, len(rows), 128):
            names = [row["image_name"] for row in rows[start:start + 128]]
            pictures = [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]
            pictures = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255
            with torch.no_grad():
                flats.append(net.flat(pictures))
                mirrored.append(net.flat(pictures.flip(3)))
    plain = torch.tensor(labels)
    turned = plain * torch.tensor([1.0, -1.0])
    labels = [(each - OFFSET) / SCALE for each in (plain, turned)]
    ends = begins[1:] + [len(plain)]
    drives = [it for it in zip(begins, ends) if it[1] - it[0] >= LENGTH]
    return [torch.cat(flats), torch.cat(mirrored)], labels, drives


def loss(answers, labels):
    """Squared errors. That of the yaw rate counts by the speed: a fast car leaves the line sooner."""
    speed = (SCALE[0] * labels[..., 0] + OFFSET[0]) / 10
    weights = torch.stack([torch.full_like(speed, 0.3), speed**2], -1)
    return ((answers - labels) ** 2 * weights).mean()


def windows(drives):
    """Half of the drives begin with a window, as the car does: without a memory."""
    for begin, end in drives:
        start = begin + int(torch.randint(0, LENGTH // 2, ())) * int(torch.rand(()) < 0.5)
        while start + LENGTH <= end:
            yield start, int(torch.rand(()) < 0.5)
            start += LENGTH // 2


def train(net, flats, labels, drives):
    steps = PASSES * sum((end - begin) // (LENGTH // 2) for begin, end in drives) // BATCH
    adam = torch.optim.Adam([it for it in net.parameters() if it.requires_grad], 1e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, 1e-6)
    for number in range(1, PASSES + 1):
        each = list(windows(drives))
        order, total = torch.randperm(len(each)).tolist(), []
        for at in range(0, len(order) - BATCH + 1, BATCH):
            chosen = [each[index] for index in order[at:at + BATCH]]
            pick = lambda of: torch.stack([of[m][s:s + LENGTH] for s, m in chosen], 1)
            error = loss(net.sequence(pick(flats)), pick(labels))
            adam.zero_grad()
            error.backward()
            adam.step()
            rate.step()
            total.append(error.item())
        print(f"pass {number}: {sum(total) / len(total):.6f}", flush=True)


def main():
    model, name, *folders = sys.argv[1:]
    torch.manual_seed(1)
    net = Net(model)
    flats, labels, drives = read(net, folders)
    print(len(flats[0]), "frames,", len(drives), "drives", flush=True)
    train(net, flats, labels, drives)
    state = torch.zeros(1, 1, HIDDEN)
    torch.onnx.export(net, (torch.zeros(1, 3, 66, 200), state, state.clone()), f"{name}.onnx",
                      input_names=["image", "h", "c"], output_names=["controls", "h_next", "c_next"],
                      opset_version=17, dynamo=False)
    recipe = RECIPE.format(name=pathlib.Path(name).name, frames=pathlib.Path(folders[-1]).resolve())
    pathlib.Path(f"{name}.toml").write_text(recipe, encoding="utf-8")


if __name__ == "__main__":
    main()
