"""Exports usual networks with random weights, to be compared by `cargo xtask peers --models`.

    python3 -m venv /tmp/export
    /tmp/export/bin/pip install torch==2.15.0 torchvision==0.29.2 onnx==1.23.2 pillow==13.0.0 \\
        --extra-index-url https://download.pytorch.org/whl/cpu
    /tmp/export/bin/python benches/peers/export.py FOLDER [NAME ...]

Each has two numbers as outputs. The statistics of batch normalization are those of the shipped
frames, and the last layer is scaled so that the answers vary as a driving network's do.
"""

import pathlib
import sys

import numpy as np
import torch
import torchvision
from PIL import Image
from torch import nn

FRAMES = pathlib.Path(__file__).parent.parent.parent / "engines/frames"
NAMES = ("mobilenet_v2", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "efficientnet_b0",
         "squeezenet1_1", "mnasnet0_5", "regnet_y_400mf")


class Two(nn.Module):
    """The two numbers as outputs of their own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        answer = self.network(image)
        return answer[:, :1], answer[:, 1:]


def donkey_linear():
    """Donkeycar's `linear`, with its two outputs as one layer (donkeycar/parts/keras.py)."""
    layers = []
    for inputs, outputs, size, stride in ((3, 24, 5, 2), (24, 32, 5, 2), (32, 64, 5, 2),
                                          (64, 64, 3, 1), (64, 64, 3, 1)):
        layers += [nn.Conv2d(inputs, outputs, size, stride), nn.ReLU()]
    layers += [nn.Flatten(), nn.LazyLinear(100), nn.ReLU(), nn.Linear(100, 50), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(50, 2))


def vit_tiny():
    """The size of DeiT-Ti, with six layers."""
    return torchvision.models.VisionTransformer(
        image_size=224, patch_size=16, num_layers=6, num_heads=3, hidden_dim=192, mlp_dim=768,
        num_classes=2)


def frames(height, width):
    files = sorted(FRAMES.glob("*.jpg"))[::9][:64]
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((width, height)), np.float32)
                for file in files]
    return torch.from_numpy(np.stack(pictures) / 255).permute(0, 3, 1, 2).contiguous()


def main():
    folder, *only = sys.argv[1:]
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: (224, 224, lambda name=name: getattr(torchvision.models, name)(num_classes=2))
            for name in NAMES}
    made["donkey_linear"] = (120, 160, donkey_linear)
    made["vit_tiny"] = (224, 224, vit_tiny)
    for name, (height, width, make) in made.items():
        if only and name not in only:
            continue
        torch.manual_seed(0)
        network, pictures = make(), frames(height, width)
        network(pictures[:2])  # Sets the size of a lazy layer.
        settle(network, pictures)
        torch.onnx.export(Two(network), (pictures[:1],), folder / f"{name}.onnx", opset_version=17,
                          dynamo=False, input_names=["image"], output_names=["steering", "throttle"])
        print(name, flush=True)


@torch.no_grad()
def settle(network, pictures):
    """Sets the statistics of batch normalization, and the scale of the last layer."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.5
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if type(module).__name__ == "StochasticDepth":
            module.p = 0.0
    last = [module for module in network.modules()
            if isinstance(module, (nn.Linear, nn.Conv2d))][-1]
    if not last.weight.any():  # torchvision's transformers begin so.
        nn.init.normal_(last.weight, std=0.02)
    network.train()
    for part in pictures.split(16):
        network(part)
    network.eval()
    answers = network(pictures)
    scale = 0.3 / answers.std(0).clamp(min=1e-6)
    last.weight.mul_(scale.view(-1, *[1] * (last.weight.dim() - 1)))
    # SqueezeNet's last layer has a ReLU behind it.
    last.bias.mul_(scale)
    if isinstance(last, nn.Linear):
        last.bias.sub_((answers * scale).mean(0))


if __name__ == "__main__":
    main()
