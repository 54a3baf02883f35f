"""Whole training steps: forward, backward, clipping, optimizer. One run is one step on the same batch; the result is the loss before it."""

import numpy as np
import torch

import models
from tensors import read_tensors

MODULES = {
    "softmax": lambda spec: models.Flat([product(spec["input"]), spec["classes"]]),
    "mlp": lambda spec: models.Flat([product(spec["input"]), *spec["hidden"], spec["classes"]]),
    "regression": lambda spec: models.Flat([product(spec["input"]), *spec["hidden"], spec["outputs"]]),
    "cnn": models.Cnn,
    "lenet": models.LeNet,
    "resnet": models.ResNet,
    "gpt": models.Gpt,
    "mamba": models.Mamba,
}
IMAGES = ("cnn", "lenet", "resnet")


def product(extents):
    total = 1
    for extent in extents:
        total *= extent
    return total


def loss_of(spec):
    return models.mean_squared if spec["family"] == "regression" else models.cross_entropy


def optimizer_of(parameters, options, foreach=False):
    """The torch.optim optimizer that Muster's optimizer specification names; `decayed` says which parameters lose weight."""
    parameters = list(parameters)
    kind, rate = options["kind"], options["learningRate"]
    decay = options.get("weightDecay", 0.01 if kind == "adamw" else 0)
    every = options.get("decayed", "matrices" if kind == "adamw" else "all") == "all"
    groups = [
        {"params": [p for p in parameters if every or p.dim() >= 2], "weight_decay": decay},
        {"params": [p for p in parameters if not every and p.dim() < 2], "weight_decay": 0},
    ]
    groups = [group for group in groups if group["params"]]
    if kind == "sgd":
        return torch.optim.SGD(groups, rate, foreach=foreach)
    if kind in ("momentum", "nesterov"):
        return torch.optim.SGD(groups, rate, options["momentum"], nesterov=kind == "nesterov", foreach=foreach)
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
    return make(groups, rate, (options["beta1"], options["beta2"]), options["epsilon"], foreach=foreach)


def batch_of(spec, arrays):
    """x and y as PyTorch wants them: class numbers and tokens int64, images channels first."""
    if spec["family"] in IMAGES:
        arrays = {**arrays, "x": np.ascontiguousarray(arrays["x"].transpose(0, 3, 1, 2))}
    wide = lambda array: torch.from_numpy(array.astype("int64") if array.dtype.kind in "iu" else array)
    return wide(arrays["x"]), wide(arrays["y"])


def training_step(spec, file=None, foreach=False):
    """A function that takes one step. `file` holds Muster's parameters and the batch; without it both are random."""
    torch.manual_seed(1)
    module = MODULES[spec["family"]](spec)
    if file is None:
        x, y = random_batch(spec)
        if spec["family"] == "gpt":
            module.initialise(spec["layers"])
    else:
        arrays = read_tensors(file)
        x, y = batch_of(spec, arrays)
        models.load(spec, module, arrays)
    return stepping(spec, module, x, y, foreach)


def stepping(spec, module, x, y, foreach=False):
    """A function that trains `module` by one step on the batch and returns the loss before it."""
    optimizer = optimizer_of(module.parameters(), spec["optimizer"], foreach)
    loss_function, clip = loss_of(spec), spec.get("clipNorm")

    def step():
        loss = loss_function(module(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
        return loss.item()

    return step


def random_batch(spec):
    batch = spec["batchSize"]
    if spec["family"] in ("gpt", "mamba"):
        return [torch.randint(spec["vocabulary"], (batch, spec["context"])) for _ in range(2)]
    if spec["family"] == "regression":
        return torch.rand(batch, *spec["input"]), torch.rand(batch, spec["outputs"])
    image = [spec["input"][axis] for axis in (2, 0, 1)] if spec["family"] in IMAGES else spec["input"]
    return torch.rand(batch, *image), torch.randint(spec["classes"], (batch,))
