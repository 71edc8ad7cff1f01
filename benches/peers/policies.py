"""Driving networks rebuilt from their descriptions, in PyTorch."""

import torch
from torch import nn

from recipe import CONTROLS


def convolutions(channels, layers, activation):
    made = []
    for outputs, size, stride in layers:
        made += [nn.Conv2d(channels, outputs, size, stride), activation()]
        channels = outputs
    return nn.Sequential(*made, nn.Flatten())


PILOTNET = ((24, 5, 2), (36, 5, 2), (48, 5, 2), (64, 3, 1), (64, 3, 1))


def pilotnet_elu():
    """PilotNet (Bojarski et al., 2016) with ELU, as many courses rebuild it."""
    return nn.Sequential(convolutions(3, PILOTNET, nn.ELU), nn.LazyLinear(100), nn.ELU(),
                         nn.Linear(100, 50), nn.ELU(), nn.Linear(50, 10), nn.ELU(), nn.Linear(10, 2))


def donkey_linear():
    """Donkeycar's `linear`, with its two outputs as one layer (donkeycar/parts/keras.py)."""
    layers = ((24, 5, 2), (32, 5, 2), (64, 5, 2), (64, 3, 1), (64, 3, 1))
    return nn.Sequential(convolutions(3, layers, nn.ReLU), nn.LazyLinear(100), nn.ReLU(),
                         nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 2))


def deepracer_3layer():
    """AWS DeepRacer's shallow network."""
    return nn.Sequential(convolutions(3, ((32, 8, 4), (64, 4, 2), (64, 3, 1)), nn.ReLU),
                         nn.LazyLinear(512), nn.ReLU(), nn.Linear(512, 2))


def nature():
    """The NatureCNN policy of stable-baselines3 (Mnih et al., 2015)."""
    return nn.Sequential(convolutions(3, ((32, 8, 4), (64, 4, 2), (64, 3, 1)), nn.ReLU),
                         nn.LazyLinear(512), nn.ReLU(), nn.Linear(512, 64), nn.Tanh(),
                         nn.Linear(64, 2), nn.Tanh(), nn.Linear(2, 2))


class Transformer(nn.Module):
    """PilotNet's convolutions, whose places are the tokens of two encoder layers."""

    def __init__(self):
        super().__init__()
        self.features = convolutions(3, PILOTNET, nn.ReLU)[:-1]
        layer = nn.TransformerEncoderLayer(64, 4, 128, 0.0, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 2)

    def forward(self, image):
        return self.head(self.encoder(self.features(image).flatten(2).transpose(1, 2)).mean(1))


class Pose(nn.Module):
    """Upsampling heads over a small backbone, as trt_pose has them."""

    def __init__(self):
        super().__init__()
        made, channels = [], 3
        for outputs in (32, 64, 128, 256):
            made += [nn.Conv2d(channels, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        for outputs in (128, 64):
            made += [nn.ConvTranspose2d(channels, outputs, 4, 2, 1), nn.BatchNorm2d(outputs),
                     nn.ReLU()]
            channels = outputs
        self.body, self.head = nn.Sequential(*made), nn.Linear(64, 2)

    def forward(self, image):
        return self.head(self.body(image).mean((2, 3)))


PICTURES = {
    "donkey_linear": (120, 160, donkey_linear),
    "pilotnet_elu": (66, 200, pilotnet_elu),
    "deepracer_3layer": (120, 160, deepracer_3layer),
    "sb3_nature": (84, 84, nature),
    "transformer_policy": (66, 200, Transformer),
    "trt_pose_like": (224, 224, Pose),
}


class Step(nn.Module):
    """One step of a recurrent layer behind PilotNet's convolutions, its state as inputs."""

    def __init__(self, kind):
        super().__init__()
        self.features = nn.Sequential(convolutions(3, PILOTNET, nn.ReLU), nn.Linear(1152, 100),
                                      nn.ReLU())
        self.cell, self.head = kind(100, 64), nn.Linear(64, 2)

    def forward(self, image, *state):
        state = state if len(state) > 1 else state[0]
        answer, after = self.cell(self.features(image)[None], state)
        after = after if isinstance(after, tuple) else (after,)
        return self.head(answer[0]), *after


class Sequence(nn.Module):
    """A GRU over four pictures."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(convolutions(3, PILOTNET, nn.ReLU), nn.Linear(1152, 100),
                                      nn.ReLU())
        self.gru, self.head = nn.GRU(100, 64, batch_first=True), nn.Linear(64, 2)

    def forward(self, images):
        answer, _ = self.gru(self.features(images.flatten(0, 1))[None])
        return self.head(answer[:, -1])


class Command(nn.Module):
    """PilotNet with a command of four, one-hot, as CARLA's agents have it."""

    def __init__(self):
        super().__init__()
        self.features = convolutions(3, PILOTNET, nn.ReLU)
        self.head = nn.Sequential(nn.Linear(1156, 100), nn.ReLU(), nn.Linear(100, 2))

    def forward(self, image, command):
        return self.head(torch.cat([self.features(image), command], 1))


def stacked():
    """PilotNet over three pictures along the channels."""
    return nn.Sequential(convolutions(9, PILOTNET, nn.ReLU), nn.Linear(1152, 100), nn.ReLU(),
                         nn.Linear(100, 2))


def image(*shape):
    return torch.rand(1, *shape)


def states(*pairs):
    return "".join(f'\n[[memory.state]]\ninput = "{before}"\noutput = "{after}"\n'
                   for before, after in pairs)


def state(size=64):
    return torch.zeros(1, 1, size)


# How to make the network, its inputs and the names of inputs and outputs; the picture's height and
# width; the tables of its recipe.
WITH_OTHER_INPUTS = {
    "lstm_policy_state": (
        lambda: (Step(nn.LSTM), (image(3, 66, 200), state(), state()), ["image", "h", "c"],
                 ["controls", "h_next", "c_next"]),
        66, 200, states(("h", "h_next"), ("c", "c_next")) + CONTROLS),
    "gru_policy_state": (
        lambda: (Step(nn.GRU), (image(3, 66, 200), state()), ["image", "h"],
                 ["controls", "h_next"]),
        66, 200, states(("h", "h_next")) + CONTROLS),
    "gru_policy_seq4": (
        lambda: (Sequence(), (image(4, 3, 66, 200),), ["images"], ["controls"]),
        66, 200, '\n[memory]\npictures = 4\naxis = "time"\n' + CONTROLS),
    "pilotnet_stacked3": (
        lambda: (stacked(), (image(9, 66, 200),), ["images"], ["controls"]),
        66, 200, "\n[memory]\npictures = 3\n" + CONTROLS),
    "carla_command4": (
        lambda: (Command(), (image(3, 66, 200), torch.zeros(1, 4)), ["image", "command"],
                 ["controls"]),
        66, 200, CONTROLS + "\n[fixed_inputs]\ncommand = 0\n"),
}
