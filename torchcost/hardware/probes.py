"""Layers whose times stand for those of all others: each kind of call in several sizes that no known model has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

__all__ = ["Probe", "ProbeNet", "probes"]

Size = tuple[int, ...]


class Probe(nn.Module):
    """A layer, or a function, on an input of its own that was written just before, as by the layer before it."""

    def __init__(self, layer: Callable[..., Any], *sizes: Size, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.layer = layer if isinstance(layer, nn.Module) else _Function(layer)
        self.sizes, self.dtype = sizes, dtype
        self.inputs: list[torch.Tensor] = []

    def prepare(self, device: torch.device) -> None:
        """Makes the layer's inputs, of random numbers: zeros would be quicker on some devices."""
        self.to(device)
        self.inputs = [_random(size, self.dtype, device) for size in self.sizes]

    def forward(self) -> None:
        for _ in range(_TIMES):
            for tensor in self.inputs:
                if tensor.is_floating_point():
                    tensor.mul_(1.0)
            self.layer(*self.inputs)


def _random(size: Size, dtype: torch.dtype | None, device: torch.device) -> torch.Tensor:
    if dtype is torch.int64:
        return torch.randint(0, 1000, size, device=device)
    return torch.rand(size, dtype=dtype, device=device)


class _Function(nn.Module):
    """A function in the place of a layer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


class _SelfAttention(nn.Module):
    """Attention of an input to itself, without the weights that nobody asks for."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        return self.attention(x, x, x, need_weights=False)


class ProbeNet(nn.Module):
    """All probes, one after the other in an order that mixes their kinds, as a model does."""

    def __init__(self, found: list[Probe], device: torch.device) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.probes = nn.ModuleList(found[place] for place in torch.randperm(len(found), generator=generator))
        self.eval()
        for probe in found:
            probe.prepare(device)

    def forward(self) -> None:
        for probe in self.probes:
            probe()


def probes() -> Iterator[Probe]:
    """Every probe, new."""
    yield from (*_convolutions(), *_products(), *_element_by_element(), *_normalizations(), *_pools(), *_movements())


_TIMES = 4
"""How often a probe runs in a row: in a model too a kind of layer comes back before its code has left the caches."""

_LAYERS = ((104, 16), (104, 32), (60, 64), (60, 96), (36, 128), (36, 192), (18, 256), (18, 384), (10, 512))
"""Sides and channels of images, as they change over the depth of a convolutional network; no known one has these."""

_IMAGES: tuple[Size, ...] = ((1, 64, 10, 10), (1, 96, 18, 18), (1, 192, 36, 36), (1, 96, 60, 60), (1, 64, 104, 104))
"""Images of 26 kB to 2.8 MB."""


