"""Gradients and optimizer steps of PyTorch on Muster's numbers, compared with Muster's.

Two measures of a difference between ours `a` and theirs `b`, per tensor:
  norm     ‖a − b‖ / ‖b‖
  element  the largest |a − b| / max(|b|, 1e-3 · max|b|): elements a thousandth of the largest and less are taken relative to that
PyTorch's float64 is the truth; its own float32 is measured against it as well, so that one sees what float32 costs anybody.
"""

import numpy as np
import torch
from torch.nn.utils.stateless import functional_call

import models
import steps
from tensors import read_tensors


def differences(ours, truth):
    ours, truth = np.asarray(ours, np.float64), np.asarray(truth, np.float64)
    distance, norm = np.linalg.norm(ours - truth), np.linalg.norm(truth)
    if norm == 0:
        return {"norm": float(distance), "element": float(distance)}
    floor = np.maximum(np.abs(truth), 1e-3 * np.abs(truth).max())
    return {"norm": float(distance / norm), "element": float((np.abs(ours - truth) / floor).max())}


def converted(spec, arrays, dtype):
    """The module with Muster's parameters, and the batch, all floats of `dtype`."""
    module = steps.MODULES[spec["family"]](spec).to(dtype)
    models.load(spec, module, arrays)
    x, y = steps.batch_of(spec, arrays)
    real = lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor
    return module, real(x), real(y)


def loss_and_gradients(spec, arrays, dtype):
    module, x, y = converted(spec, arrays, dtype)
    for part in module.modules():
        if isinstance(part, models.MambaBlock):
            part.recurrent = dtype == torch.float64  # the truth takes the plain definition, not the chunks that it checks
    loss = steps.loss_of(spec)(module(x), y)
    loss.backward()
    own = dict(module.named_parameters())
    gradients = {}
    for name, theirs, transposed in models.names(spec, arrays):
        if own[theirs].grad is not None:
            gradient = own[theirs].grad.numpy()
            gradients[name] = gradient.T if transposed else gradient
    return loss.item(), gradients


def adapted_loss_and_gradients(spec, arrays, dtype, scale):
    """The same for low-rank adapters: the gradients of the factors D and U, where each target W is replaced by W + scale · D · U."""
    base = {name: array for name, array in arrays.items() if not name.endswith((".down", ".up"))}
    module, x, y = converted(spec, base, dtype)
    own, changed, factors = dict(module.named_parameters()), {}, {}
    for name, theirs, transposed in models.names(spec, base):
        if f"{name}.down" not in arrays:
            continue
        down, up = (torch.from_numpy(arrays[f"{name}.{part}"]).to(dtype).requires_grad_() for part in ("down", "up"))
        factors.update({f"{name}.down": down, f"{name}.up": up})
        change = (scale * (down @ up)).reshape(base[name].shape)
        changed[theirs] = own[theirs].detach() + (change.T if transposed else change)
    loss = steps.loss_of(spec)(functional_call(module, changed, x), y)
    loss.backward()
    return loss.item(), {name: factor.grad.numpy() for name, factor in factors.items()}


def gradients(request):
    """Compares the gradients in the file `request["gradients"]` with those at the parameters and batch of `request["file"]`."""
    spec, arrays, ours = request["spec"], read_tensors(request["file"]), read_tensors(request["gradients"])
    scale = request.get("adapterScale")
    compute = loss_and_gradients if scale is None else lambda *given: adapted_loss_and_gradients(*given, scale)
    loss, truth = compute(spec, arrays, torch.float64)
    single_loss, single = compute(spec, arrays, torch.float32)
    return {
        "loss": {"ours": float(ours["loss"]), "float64": loss, "float32": single_loss},
        "parameters": [
            {"name": name, "ours": differences(ours[name], truth[name]), "float32": differences(single[name], truth[name])}
            for name in ours
            if name != "loss"
        ],
    }


def trained(spec, arrays, dtype, count):
    """By how much `count` steps on the batch change each parameter, and the losses before the steps."""
    module, x, y = converted(spec, arrays, dtype)
    step = steps.stepping(spec, module, x, y)
    losses = [step() for _ in range(count)]
    own = dict(module.named_parameters())
    changes = {}
    for name, theirs, transposed in models.names(spec, arrays):
        value = own[theirs].detach().numpy()
        changes[name] = (value.T if transposed else value).astype(np.float64) - arrays[name]
    return losses, changes


def optimizer(request):
    """Compares the parameters in `request["after"]`, `request["steps"]` steps after those in `request["file"]`, by their changes."""
    spec, arrays, after = request["spec"], read_tensors(request["file"]), read_tensors(request["after"])
    losses, truth = trained(spec, arrays, torch.float64, request["steps"])
    _, single = trained(spec, arrays, torch.float32, request["steps"])
    return {
        "losses": losses,
        "parameters": [
            {
                "name": name,
                "ours": differences(after[name].astype(np.float64) - arrays[name], truth[name]),
                "float32": differences(single[name], truth[name]),
            }
            for name in after
        ],
    }
