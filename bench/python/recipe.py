"""nanoGPT's recipe for a CPU in PyTorch, in pieces that take turns with ours: the same parameters, tokens, batches and settings.

{"do": "recipe", "action": "start", "spec": …, "file": …} reads parameters, `train` and `validation` tokens and the `offsets` of all batches;
{"action": "train", "from": i, "to": j} → {"milliseconds", "loss": of the last step}; {"action": "evaluate"} → {"loss": over all validation batches}.
"""

import math
import time

import torch
from torch.nn import functional as F

import models
import steps
from tensors import read_tensors

STATE = {}


def rate_at(step, highest, schedule):
    """Warm-up, then half a cosine down to the minimum, as in nanoGPT's train.py."""
    warmup, total, lowest = schedule["warmupSteps"], schedule["totalSteps"], schedule["minimumRate"]
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    share = min(1.0, (step - warmup) / (total - warmup))
    return lowest + (highest - lowest) * 0.5 * (1 + math.cos(math.pi * share))


def windows(tokens, offsets, context):
    x = torch.stack([tokens[start : start + context] for start in offsets])
    y = torch.stack([tokens[start + 1 : start + 1 + context] for start in offsets])
    return x, y


def start(request):
    spec, arrays = request["spec"], read_tensors(request["file"])
    data = {name: torch.from_numpy(arrays.pop(name).astype("int64")) for name in ("train", "validation", "offsets", "validationOffsets")}
    module = models.Gpt(spec)
    models.load(spec, module, arrays)
    optimizer = steps.optimizer_of(module.parameters(), spec["optimizer"])
    STATE.update(spec=spec, module=module, optimizer=optimizer, **data)
    return {}


def train(request):
    spec, module, optimizer = STATE["spec"], STATE["module"], STATE["optimizer"]
    began, loss = time.perf_counter(), None
    for step in range(request["from"], request["to"]):
        x, y = windows(STATE["train"], STATE["offsets"][step].tolist(), spec["context"])
        rate = rate_at(step, spec["optimizer"]["learningRate"], spec["schedule"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = F.cross_entropy(module(x).view(-1, spec["vocabulary"]), y.view(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), spec["clipNorm"])
        optimizer.step()
    return {"milliseconds": (time.perf_counter() - began) * 1e3, "loss": loss.item()}


@torch.no_grad()
def evaluate(_):
    spec, module = STATE["spec"], STATE["module"]
    losses = []
    for offsets in STATE["validationOffsets"]:
        x, y = windows(STATE["validation"], offsets.tolist(), spec["context"])
        losses.append(F.cross_entropy(module(x).view(-1, spec["vocabulary"]), y.view(-1)).item())
    return {"loss": sum(losses) / len(losses)}


def recipe(request):
    return {"start": start, "train": train, "evaluate": evaluate}[request["action"]](request)