def _convolutions() -> Iterator[Probe]:
    for side, channels in _LAYERS:
        size = (1, channels, side, side)
        for out in (channels // 4, channels, channels * 3):
            yield Probe(nn.Conv2d(channels, out, 1, bias=False), size)
        yield Probe(nn.Conv2d(channels, channels, 3, padding=1, bias=False), size)
        yield Probe(nn.Conv2d(channels, channels // 4, 3, padding=1, bias=False), size)
        yield Probe(nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), size)
        for kernel, stride in ((3, 1), (3, 2), (5, 1), (7, 1)):
            layer = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
            yield Probe(layer, size)
        for groups in (4, 16):
            yield Probe(nn.Conv2d(channels, channels, 3, padding=1, groups=groups, bias=False), size)
    for channels, out in ((48, 12), (192, 20), (384, 96), (768, 192), (1024, 40)):
        yield Probe(nn.Conv2d(channels, out, 1), (1, channels, 1, 1))
    for side, kernel, stride, out in ((230, 7, 2, 48), (230, 3, 2, 28), (218, 3, 1, 48), (218, 4, 4, 88)):
        yield Probe(nn.Conv2d(3, out, kernel, stride), (1, 3, side, side))


def _products() -> Iterator[Probe]:
    for rows, depth, columns in (
        *((1, 180, 44), (1, 740, 372), (1, 1480, 1100), (1, 3000, 2900), (1, 5900, 4100)),
        *((11, 740, 1480), (45, 180, 372), (45, 740, 740), (45, 1480, 740), (210, 372, 372), (210, 740, 740)),
        *((210, 740, 2960), (210, 2960, 740), (800, 180, 372), (800, 180, 720), (3000, 92, 290), (3000, 92, 92)),
    ):
        yield Probe(nn.Linear(depth, columns), (1, rows, depth))
    for batch, rows, depth, columns in ((6, 45, 30, 45), (11, 210, 60, 210), (60, 50, 30, 50), (11, 800, 60, 800)):
        yield Probe(torch.matmul, (batch, rows, depth), (batch, depth, columns))
    for heads, length, depth in ((6, 45, 30), (11, 190, 60), (11, 210, 60), (14, 500, 60), (6, 1100, 30)):
        yield Probe(F.scaled_dot_product_attention, *[(1, heads, length, depth)] * 3)
    for length, width, heads in ((45, 180, 6), (190, 740, 10), (210, 372, 12), (500, 740, 10)):
        yield Probe(_SelfAttention(width, heads), (1, length, width))


def _element_by_element() -> Iterator[Probe]:
    layers = (nn.ReLU, nn.ReLU6, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.LeakyReLU)
    in_place = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Hardsigmoid)
    functions = (torch.relu, torch.relu_, F.gelu, F.silu, torch.sigmoid, torch.tanh, torch.exp, torch.neg, torch.rsqrt)
    for size in ((1, 46, 1, 1), *_IMAGES, (1, 96, 116, 116), (4, 96, 116, 116)):
        yield from (Probe(layer(), size) for layer in layers)
        yield from (Probe(layer(inplace=True), size) for layer in in_place)
        yield from (Probe(function, size) for function in functions)
        for function in (torch.add, torch.Tensor.add_, torch.mul, torch.sub, torch.div):
            yield Probe(function, size, size)
        yield Probe(lambda x: x * 1.5, size)
        yield Probe(lambda x: x + 1.5, size)
        yield Probe(lambda x: x.pow(2), size)
        yield Probe(lambda x, scale: x * scale, size, (*size[:2], 1, 1))
        yield Probe(nn.Dropout(), size)
        yield Probe(nn.Softmax(-1), size)
        yield Probe(lambda x: x.softmax(-1), size)


def _normalizations() -> Iterator[Probe]:
    for size in (*_IMAGES, (1, 384, 10, 10), (1, 768, 10, 10), (1, 192, 60, 60), (2, 96, 116, 116)):
        yield Probe(nn.BatchNorm2d(size[1]), size)
        yield Probe(nn.GroupNorm(4, size[1] // 4 * 4), (size[0], size[1] // 4 * 4, *size[2:]))
    for rows, width in ((45, 180), (45, 740), (210, 372), (210, 740), (800, 180), (3000, 92), (800, 740)):
        yield Probe(nn.LayerNorm(width), (1, rows, width))
        yield Probe(lambda x: F.layer_norm(x, x.shape[-1:]), (1, rows, width))
        yield Probe(nn.RMSNorm(width), (1, rows, width))


def _pools() -> Iterator[Probe]:
    for size in (*_IMAGES, (1, 96, 116, 116)):
        yield Probe(nn.MaxPool2d(3, 2, 1), size)
        yield Probe(nn.MaxPool2d(2), size)
        yield Probe(nn.MaxPool2d(3, 1, 1), size)
        yield Probe(nn.AvgPool2d(2), size)
        yield Probe(nn.AvgPool2d(3, 1, 1), size)
        yield Probe(nn.AdaptiveAvgPool2d(1), size)
        yield Probe(lambda x: x.mean((2, 3)), size)
        yield Probe(lambda x: x.sum(-1), size)
        yield Probe(nn.Upsample(scale_factor=2), size)


def _movements() -> Iterator[Probe]:
    for size in _IMAGES:
        yield Probe(lambda a, b: torch.cat((a, b), 1), size, size)
        yield Probe(lambda a, b, c, d: torch.cat((a, b, c, d), 1), size, size, size, size)
        yield Probe(lambda x: x.transpose(1, 2).contiguous(), size)
        yield Probe(lambda x: x.permute(0, 2, 3, 1).contiguous(), size)
        yield Probe(torch.clone, size)
        yield Probe(lambda x: x.roll((3, 3), (2, 3)), size)
        yield Probe(lambda x: F.pad(x, (0, 1, 0, 1)), size)
        yield Probe(nn.Flatten(), size)
        yield Probe(nn.Identity(), size)
    for rows, width in ((45, 180), (210, 372), (210, 740), (800, 372)):
        yield Probe(nn.Embedding(1000, width), (1, rows), dtype=torch.int64)
