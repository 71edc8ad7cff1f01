"""Writes tests/exports: small driving networks, trained for some seconds and exported by PyTorch's
and Keras's own exporters, with the outputs that these frameworks compute themselves.

    python write_exports.py OUT pytorch    # in an environment of exports/pytorch.txt
    python write_exports.py OUT keras      # in an environment of exports/keras.txt

The files that this script wrote are committed, since the environments take gigabytes; the two lists
beside them have the exact versions. The weights of another run differ in their last digits.

The networks learn to steer towards the brighter half of a picture, with a throttle that rises with
its brightness. Element i of the input for the stored outputs is
((i * 2654435761 mod 2^32) >> 24) / 255.
"""

import copy
import json
import os
import sys

import numpy as np

HEIGHT, WIDTH = 66, 200
CONVOLUTIONS = [(6, 5, 2), (8, 5, 2), (8, 5, 2), (8, 3, 1), (8, 3, 1)]
STEPS, BATCH = 200, 16


def pictures(random, count):
    """Pictures of count x height x width x 3, values 0 to 1, and steering and throttle for each."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    y, x = y / HEIGHT, x / WIDTH
    uniform = lambda low, high, *shape: random.uniform(low, high, shape).astype(np.float32)
    slope, light = uniform(-0.8, 0.8, count, 1, 1, 3), uniform(0.2, 0.8, count, 1, 1, 1)
    wave, phase = uniform(2, 40, count, 1, 1, 3), uniform(0, 6, count, 1, 1, 3)
    made = light + slope * (x[None, :, :, None] - 0.5)
    made += 0.2 * np.sin(wave * (x + y)[None, :, :, None] + phase)
    made = np.clip(made + uniform(-0.1, 0.1, *made.shape), 0, 1)
    half = WIDTH // 2
    left, right = made[:, :, :half].mean((1, 2, 3)), made[:, :, half:].mean((1, 2, 3))
    wanted = np.stack([1.5 * (left - right), made.mean((1, 2, 3))], 1)
    return made, np.clip(wanted, -0.9, 0.9).astype(np.float32)


def batches():
    random = np.random.default_rng(7)
    for _ in range(STEPS):
        yield pictures(random, BATCH)


def example():
    numbers = (np.arange(HEIGHT * WIDTH * 3, dtype=np.uint64) * 2654435761 % 2**32) // 2**24
    return numbers.astype(np.float32) / np.float32(255)


def store(out, name, outputs):
    """Adds a network's outputs, one after the other, to OUT/answers.json."""
    path = os.path.join(out, "answers.json")
    answers = {}
    if os.path.exists(path):
        with open(path) as file:
            answers = json.load(file)
    answers[name] = [float(x) for y in outputs for x in np.asarray(y).reshape(-1)]
    with open(path, "w") as file:
        json.dump(dict(sorted(answers.items())), file, indent=1)
        file.write("\n")


def check(path, picture, outputs):
    """ONNX Runtime computes the same."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: picture})
    for a, b in zip(found, outputs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    print(path, os.path.getsize(path), "bytes:", [y.reshape(-1).tolist() for y in found])


def pytorch(out):
    import torch
    from torch import nn

    class PilotNet(nn.Module):
        """The normalization is part of the network. `heads`: two outputs instead of one of two."""

        def __init__(self, heads):
            super().__init__()
            statistics = lambda *v: torch.tensor(v).reshape(1, 3, 1, 1)
            self.register_buffer("mean", statistics(0.485, 0.456, 0.406))
            self.register_buffer("std", statistics(0.229, 0.224, 0.225))
            layers, channels = [nn.BatchNorm2d(3, eps=1e-3)], 3
            for i, (count, size, stride) in enumerate(CONVOLUTIONS):
                layers.append(nn.Conv2d(channels, count, size, stride))
                layers += [nn.BatchNorm2d(count)] if i == 1 else []
                layers.append(nn.ReLU() if i else nn.ELU())
                channels = count
            self.conv = nn.Sequential(*layers)
            self.fc = nn.Sequential(
                nn.Flatten(), nn.Dropout(0.2), nn.Linear(8 * 18, 32), nn.ReLU(), nn.Dropout(0.2),
                nn.Linear(32, 10), nn.ReLU(),
            )
            self.heads = heads
            if heads:
                self.steering, self.throttle = nn.Linear(10, 1), nn.Linear(10, 1)
            else:
                self.output = nn.Linear(10, 2)

        def forward(self, picture):
            x = self.fc(self.conv((picture - self.mean) / self.std))
            if self.heads:
                return torch.tanh(self.steering(x)), torch.sigmoid(self.throttle(x))
            return self.output(x)

    def train(network):
        optimizer = torch.optim.Adam(network.parameters(), 2e-3)
        network.train()
        for made, wanted in batches():
            answer = network(torch.from_numpy(made).permute(0, 3, 1, 2))
            answer = torch.cat(answer, 1) if isinstance(answer, tuple) else answer
            error = (answer - torch.from_numpy(wanted)).square().mean()
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
        print("mean squared error", error.item())
        return network.eval()

    torch.manual_seed(7)
    picture = torch.from_numpy(example().reshape(1, 3, HEIGHT, WIDTH))

    def export(name, network, **how):
        path = os.path.join(out, name + ".onnx")
        torch.onnx.export(network, (picture,), path, **how)
        with torch.no_grad():
            outputs = network(picture)
        outputs = [y.numpy() for y in (outputs if isinstance(outputs, tuple) else (outputs,))]
        check(path, picture.numpy(), outputs)
        store(out, name, outputs)

    one, two = train(PilotNet(False)), train(PilotNet(True))
    # The TorchScript exporter, the default before PyTorch 2.9.
    export(
        "pytorch", one, dynamo=False, opset_version=17, input_names=["input"],
        output_names=["output"], dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )
    # Today's default: torch.export, weights in a file beside the model.
    batch = torch.export.Dim("batch")
    export(
        "pytorch_dynamo", two, dynamo=True, external_data=True, input_names=["picture"],
        output_names=["steering", "throttle"], dynamic_shapes={"picture": {0: batch}},
    )
    quantized = fake_quantized(torch, one)
    export(
        "pytorch_qdq", quantized, dynamo=False, opset_version=17, input_names=["input"],
        output_names=["output"],
    )


def fake_quantized(torch, network):
    """The network with the fake quantization of quantization-aware training, which becomes
    QuantizeLinear and DequantizeLinear: each layer's input per tensor, its weights per channel."""
    from torch import nn

    network = copy.deepcopy(network)
    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    largest = {}

    def watch(layer, inputs):
        largest[layer] = max(largest.get(layer, 0.0), inputs[0].abs().max().item())

    hooks = [layer.register_forward_pre_hook(watch) for layer in layers]
    made, _ = pictures(np.random.default_rng(8), 64)
    with torch.no_grad():
        network(torch.from_numpy(made).permute(0, 3, 1, 2))
    for hook in hooks:
        hook.remove()

    class Weights(nn.Module):
        def __init__(self, weight):
            super().__init__()
            most = weight.detach().abs().flatten(1).max(1).values
            self.register_buffer("scale", most / 127)
            self.register_buffer("zero", torch.zeros(len(most), dtype=torch.int32))

        def forward(self, weight):
            return torch.fake_quantize_per_channel_affine(
                weight, self.scale, self.zero, 0, -128, 127
            )

    def quantize(layer, inputs):
        return torch.fake_quantize_per_tensor_affine(inputs[0], largest[layer] / 127, 0, -128, 127)

    for layer in layers:
        layer.register_forward_pre_hook(quantize)
        nn.utils.parametrize.register_parametrization(layer, "weight", Weights(layer.weight))
    return network


