"""PyTorch models equal to Muster's families, written as PyTorch's users write them.

`load` puts Muster's parameters into a module and `names` says which is which. Muster keeps dense kernels
as [inputs, outputs], PyTorch as [outputs, inputs]; kernels of convolutions agree. Images arrive as PyTorch likes them, channels first. `spec` is the JSON that Muster builds the model from.
"""

import math
import re

import torch
from torch import nn
from torch.nn import functional as F


class Flat(nn.Module):
    """Dense layers with relu between them over flattened records: softmax, mlp, regression."""

    def __init__(self, widths):
        super().__init__()
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        value = x.flatten(1)
        for index, layer in enumerate(self.dense):
            value = layer(F.relu(value) if index > 0 else value)
        return value


class SamePadded(nn.Conv2d):
    """Convolution of stride 2 whose padding is SAME as XLA has it: the odd pixel goes after, not before."""

    def forward(self, x):
        width = []
        for extent, kernel in zip(reversed(x.shape[2:]), reversed(self.kernel_size)):
            total = max((math.ceil(extent / 2) - 1) * 2 + kernel - extent, 0)
            width += [total // 2, total - total // 2]
        return super().forward(F.pad(x, width))


class Cnn(nn.Module):
    def __init__(self, spec):
        super().__init__()
        height, width, channels = spec["input"]
        depths = [channels, *spec["channels"]]
        k = spec["kernelSize"]
        self.conv = nn.ModuleList(SamePadded(a, b, k, stride=2) for a, b in zip(depths, depths[1:]))
        for _ in spec["channels"]:
            height, width = math.ceil(height / 2), math.ceil(width / 2)
        self.head = Flat([height * width * depths[-1], *spec["hidden"], spec["classes"]])

    def forward(self, x):
        for layer in self.conv:
            x = F.relu(layer(x))
        return self.head(x)


class LeNet(nn.Module):
    """LeNet-5 with relu and max-pooling: 6 @ 5×5 padded by 2, 16 @ 5×5, 120, 84, classes. Images are [channels, height, width]."""

    def __init__(self, spec):
        super().__init__()
        height, width, channels = spec["input"]
        self.conv = nn.ModuleList([nn.Conv2d(channels, 6, 5, padding=2), nn.Conv2d(6, 16, 5)])
        features = 16 * ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)
        self.head = Flat([features, 120, 84, spec["classes"]])

    def forward(self, x):
        for layer in self.conv:
            x = F.relu(F.max_pool2d(layer(x), 2))
        return self.head(x)


class ResNetBlock(nn.Module):
    """Two 3 × 3 convolutions with group normalisation and a shortcut around them."""

    def __init__(self, inputs, outputs, stride, groups):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(groups, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(groups, outputs)
        self.projects = inputs != outputs or stride != 1
        if self.projects:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, 0, bias=False)
            self.norm3 = nn.GroupNorm(groups, outputs)

    def forward(self, x):
        value = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(value + (self.norm3(self.shortcut(x)) if self.projects else x))


class ResNet(nn.Module):
    def __init__(self, spec):
        super().__init__()
        groups, width = spec["groups"], spec["stages"][0]["channels"]
        self.stem = nn.Conv2d(spec["input"][2], width, 3, 1, 1, bias=False)
        self.norm = nn.GroupNorm(groups, width)
        blocks = []
        for stage, entry in enumerate(spec["stages"]):
            for index in range(entry["blocks"]):
                blocks.append(ResNetBlock(width, entry["channels"], 2 if stage > 0 and index == 0 else 1, groups))
                width = entry["channels"]
        self.blocks = nn.ModuleList(blocks)
        self.head = Flat([width, spec["classes"]])

    def forward(self, x):
        value = F.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            value = block(value)
        return self.head(value.mean((2, 3)))


class RmsNorm(nn.Module):
    def __init__(self, width, epsilon=1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon) * self.weight


