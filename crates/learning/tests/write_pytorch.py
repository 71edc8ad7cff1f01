"""Writes pytorch.json: gradients and training steps of PyTorch on the CPU, in float64 for gradients
and in float32 for training. The test `pytorch` compares this crate with them.

    pip install torch==2.15.0
    python write_pytorch.py pytorch.json

The loss of a gradient is the mean of the squared outputs.
"""

import json
import sys

import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(21)
torch.set_num_threads(1)


def random(*shape, scale=1.0):
    return (torch.randn(*shape, dtype=torch.float32) * scale).double().requires_grad_()


def listed(tensor):
    return {"shape": list(tensor.shape), "data": [float(f"{x:.9g}") for x in tensor.detach().flatten().tolist()]}


def case(name, function, inputs, parameters):
    output = function(*inputs, *parameters)
    output.square().mean().backward()
    return {
        "name": name,
        "inputs": [listed(t) for t in inputs],
        "parameters": [listed(t) for t in parameters],
        "output": listed(output),
        "input_gradients": [listed(t.grad) for t in inputs],
        "parameter_gradients": [listed(t.grad) for t in parameters],
    }


def cases():
    n = 3
    norm = dict(training=True, momentum=0.1, eps=1e-3)
    statistics = torch.tensor([0.1, -0.2], dtype=torch.float64), torch.tensor([0.5, 2.0], dtype=torch.float64)
    return [
        case("conv", lambda x, w, b: F.conv2d(x, w, b, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
             [random(n, 2, 5, 6)], [random(3, 2, 3, 2), random(3)]),
        case("groups", lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=2),
             [random(n, 4, 3, 4)], [random(4, 2, 3, 3), random(4)]),
        case("relu", lambda x, w, b: F.relu(F.conv2d(x, w, b)), [random(n, 2, 4, 4)], [random(3, 2, 2, 2), random(3)]),
        case("depthwise", lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=3),
             [random(n, 3, 4, 5)], [random(3, 1, 3, 3), random(3)]),
        case("linear", lambda x, w, b: F.linear(x, w, b), [random(n, 5)], [random(4, 5), random(4)]),
        case("matmul", torch.matmul, [random(n, 2, 3, 4), random(n, 1, 4, 2)], []),
        case("norm of batch", lambda x, s, b: F.batch_norm(x, None, None, s, b, **norm),
             [random(n, 2, 2, 3)], [random(2), random(2)]),
        case("norm", lambda x, s, b: F.batch_norm(x, *statistics, s, b, eps=1e-3),
             [random(n, 2, 2, 3)], [random(2), random(2)]),
        case("elu", lambda x: F.elu(x, 1.5), [random(n, 7)], []),
        case("leaky", lambda x: F.leaky_relu(x, 0.2), [random(n, 7)], []),
        case("hard sigmoid", F.hardsigmoid, [random(n, 7, scale=3.0)], []),
        case("softplus", F.softplus, [random(n, 7)], []),
        case("erf", torch.erf, [random(n, 7)], []),
        case("max pool", lambda x: F.max_pool2d(x, (3, 2), stride=2, padding=(1, 1)), [random(n, 2, 5, 4)], []),
        case("average pool", lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
             [random(n, 2, 5, 4)], []),
        case("average pool with pads", lambda x: F.avg_pool2d(x, 3, stride=2, padding=1), [random(n, 2, 5, 4)], []),
        case("softmax", lambda x: torch.softmax(x, 1), [random(n, 5, 2)], []),
        case("mul", lambda x, w: x * w, [random(n, 2, 3, 2)], [random(2, 1, 1)]),
        case("div", lambda x, w: x / w, [random(n, 2, 3)], [(random(3).detach().abs() + 1).requires_grad_()]),
    ]


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=0.1)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.fc1 = nn.Linear(4 * 2 * 2, 8)
        self.fc2 = nn.Linear(8, 2)

    def forward(self, x):
        x = F.relu(self.norm(self.conv1(x)))
        x = F.elu(self.conv2(x))
        x = F.max_pool2d(x, 2).flatten(1)
        return self.fc2(F.relu(self.fc1(x)))


def training(name, start, x, y, weights, make, loss, steps=5, clip=None, cosine=False):
    net = Small()
    net.load_state_dict(start)
    optimizer = make(net.parameters())
    schedule = None
    if cosine:
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = (loss(net(x), y) * weights).mean()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        losses.append(value.item())
    state = {k: listed(v) for k, v in net.state_dict().items() if v.dtype.is_floating_point}
    return {"name": name, "losses": losses, "end": state}


def main(path):
    operators = cases()
    net = Small()
    start = {k: v.clone() for k, v in net.state_dict().items()}
    x = torch.randn(6, 3, 7, 8)
    y = torch.randn(6, 2)
    weights = torch.tensor([1.0, 3.0]).expand(6, 2)
    squared = lambda a, b: F.mse_loss(a, b, reduction="none")
    huber = lambda a, b: F.huber_loss(a, b, reduction="none", delta=0.5)
    runs = [
        training("adam", start, x, y, weights, lambda p: torch.optim.Adam(p, lr=0.01), squared),
        training("sgd", start, x, y, weights,
                 lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01), huber),
        training("adamw, clipped, cosine", start, x, y, weights,
                 lambda p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1), squared, clip=0.5, cosine=True),
    ]
    state = {k: listed(v) for k, v in start.items() if v.dtype.is_floating_point}
    content = {"operators": operators, "x": listed(x), "y": listed(y), "start": state, "runs": runs}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