def keras(out):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    import tf2onnx
    import keras
    from keras import layers

    keras.utils.set_random_seed(7)
    image = keras.Input((HEIGHT, WIDTH, 3), name="image")
    x = layers.Rescaling(2.0, -1.0)(image)
    for i, (count, size, stride) in enumerate(CONVOLUTIONS):
        padding = "same" if i == 4 else "valid"
        x = layers.Conv2D(count, size, stride, padding=padding)(x)
        x = layers.BatchNormalization()(x) if i == 2 else x
        x = layers.ELU()(x) if i == 0 else layers.Activation("elu")(x)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    x = layers.Dense(16, activation="relu")(x)
    steering = layers.Dense(1, activation="tanh", name="steering")(x)
    throttle = layers.Dense(1, activation="sigmoid", name="throttle")(x)
    model = keras.Model(image, [steering, throttle])
    model.compile(keras.optimizers.Adam(2e-3), ["mse", "mse"])
    for made, wanted in batches():
        error = model.train_on_batch(made, [wanted[:, :1], wanted[:, 1:]])
    print("mean squared error", error)

    picture = example().reshape(1, HEIGHT, WIDTH, 3)
    outputs = [y.numpy() for y in model(picture, training=False)]
    # Keras's own export.
    path = os.path.join(out, "keras.onnx")
    model.export(path, format="onnx", opset_version=17, verbose=False)
    check(path, picture, outputs)
    store(out, "keras", outputs)
    # tf2onnx on a function, as Donkeycar and older projects export.
    signature = [tf.TensorSpec((1, HEIGHT, WIDTH, 3), tf.float32, name="img_in")]
    call = tf.function(lambda img_in: model(img_in, training=False), signature)
    path = os.path.join(out, "tf2onnx.onnx")
    tf2onnx.convert.from_function(call, signature, opset=15, output_path=path)
    check(path, picture, outputs)
    store(out, "tf2onnx", outputs)

    # Fake quantization of the picture and of each hidden layer's output, which becomes
    # QuantizeLinear and DequantizeLinear. Each range is that of some pictures.
    made, _ = pictures(np.random.default_rng(8), 64)
    hidden = [l for l in model.layers if isinstance(l, (layers.ELU, layers.Activation))]
    seen = keras.Model(model.input, [layer.output for layer in hidden])(made, training=False)
    ranges = {l.name: float(np.abs(y).max()) for l, y in zip(hidden, seen, strict=True)}

    def quantize(x, most):
        return tf.quantization.fake_quant_with_min_max_args(x, -most * 128 / 127, most)

    def clone(layer):
        made = layer.__class__.from_config(layer.get_config())
        if layer.name in ranges:
            call, most = made.call, ranges[layer.name]
            made.call = lambda *arguments, **named: quantize(call(*arguments, **named), most)
        return made

    copied = keras.models.clone_model(model, clone_function=clone)
    copied.set_weights(model.get_weights())
    call = tf.function(lambda img_in: copied(quantize(img_in, 1.0), training=False), signature)
    path = os.path.join(out, "tf2onnx_qdq.onnx")
    tf2onnx.convert.from_function(call, signature, opset=15, output_path=path)
    outputs = [y.numpy() for y in call(picture)]
    check(path, picture, outputs)
    store(out, "tf2onnx_qdq", outputs)


if __name__ == "__main__":
    {"pytorch": pytorch, "keras": keras}[sys.argv[2]](sys.argv[1])
