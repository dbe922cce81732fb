"""Small models, each with one trait that a summary must cope with."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


class Digits(nn.Module):
    """Convolutions, dropout and linear layers, with functions between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 5)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.drop = nn.Dropout2d()
        self.fc1 = nn.Linear(6 * 5 * 5, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.drop(self.conv2(x)), 2)).flatten(1)
        return F.log_softmax(self.fc2(F.relu(self.fc1(x))), dim=1)


class Adds(nn.Module):
    """Two inputs, the second of which may be whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.left(x) + self.right(y.float())


class Flexible(nn.Module):
    """Takes its input in whatever it is wrapped."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Any, other: Any = None) -> Any:
        while not isinstance(x, Tensor):
            x = next(iter(x.values())) if isinstance(x, dict) else x[0]
        return self.fc(x)


class Named(nn.Module):
    """Its forward takes inputs by name, one of them a word."""

    def __init__(self) -> None:
        super().__init__()
        self.paths = nn.ModuleDict({"conv": nn.Conv2d(2, 3, 3), "pool": nn.MaxPool2d(3)})
        self.acts = nn.ModuleDict([("relu", nn.ReLU()), ("prelu", nn.PReLU())])

    def forward(self, x: Tensor, path: str = "conv", act: str = "relu") -> Tensor:
        return self.acts[act](self.paths[path](x))


class OnNumpy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: np.ndarray[Any, Any]) -> Tensor:
        return self.fc(torch.from_numpy(x))


class Bare(nn.Module):
    """A parameter of its own beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 7))
        self.fc = nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x * self.scale.sum(0))


class Listed(nn.Module):
    """Weights in a ParameterList and a ParameterDict."""

    def __init__(self) -> None:
        super().__init__()
        self.several = nn.ParameterList([nn.Parameter(torch.ones(3, 8)), nn.Parameter(torch.ones(8))])
        self.named = nn.ParameterDict({"shift": nn.Parameter(torch.ones(8))})

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.several[0] + self.several[1] + self.named["shift"]


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 6)
        self.encoder = nn.LSTM(6, 8, num_layers=2, batch_first=True)
        self.decoder = nn.Linear(8, 20)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        out, (hidden, _) = self.encoder(self.embedding(tokens))
        return self.decoder(out), hidden


class Packs(nn.Module):
    """Packs its input for a GRU and unpacks what it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, torch.tensor([3, 2]), batch_first=True)
        return pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]


class TakesPacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5)

    def forward(self, x: PackedSequence) -> PackedSequence:
        return self.gru(x)[0]


class Again(nn.Module):
    """One layer many times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.act = nn.ReLU()
        self.fc = nn.Linear(3 * 4 * 4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = self.act(self.conv(x))
        return self.fc(x.flatten(1))


class Siamese(nn.Module):
    """One branch for both inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Conv1d(3, 2, 3))
        self.head = nn.Linear(2 * 4, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head((self.branch(x) - self.branch(y)).abs().flatten(1))


class Containers(nn.Module):
    """Lists of layers that are called one by one; a sequence is never called itself."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.ModuleList([nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4), nn.Tanh()])])
        self.steps = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        for row in self.rows:
            for layer in row if isinstance(row, nn.ModuleList) else [row]:
                x = layer(x)
        return self.steps[1](self.steps[0](x))


class Hollow(nn.Module):
    """Empty containers and a layer that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing, self.empty = nn.ModuleList(), nn.Sequential()
        self.idle = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.empty(x) + 1


class OnlyEmpty(nn.Module):
    """All that it holds is an empty list."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.ModuleList()

    def forward(self, x: Tensor) -> Tensor:
        return x * 2


class ToDict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 2)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": self.a(x), "b": self.b(x)}


class Nested(nn.Module):
    """A mapping of mappings goes in, lists of tensors come out."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, batch: dict[str, Any]) -> list[list[Tensor]]:
        return [[self.fc(batch["deep"]["x"])], [batch["y"]]]


class Autoencoder(nn.Module):
    """Pools with indices and unpools; its decoder is a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.down = nn.MaxPool2d(2, 2, return_indices=True)
        self.up = nn.MaxUnpool2d(2, 2)
        self.decode = nn.Sequential(nn.ConvTranspose2d(4, 1, 3, padding=1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x, indices = self.down(self.encode(x))
        return self.decode(self.up(x, indices))


class PartlyFrozen(nn.Module):
    """A frozen layer, a partly frozen one, a frozen parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.ones(5), requires_grad=False)
        self.frozen, self.partly, self.free = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.frozen.requires_grad_(False)
        self.partly.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.free(self.partly(self.frozen(x * self.own)))


class FrozenBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).requires_grad_(False)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x))


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.LazyConv2d(4, 3), nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).flatten(1))


class Tied(nn.Module):
    """A head that shares its weight with the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 8)
        self.head = nn.Linear(8, 30, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens))


class TensorKernel(nn.Module):
    """Its kernel size is a tensor, as some libraries have it."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        return self.blur(x)


class Blur(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel_size = torch.tensor([2, 3])

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, (2, 3))


class Scalar(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Gaussian(nn.Module):
    """Gives a distribution."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(self.fc(x), 1.0, validate_args=False)


class Policy(nn.Module):
    """Gives a distribution and a value."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> tuple[torch.distributions.Normal, Tensor]:
        mean = self.fc(x)
        return torch.distributions.Normal(mean, 1.0, validate_args=False), mean.sum(1)


@dataclass
class Answer:
    logits: Tensor
    hidden: Tensor | None = None


class Answers(nn.Module):
    """Gives a dataclass."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Answer:
        return Answer(self.fc(x))


class Silent(nn.Module):
    """Gives nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> None:
        self.fc(x)


class Attention(nn.Module):
    """One layer of torch's own attention, and a product spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + self.attention(x, x, x)[0])
        return x @ x.mT


class Fork(nn.Module):
    """One layer under two parents."""

    def __init__(self) -> None:
        super().__init__()
        fc = nn.Linear(4, 4)
        self.a, self.b = nn.Sequential(fc, nn.ReLU()), nn.Sequential(fc)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x))


class Twins(nn.Module):
    """One layer under two names of one parent."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class HalfScripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scripted(self.fc(x))


Point = namedtuple("Point", ["x", "y"])


class OnPoint(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, point: Point, scale: Tensor | None = None) -> Point:
        return Point(self.fc(point.x), point.y)


def deep() -> nn.Module:
    """Four levels, more than are shown by default."""
    block = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3)), nn.Tanh())
    return nn.Sequential(block, nn.Linear(3, 2))


def pruned() -> nn.Module:
    """Half of a convolution's weights and a quarter of a layer's are cut."""
    model = Digits()
    prune.l1_unstructured(model.conv2, "weight", 0.5)
    prune.l1_unstructured(model.fc1, "weight", 0.25)
    return model


def hooked() -> nn.Module:
    """Has hooks of its user's."""
    model = Digits()
    model.conv1.register_forward_pre_hook(lambda module, args: None)
    model.fc1.register_forward_hook(lambda module, args, output: output * 2)
    return model


def long_names() -> nn.Module:
    """A name that makes the first column wider."""
    kind = type("AnExceedinglyLongNameForSomethingQuiteShortIndeed", (nn.Linear,), {})
    return nn.Sequential(nn.Sequential(kind(3, 3)))


class Upsamples(nn.Module):
    """A transposed convolution with a stride, grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(x)


class Cells(nn.Module):
    """A cell of a recurrent network in a loop."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 4)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state


class Pairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair = nn.Bilinear(3, 4, 5)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.pair(x, y)


class Residual(nn.Module):
    """A block with a shortcut, norms and a layer that only resizes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
        self.shortcut = nn.Conv2d(2, 4, 1, stride=2, bias=False)
        self.norm = nn.GroupNorm(2, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.norm(self.body(x) + self.shortcut(x)), scale_factor=2.0)


class Counts(nn.Module):
    """Bags of words."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(12, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.fc(self.bag(words))


class Highway(nn.Module):
    """A gate made of bare parameters, a buffer, and a layer within a list within a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(5, 5))
        self.register_buffer("shift", torch.zeros(5))
        self.paths = nn.ModuleDict({"deep": nn.ModuleList([nn.Linear(5, 5, bias=False)])})

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(F.linear(x, self.gate))
        return gate * self.paths["deep"][0](x) + self.shift


def volume() -> nn.Module:
    """Convolutions in three dimensions, depthwise and pointwise."""
    return nn.Sequential(nn.Conv3d(4, 4, (1, 3, 3), groups=4), nn.InstanceNorm3d(4, affine=True), nn.Conv3d(4, 2, 1))


def rows_of_rows() -> nn.Module:
    """Linear layers on inputs of four dimensions."""
    return nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Linear(4, 6, bias=False), nn.LayerNorm(6))


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)


def normed() -> nn.Module:
    """A layer whose weight is computed from two others."""
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Softmax(dim=1))


def scripted() -> nn.Module:
    model: nn.Module = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2))))
    return model


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Digits()
