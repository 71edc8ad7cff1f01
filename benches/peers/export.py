"""Exports networks of others with random weights, to be compared by `cargo xtask peers --models`.

    python3 -m venv /tmp/export
    /tmp/export/bin/pip install torch==2.15.0 torchvision==0.29.2 onnx==1.23.2 onnxscript==0.7.2 \\
        pillow==13.0.0 timm==1.0.31 ultralytics==8.4.50 \\
        --extra-index-url https://download.pytorch.org/whl/cpu
    /tmp/export/bin/python benches/peers/export.py [--new] FOLDER [NAME ...]

Each answers with two numbers, and those with other inputs than one picture get a recipe beside
them. The statistics of batch normalization are those of the shipped frames, and the last layer is
scaled so that the answers vary as a driving network's do. PyTorch's older exporter writes them with
opset 17; with --new its default exporter does. export_keras.py exports the networks of Keras.
"""

import argparse
import pathlib

import numpy as np
import onnx
import torch
import torchvision
from PIL import Image
from torch import nn

import policies
from recipe import FRAMES, recipe

TORCHVISION = ("alexnet", "convnext_tiny", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2",
               "mobilenet_v3_large", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnet34",
               "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t")
TIMM = ("convnextv2_atto", "edgenext_xx_small", "efficientformerv2_s0", "efficientnet_lite0",
        "fastvit_t8", "ghostnet_100", "mobilenetv4_conv_small", "mobilenetv4_hybrid_medium",
        "repvgg_a0", "repvit_m0_9", "vit_tiny_patch16_224")
ULTRALYTICS = ("yolov8n", "yolov8n-seg", "yolo11n")


class Two(nn.Module):
    """The two numbers as outputs of their own."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        answer = self.network(image)
        return answer[:, :1], answer[:, 1:]


class Mean(nn.Module):
    """Two numbers of a network that answers with a map or many boxes: the means of two channels."""

    def __init__(self, network, first=0):
        super().__init__()
        self.network = network
        self.first = first

    def forward(self, image):
        answer = self.network(image)
        while not torch.is_tensor(answer):
            answer = next(iter(answer.values())) if isinstance(answer, dict) else answer[0]
        answer = answer[:, self.first:self.first + 2]
        return answer if answer.dim() == 2 else answer.flatten(2).mean(2)


def of_torchvision(name):
    return getattr(torchvision.models, name)(num_classes=2)


def of_timm(name):
    import timm

    return timm.create_model(name, num_classes=2)


def of_ultralytics(name):
    from ultralytics import YOLO

    network = YOLO(f"{name}.yaml").model.float().eval()
    head = network.model[-1]
    head.export, head.format = True, "onnx"
    return Mean(network, 2)  # The boxes' widths and heights.


def lraspp():
    return Mean(torchvision.models.segmentation.lraspp_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=2))


def vit(hidden, layers, size, patch):
    return torchvision.models.VisionTransformer(
        image_size=size, patch_size=patch, num_layers=layers, num_heads=3, hidden_dim=hidden,
        mlp_dim=4 * hidden, num_classes=2)


def networks():
    """Where each network comes from, its picture's height and width, and how to make it."""
    import importlib.metadata as packages

    of = {"torchvision": packages.version("torchvision").split("+")[0]}
    made = {name: ("torchvision", 224, 224, lambda name=name: of_torchvision(name))
            for name in TORCHVISION}
    made["lraspp_mobilenet_v3_large"] = ("torchvision", 224, 224, lraspp)
    made["vit_tiny"] = ("torchvision", 224, 224, lambda: vit(192, 6, 224, 16))
    made["vit_6layers_64px"] = ("torchvision", 64, 64, lambda: vit(192, 6, 64, 8))
    made["jetracer_resnet18"] = ("JetRacer's notebook, rebuilt", 224, 224,
                                 lambda: of_torchvision("resnet18"))
    for package, names, make in (("timm", TIMM, of_timm),
                                 ("ultralytics", ULTRALYTICS, of_ultralytics)):
        try:
            of[package] = packages.version(package)
        except packages.PackageNotFoundError:
            print(f"without {package}, which is not installed")
            continue
        size = 320 if package == "ultralytics" else 224
        made |= {name: (package, size, size, lambda name=name, make=make: make(name))
                 for name in names}
    made |= {name: ("rebuilt from a description", *rest)
             for name, rest in policies.PICTURES.items()}
    return {name: (f"{source} {of.get(source, '')}".strip(), *rest)
            for name, (source, *rest) in made.items()}


def frames(height, width):
    files = sorted(FRAMES.glob("*.jpg"))[::9][:64]
    pictures = [np.asarray(Image.open(file).convert("RGB").resize((width, height)), np.float32)
                for file in files]
    return torch.from_numpy(np.stack(pictures) / 255).permute(0, 3, 1, 2).contiguous()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--new", action="store_true")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, (source, height, width, make) in networks().items():
        if options.names and name not in options.names:
            continue
        torch.manual_seed(0)
        network, pictures = make(), frames(height, width)
        network.eval()(pictures[:2])  # Sets the size of a lazy layer.
        settle(network, pictures)
        export(options, name, source, Two(network), (pictures[:1],), ["image"],
               ["steering", "throttle"])
    for name, (make, height, width, table) in policies.WITH_OTHER_INPUTS.items():
        if options.names and name not in options.names:
            continue
        torch.manual_seed(0)
        network, inputs, names, outputs = make()
        export(options, name, "rebuilt from a description", network.eval(), inputs, names, outputs)
        recipe(options.folder, name, height, width, table)


def export(options, name, source, network, inputs, names, outputs):
    """Writes one network. What cannot be exported is said, and the others follow."""
    file = options.folder / f"{name}.onnx"
    how = {"dynamo": True, "verbose": False} if options.new else {"dynamo": False,
                                                                 "opset_version": 17}
    try:
        torch.onnx.export(network, inputs, file, input_names=names, output_names=outputs, **how)
    except Exception as error:
        print(f"{name}: not exported: {str(error).strip().splitlines()[0]}", flush=True)
        return
    model = onnx.load(file, load_external_data=False)
    entry = model.metadata_props.add()
    entry.key, entry.value = "source", source
    onnx.save(model, file)
    print(name, flush=True)


@torch.no_grad()
def settle(network, pictures):
    """Sets the statistics of batch normalization, and the scale of the last layer."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # The mean of all parts: what is left of the first values (0, 1) would damp deep
            # networks until their answers hardly vary.
            module.reset_running_stats()
            module.momentum = None
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if type(module).__name__ in ("StochasticDepth", "DropPath"):
            module.eval()
            module.p = module.drop_prob = 0.0
    network.train()
    for part in pictures.split(16):
        network(part)
    network.eval()
    if isinstance(network, Mean):  # Its numbers are not those of one last layer.
        return
    layers = [module for module in network.modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    last = layers[-1]
    if not last.weight.any():  # torchvision's transformers begin so.
        nn.init.normal_(last.weight, std=0.02)
    if isinstance(last, nn.Conv2d):  # SqueezeNet's last layer has a ReLU behind it.
        last.bias.fill_(10)
    answers = network(pictures)
    scale = 0.3 / answers.std(0).clamp(min=1e-6)
    last.weight.mul_(scale.view(-1, *[1] * (last.weight.dim() - 1)))
    if last.bias is None:
        return
    middle = 0.0 if isinstance(last, nn.Linear) else 1.5
    last.bias.mul_(scale).add_(middle - (answers * scale).mean(0))


if __name__ == "__main__":
    main()