class LayerNorm(nn.Module):
    """Layer normalisation whose bias can be left out."""

    def __init__(self, width, bias):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Block(nn.Module):
    """Pre-norm transformer block with causal attention, as in GPT-2."""

    def __init__(self, width, heads, bias, norm, activation, multiple, context):
        super().__init__()
        make = (lambda: RmsNorm(width)) if norm == "rms" else (lambda: LayerNorm(width, bias))
        self.heads = heads
        self.norm1, self.norm2 = make(), make()
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.up = nn.Linear(width, multiple * width, bias=bias)
        self.down = nn.Linear(multiple * width, width, bias=bias)
        self.approximate = "tanh" if activation == "gelu-tanh" else "none"
        self.register_buffer("hidden", torch.ones(context, context).tril().logical_not(), persistent=False)

    def attention(self, x):
        batch, time, width = x.shape
        q, k, v = (part.view(batch, time, self.heads, -1).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        scores = (q @ k.transpose(-2, -1)) * (1 / math.sqrt(k.shape[-1]))
        scores = scores.masked_fill(self.hidden[:time, :time], float("-inf"))
        return self.out((F.softmax(scores, dim=-1) @ v).transpose(1, 2).reshape(batch, time, width))

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate=self.approximate))


class Gpt(nn.Module):
    """Decoder-only transformer with learned positions; the head is the token embedding when `tied`."""

    def __init__(self, spec):
        super().__init__()
        width, heads, bias = spec["width"], spec["heads"], spec["bias"]
        norm, activation = spec["norm"], spec["activation"]
        multiple, context = spec["hiddenMultiple"], spec["context"]
        self.tokens = nn.Embedding(spec["vocabulary"], width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, bias, norm, activation, multiple, context) for _ in range(spec["layers"])
        )
        self.norm = RmsNorm(width) if norm == "rms" else LayerNorm(width, bias)
        self.head = nn.Linear(width, spec["vocabulary"], bias=False)
        if spec["tied"]:
            self.head.weight = self.tokens.weight

    def initialise(self, layers):
        """GPT-2's start: normal 0.02, projections into the residual path scaled by 1 / sqrt(2 · layers)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            residual = name.endswith("out.weight") or name.endswith("down.weight")
            nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * layers) if residual else 1))
        return self

    def forward(self, tokens):
        time = tokens.shape[1]
        x = self.tokens(tokens) + self.positions.weight[:time]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class MambaBlock(nn.Module):
    """The layer of Mamba-2 with one group (Dao and Gu, 2024): projection, short causal convolution, state-space scan, gated norm."""

    def __init__(self, spec):
        super().__init__()
        width, self.state, self.chunk = spec["width"], spec["stateWidth"], spec["chunk"]
        self.inner, self.head_width = width * spec["expansion"], spec["headWidth"]
        self.heads = self.inner // self.head_width
        self.mixed = self.inner + 2 * self.state
        self.norm = RmsNorm(width)
        self.into = nn.Linear(width, self.inner + self.mixed + self.heads, bias=False)
        self.taps = nn.Parameter(torch.randn(self.mixed, spec["convolutionWidth"]) / 2)
        self.taps_bias = nn.Parameter(torch.zeros(self.mixed))
        self.decay = nn.Parameter(torch.ones(self.heads))
        self.step = nn.Parameter(torch.zeros(self.heads) - 4)
        self.skip = nn.Parameter(torch.ones(self.heads))
        self.gate = RmsNorm(self.inner)
        self.out = nn.Linear(self.inner, width, bias=False)
        self.recurrent = False

    def forward(self, x):
        batch, time, _ = x.shape
        z, seen, steps = self.into(self.norm(x)).split([self.inner, self.mixed, self.heads], dim=-1)
        steps = F.softplus(steps + self.step)
        reach = self.taps.shape[1] - 1
        seen = F.conv1d(F.pad(seen.transpose(1, 2), (reach, 0)), self.taps.unsqueeze(1), self.taps_bias, groups=self.mixed)
        into, b, c = F.silu(seen.transpose(1, 2)).split([self.inner, self.state, self.state], dim=-1)
        into = into.reshape(batch, time, self.heads, self.head_width)
        scan = scan_recurrent if self.recurrent else scan_chunks
        y = scan(into * steps.unsqueeze(-1), -steps * self.decay.exp(), b, c, self.chunk)
        y = (y + into * self.skip.unsqueeze(-1)).reshape(batch, time, self.inner)
        return self.out(self.gate(y * F.silu(z)))


def scan_recurrent(u, a, b, c, _):
    """y_t = h_t · C_t with h_t = exp(a_t) h_(t−1) + u_t ⊗ B_t, one position after the other: the definition, slow and plain."""
    state, outputs = 0, []
    for t in range(u.shape[1]):
        state = state * a[:, t].exp()[..., None, None] + u[:, t].unsqueeze(-1) * b[:, t, None, None, :]
        outputs.append((state * c[:, t, None, None, :]).sum(-1))
    return torch.stack(outputs, 1)


def scan_chunks(u, a, b, c, chunk):
    """The same in matrix form: within chunks by the masked decays, from chunk to chunk by the states that they hand on."""
    batch, time, heads, width = u.shape
    u, b, c = (tensor.reshape(batch, -1, chunk, *tensor.shape[2:]) for tensor in (u, b, c))
    sums = a.reshape(batch, -1, chunk, heads).permute(0, 3, 1, 2).cumsum(-1)  # [B, H, chunks, Q]
    later = torch.ones(chunk, chunk, dtype=torch.bool).triu(1)
    decays = (sums.unsqueeze(-1) - sums.unsqueeze(-2)).masked_fill(later, float("-inf")).exp()
    likeness = c @ b.transpose(-1, -2)  # [B, chunks, Q, Q]
    y = (decays * likeness.unsqueeze(1)) @ u.permute(0, 3, 1, 2, 4)  # [B, H, chunks, Q, P]
    added = (u.permute(0, 3, 1, 4, 2) * (sums[..., -1:] - sums).exp().unsqueeze(-2)) @ b.unsqueeze(1)  # [B, H, chunks, P, N]
    state, states = torch.zeros_like(added[:, :, 0]), []
    for index in range(added.shape[2]):
        states.append(state)
        state = state * sums[:, :, index, -1].exp()[..., None, None] + added[:, :, index]
    far = c.unsqueeze(1) @ torch.stack(states, 2).transpose(-1, -2)
    y = y + far * sums.exp().unsqueeze(-1)
    return y.permute(0, 2, 3, 1, 4).reshape(batch, time, heads, width)


class Mamba(nn.Module):
    def __init__(self, spec):
        super().__init__()
        self.tokens = nn.Embedding(spec["vocabulary"], spec["width"])
        self.blocks = nn.ModuleList(MambaBlock(spec) for _ in range(spec["layers"]))
        self.norm = RmsNorm(spec["width"])

    def forward(self, tokens):
        x = self.tokens(tokens)
        for block in self.blocks:
            x = x + block(x)
        return F.linear(self.norm(x), self.tokens.weight)


def cross_entropy(output, target):
    """Mean cross-entropy over records, or over tokens."""
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), target.reshape(-1))


def mean_squared(output, target):
    return F.mse_loss(output, target)


def load(spec, module, arrays):
    """Puts Muster's parameters `arrays`, by Muster's names, into `module`; raises KeyError unless every one has its place."""
    own = dict(module.named_parameters())
    for name, theirs, transposed in names(spec, arrays):
        value = torch.from_numpy(arrays[name]).to(own[theirs].dtype)
        with torch.no_grad():
            own.pop(theirs).copy_(value.T if transposed else value)
    if own:
        raise KeyError(f"no values for {sorted(own)}")


def names(spec, arrays):
    """(Muster's name, PyTorch's name, whether one is the transpose of the other) of every parameter in `arrays`."""
    table = resnet(spec) if spec["family"] == "resnet" else TABLES[spec["family"]]
    result = []
    for name in arrays:
        if name in ("x", "y"):
            continue
        for pattern, replacement, transposed in table:
            match = re.fullmatch(pattern, name)
            if match:
                result.append((name, replacement(*match.groups()), transposed))
                break
        else:
            raise KeyError(f"{spec['family']}: no place for {name}")
    return result


def dense(prefix):
    before = f"{prefix}." if prefix else ""
    return [
        (r"dense(\d+)\.kernel", lambda n: f"{before}dense.{int(n) - 1}.weight", True),
        (r"dense(\d+)\.bias", lambda n: f"{before}dense.{int(n) - 1}.bias", False),
    ]


CONVOLUTIONS = [
    (r"conv(\d+)\.kernel", lambda n: f"conv.{int(n) - 1}.weight", False),
    (r"conv(\d+)\.bias", lambda n: f"conv.{int(n) - 1}.bias", False),
    *dense("head"),
]
KINDS = {"kernel": "weight", "scale": "weight", "bias": "bias"}


def resnet(spec):
    places = {}
    for stage, entry in enumerate(spec["stages"]):
        for index in range(entry["blocks"]):
            places[f"stage{stage + 1}.block{index + 1}"] = len(places)
    return [
        (r"(stem|norm)\.(kernel|scale|bias)", lambda part, kind: f"{part}.{KINDS[kind]}", False),
        (
            r"(stage\d+\.block\d+)\.(\w+)\.(kernel|scale|bias)",
            lambda block, part, kind: f"blocks.{places[block]}.{part}.{KINDS[kind]}",
            False,
        ),
        *dense("head"),
    ]


GPT_PARTS = {"attention.qkv": "qkv", "attention.out": "out", "mlp.in": "up", "mlp.out": "down", "norm1": "norm1", "norm2": "norm2"}
GPT = [
    (r"embedding\.token", lambda: "tokens.weight", False),
    (r"embedding\.position", lambda: "positions.weight", False),
    (r"block(\d+)\.([a-z0-9.]+)\.(kernel)", lambda n, part, kind: f"blocks.{int(n) - 1}.{GPT_PARTS[part]}.weight", True),
    (r"block(\d+)\.([a-z0-9.]+)\.(scale|bias)", lambda n, part, kind: f"blocks.{int(n) - 1}.{GPT_PARTS[part]}.{KINDS[kind]}", False),
    (r"norm\.(scale|bias)", lambda kind: f"norm.{KINDS[kind]}", False),
    (r"head\.kernel", lambda: "head.weight", True),
]
MAMBA = [
    (r"embedding\.token", lambda: "tokens.weight", False),
    (r"block(\d+)\.(in|out)\.kernel", lambda n, part: f"blocks.{int(n) - 1}.{'into' if part == 'in' else part}.weight", True),
    (r"block(\d+)\.convolution\.kernel", lambda n: f"blocks.{int(n) - 1}.taps", True),
    (r"block(\d+)\.convolution\.bias", lambda n: f"blocks.{int(n) - 1}.taps_bias", False),
    (r"block(\d+)\.(decay|step|skip)", lambda n, part: f"blocks.{int(n) - 1}.{part}", False),
    (r"block(\d+)\.(norm|gate)\.scale", lambda n, part: f"blocks.{int(n) - 1}.{part}.weight", False),
    (r"norm\.scale", lambda: "norm.weight", False),
]
TABLES = {
    "softmax": dense(""),
    "mlp": dense(""),
    "regression": dense(""),
    "cnn": CONVOLUTIONS,
    "lenet": CONVOLUTIONS,
    "gpt": GPT,
    "mamba": MAMBA,
}
