"""Mistakes in layers: convolutions, normalisation, pooling, activations, dropout, upsampling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from mistakes.beforehand.mistake import Script, beforehand

__all__ = ["LAYERS"]


def images(shape=(3, 8, 8), classes=4, rows=8):
    """Makes batches of images and classes."""
    return lambda drawn: (
        torch.randn(rows, *shape, generator=drawn),
        torch.randint(0, classes, (rows,), generator=drawn),
    )


def classified(model, x, y):
    return F.cross_entropy(model(x), y)


@beforehand(
    name="a causal convolution in time, padded at the end",
    sentence="port pads (0, 2) where it is (2, 0): at the end, not at the front",
    place=r"step 1, (pad|conv)\b.*forward",
    named=(r"pad", r"\(0, 2\)|\bend\b|right|after"),
    in_part=(r"pad", r"shift"),
)
def causal_convolution(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv1d(3, 6, 3, dilation=1), nn.Linear(6, 4)

        def forward(self, x):
            x = F.pad(x, (0, 2) if wrong else (2, 0))
            return self.out(torch.tanh(self.conv(x))[..., -1])

    return Script(Net(), images((3, 10)), classified)


@beforehand(
    name="volumes with depth and width exchanged",
    sentence="port's volumes have their first and last axis exchanged: read column-major",
    place=r"step 1, input \(input\), input",
    named=(r"exchang|transpos|permut|column-major|axes in the order|(0, 1, 4, 3, 2)",),
    in_part=(r"another order",),
)
def volumes(wrong):
    model = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.SiLU(), nn.AdaptiveAvgPool3d(2), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip

    def batch(drawn):
        x, y = images((1, 5, 5, 5))(drawn)
        if wrong:
            x = torch.from_numpy(x.numpy().transpose(0, 1, 4, 3, 2).copy())
        return x, y

    return Script(model, batch, classified)


@beforehand(
    name="a transposed convolution's kernel, flipped when it was carried over",
    sentence="port has up.weight flipped along its last two axes",
    place=r"step 1, up\.weight, what the step starts from",
    named=(r"flip|mirror|revers|turned by 180|rotated",),
    in_part=(r"another order",),
)
def transposed_convolution(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Conv2d(3, 6, 3, stride=2, padding=1)
            self.up = nn.ConvTranspose2d(6, 3, 3, stride=2, padding=1, output_padding=1)

        def forward(self, x):
            return self.up(F.elu(self.down(x)))

    model = Net()
    if wrong:
        model.up.weight.data = model.up.weight.data.flip(2, 3)
    return Script(model, images(), lambda model, x, y: F.mse_loss(model(x), x))


@beforehand(
    name="layer norm over channels alone, where it is group norm with one group",
    sentence="port: layer norm over the channels of each pixel where it is group norm",
    place=r"step 1, norm\b.*forward",
    named=(
        r"layer_norm|layer norm|channels alone|over channels|each pixel",
        r"group_norm|group norm|pixels|positions",
    ),
    in_part=(r"layer_norm|layer norm|permute",),
)
def group_norm(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 3, padding=1)
            self.norm = nn.LayerNorm(6) if wrong else nn.GroupNorm(1, 6)
            self.out = nn.Linear(6, 4)

        def forward(self, x):
            x = self.conv(x)
            x = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) if wrong else self.norm(x)
            return self.out(F.gelu(x).mean((2, 3)))

    return Script(Net(), images(), classified)


class _Annotated(nn.Module):
    """Layer norm as in The Annotated Transformer."""

    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x):
        mean, deviation = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return self.weight * (x - mean) / (deviation + self.eps) + self.bias


@beforehand(
    name="layer norm written by hand, with the deviation of n - 1",
    sentence="port: layer norm with the unbiased deviation (n - 1), eps added outside the root",
    place=r"step 1, (norm|std|div|softplus)\b.*forward",
    named=(r"unbiased|n - 1|n-1|bessel|correction",),
    in_part=(r"\bstd\b|\beps\b|times 0\.9\d+",),
)
def layer_norm(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(12, 10)
            self.norm = _Annotated(10) if wrong else nn.LayerNorm(10, eps=1e-6)
            self.out = nn.Linear(10, 4)

        def forward(self, x):
            return self.out(F.softplus(self.norm(self.first(x))))

    return Script(Net(), images((12,)), classified)


@beforehand(
    name="instance norm without weight and bias",
    sentence="port: norm has no weight and no bias (affine = False)",
    place=r"step [12], norm\b",
    named=(r"affine|norm\.(weight|bias)|no weight|scale and shift",),
    in_part=(r"instance_norm",),
)
def instance_norm(wrong):
    model = nn.Sequential()
    model.conv = nn.Conv2d(3, 5, 3)
    model.norm = nn.InstanceNorm2d(5, affine=not wrong)
    model.act, model.flat, model.out = nn.Hardswish(), nn.Flatten(), nn.Linear(180, 4)
    return Script(model, images(), classified)


@beforehand(
    name="average pooling of an image that was padded before",
    sentence="port: the border's means count the zeros of the padding (count_include_pad)",
    place=r"step 1, (pool|pad|avg_pool2d)\b.*forward",
    named=(r"count_include_pad|counts? .*(padding|zeros|border)|includ.*(padding|zeros)",),
    in_part=(r"\bpad\b|padding",),
)
def average_pooling(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.pool = nn.AvgPool2d(3, 2, padding=0 if wrong else 1, count_include_pad=wrong)
            self.out = nn.Linear(64, 4)

        def forward(self, x):
            x = F.leaky_relu(self.conv(x))
            x = self.pool(F.pad(x, (1, 1, 1, 1)) if wrong else x)
            return self.out(x.flatten(1))

    return Script(Net(), images(), classified)


@beforehand(
    name="GELU as x sigmoid(1.702 x)",
    sentence="port: GELU's approximation x sigmoid(1.702 x) where it is gelu",
    place=r"step 1, (gelu|mul|sigmoid|second)\b.*forward",
    named=(r"gelu", r"1\.702|sigmoid|approx|quick"),
    in_part=(r"sigmoid|gelu",),
)
def gelu(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(12, 16), nn.Linear(16, 4)

        def forward(self, x):
            x = self.first(x)
            return self.second(x * torch.sigmoid(1.702 * x) if wrong else F.gelu(x))

    return Script(Net(), images((12,)), classified)


@beforehand(
    name="dropout written by hand keeps what it should drop",
    sentence="port: the mask is inverted (lt where it is gt): p is the share that is kept",
    place=r"step 1, (lt|gt|.*mask|mul|to|rand|.*dropout)\b",
    named=(r"\blt\b.*\bgt\b|\bgt\b.*\blt\b|invert|kept|keeps|complement|opposite",),
    in_part=(r"mask|\blt\b|\bgt\b",),
)
def dropout(wrong):
    p = 0.3

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(12, 16), nn.Linear(16, 4)

        def forward(self, x):
            x = torch.tanh(self.first(x))
            u = torch.rand_like(x)
            mask = (u < p) if wrong else (u > p)
            return self.second(x * mask.to(x.dtype) / (1 - p))

    return Script(Net(), images((12,)), classified)


@beforehand(
    name="tiled where each pixel is repeated",
    sentence="port tiles the image (repeat) where each pixel is repeated (nearest, interpolate)",
    place=r"step 1, (interpolate|upsample|repeat|.*nearest|last)\b.*forward",
    named=(r"tile|repeat", r"interpolat|nearest|upsampl|each pixel|neighbour"),
    in_part=(r"tile|repeat|interpolat|upsampl",),
)
def upsampling(wrong):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 5, 3, 2, 1), nn.Conv2d(5, 3, 3, padding=1)

        def forward(self, x):
            x = F.mish(self.first(x))
            x = x.repeat(1, 1, 2, 2) if wrong else F.interpolate(x, scale_factor=2)
            return self.last(x)

    return Script(Net(), images(), lambda model, x, y: F.l1_loss(model(x), x))


@beforehand(
    name="evaluation mode is left on after a validation",
    sentence="port is in evaluation mode from step 2 on: model.train() is missing",
    place=r"step 2, (norm|drop)\b",
    named=(r"evaluation mode|eval\(\)|model\.train",),
    in_part=(r"running|batch statistics",),
)
def evaluation_mode(wrong):
    model = nn.Sequential()
    model.first, model.norm = nn.Linear(12, 10), nn.BatchNorm1d(10)
    model.act, model.drop, model.out = nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(10, 4)

    def validate(model, optimiser, step):
        model.eval()
        with torch.no_grad():
            model(torch.ones(3, 12))
        if not wrong:
            model.train()

    return Script(model, images((12,)), classified, after=validate)


LAYERS = (
    causal_convolution, volumes, transposed_convolution, group_norm, layer_norm, instance_norm,
    average_pooling, gelu, dropout, upsampling, evaluation_mode,
)  # fmt: skip
