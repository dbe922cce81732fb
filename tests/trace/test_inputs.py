"""A model is called with what its user has: tensors in any container, sizes, keywords, or nothing at all."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence

import torchcost
from torchcost.errors import ConfigurationError, FakeExecutionError, MeasurementError, UncountedError

MACS = 2 * 16 * 8
"""MACs of the Linear(16, 8) on 2 rows."""


@dataclass
class Batch:
    """A user's dataclass of inputs or outputs."""

    data: Any
    loss: torch.Tensor | None = None


class Pair(NamedTuple):
    """A user's named tuple, which is one input."""

    data: torch.Tensor
    scale: float


class Holder:
    """A user's own class, with slots of no interest and a tensor."""

    def __init__(self, data: torch.Tensor) -> None:
        self.data, self.name = data, "holder"


class Calls(nn.Module):
    """A Linear layer on whatever `find` takes out of the inputs; the output is what `give` makes of the result."""

    def __init__(self, find: Callable[..., Any], give: Callable[[torch.Tensor], Any] = lambda y: y) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 8)
        self.find, self.give = find, give

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.give(self.fc(self.find(*args, **kwargs)))


def x() -> torch.Tensor:
    return torch.randn(2, 16)


GIVEN: dict[str, tuple[Any, Callable[..., Any]]] = {
    "a tensor": (x(), lambda v: v),
    "a tuple is the positional inputs": ((x(), 2), lambda v, n: v * n),
    "a mapping is the keyword inputs": ({"v": x(), "n": 2}, lambda v, n: v * n),
    "a read-only mapping too": (MappingProxyType({"v": x(), "n": 2}), lambda v, n: v * n),
    "an OrderedDict too": (OrderedDict(v=x()), lambda v: v),
    "a list is one input": ([x(), x()], lambda both: both[0] + both[1]),
    "a positional dict": (({"v": x()},), lambda d: d["v"]),
    "nested lists and dicts": (({"a": [{"b": (x(), None)}]},), lambda d: d["a"][0]["b"][0]),
    "a dataclass": (Batch(x()), lambda b: b.data),
    "an object of the user's": (Holder(x()), lambda h: h.data),
    "a namespace": (SimpleNamespace(data=x()), lambda h: h.data),
    "a named tuple is one input": (Pair(x(), 2.0), lambda p: p.data * p.scale),
    "None": ((x(), None), lambda v, nothing: v),
    "only None": ((None,), lambda nothing: torch.ones(2, 16)),
    "scalars and strings": ((x(), 3, 0.5, True, "sum"), lambda v, i, f, b, s: v * i * f),
    "a numpy array": (np.ones((2, 16), np.float32), torch.from_numpy),
    "a numpy array in a list": (([np.ones((2, 16), np.float32)],), lambda rows: torch.as_tensor(rows[0])),
    "a generator": ((row for row in x()), lambda rows: torch.stack(list(rows))),
    "an iterator of tensors": ((iter([x()]),), next),
    "a function": ((x(), torch.relu), lambda v, f: f(v)),
    "a torch.Size and a dtype": ((x().shape, torch.float32), lambda shape, dtype: torch.ones(shape, dtype=dtype)),
    "an empty tensor beside it": ((x(), torch.empty(0, 16)), lambda v, w: torch.cat([v, w])),
    "nothing": ((), lambda: torch.ones(2, 16)),
}


@pytest.mark.parametrize("name", GIVEN)
def test_inputs_reach_the_model_as_in_its_own_call(name: str) -> None:
    given, find = GIVEN[name]
    assert torchcost.count(Calls(find), given).macs == MACS


@pytest.mark.parametrize("name", [name for name in GIVEN if "generator" not in name and "iterator" not in name])
def test_inputs_reach_the_models_fake_twin_too(name: str) -> None:
    given, find = GIVEN[name]
    assert torchcost.count(Calls(find), given, execution="fake").macs == MACS


def test_keywords_come_beside_positional_inputs() -> None:
    net = Calls(lambda v, *, n: v * n)
    assert torchcost.count(net, (x(),), {"n": 2}).macs == torchcost.count(net, x(), kwargs={"n": 2}).macs == MACS
    assert torchcost.count(net, {"v": x()}, {"n": 2}).macs == MACS


def test_the_users_containers_and_tensors_stay_as_they_were() -> None:
    given = {"batch": {"v": x(), "rest": [1, 2]}}
    kept = given["batch"]["v"].clone()
    net = Calls(lambda batch: batch["rest"].clear() or batch.pop("v").mul_(2))
    assert torchcost.count(net, given).macs == torchcost.count(net, given).macs == MACS
    assert given["batch"]["rest"] == [1, 2]
    assert torch.equal(given["batch"]["v"], kept)


def test_an_input_that_needs_a_gradient_gets_none() -> None:
    leaf = x().requires_grad_()
    report = torchcost.count(Calls(lambda v: v), leaf, backward=True)
    assert leaf.grad is None
    assert report.backward.macs == 2 * MACS  # the weight's gradient and the input's


def test_the_graph_that_made_an_input_stays_the_users() -> None:
    leaf = x().requires_grad_()
    made = leaf.exp()
    torchcost.count(Calls(lambda v: v), made, backward=True)
    made.sum().backward()
    assert torch.allclose(leaf.grad, made)


def test_one_tensor_given_twice_is_one_tensor_to_the_model() -> None:
    v = x()
    net = Calls(lambda a, b: a if a is b["v"] else None)
    for execution in ("real", "fake"):
        assert torchcost.count(net, (v, {"v": v}), execution=execution).macs == MACS


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_packed_sequence_counts_its_real_steps(kind: type[nn.Module]) -> None:
    gates = {nn.LSTM: 4, nn.GRU: 3, nn.RNN: 1}[kind]
    packed = pack_padded_sequence(torch.randn(5, 2, 3), torch.tensor([5, 2]))
    report = torchcost.count(kind(3, 4), packed)
    assert report.macs == (5 + 2) * gates * 4 * (3 + 4)


def test_a_packed_sequence_in_a_tuple_is_an_input_beside_others() -> None:
    packed = pack_sequence([torch.randn(3, 3), torch.randn(1, 3)])
    report = torchcost.count(nn.LSTM(3, 4), (packed, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))))
    assert report.macs == (3 + 1) * 4 * 4 * (3 + 4)


class Remembers(nn.Module):
    """Keeps the inputs of every call."""

    def __init__(self, *shapes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        self.seen.append(inputs)
        return inputs[0] * self.weight


@pytest.mark.parametrize(
    ("size", "shapes"),
    [
        ((2, 16), [(2, 16)]),
        ([2, 16], [(2, 16)]),
        (torch.Size([2, 16]), [(2, 16)]),
        ([(2, 16)], [(2, 16)]),
        ([(2, 16), (3,)], [(2, 16), (3,)]),
        (((2, 16), (3,)), [(2, 16), (3,)]),
        ([(2, 0), ()], [(2, 0), ()]),
    ],
)
def test_sizes_make_one_input_or_several(size: Any, shapes: list[tuple[int, ...]]) -> None:
    net = Remembers()
    torchcost.count(net, input_size=size)
    assert [tuple(v.shape) for v in net.seen[0]] == shapes


def test_made_inputs_are_the_same_each_time_and_leave_the_seed_alone() -> None:
    net = Remembers()
    torch.manual_seed(1)
    torchcost.count(net, input_size=(2, 16))
    torch.rand(3)
    torchcost.count(net, input_size=(2, 16))
    first, second = (inputs[0] for inputs in net.seen)
    assert torch.equal(first, second)
    assert 0 <= first.min() < first.max() < 1


def test_made_inputs_have_the_asked_dtypes_or_the_models() -> None:
    net = Remembers()
    torchcost.count(net, input_size=[(2, 3), (4,)], dtypes=[torch.float64, torch.long])
    torchcost.count(net.to(torch.bfloat16), input_size=(2, 3))
    (double, whole), (own,) = net.seen
    assert (double.dtype, whole.dtype, own.dtype) == (torch.float64, torch.int64, torch.bfloat16)
    assert set(whole.tolist()) <= {0, 1}  # any look-up has these rows


def test_one_dtype_is_that_of_all_sizes() -> None:
    net = Remembers()
    torchcost.count(net, input_size=[(2, 3), (4,)], dtypes=torch.float64)
    assert [made.dtype for made in net.seen[0]] == [torch.float64, torch.float64]


def test_sizes_may_be_whole_numbers_of_numpy() -> None:
    assert torchcost.count(nn.Linear(16, 8), input_size=(np.int64(2), np.int32(16))).macs == MACS


LARGE = (1 << 22, 65536)
"""2**38 elements, a terabyte."""


@pytest.mark.parametrize("execution", ["auto", "fake"])
def test_inputs_of_a_model_on_meta_take_no_memory(execution: Any) -> None:
    huge = nn.Linear(65536, 65536, device="meta")
    assert torchcost.count(huge, input_size=LARGE, execution=execution).macs == 2 ** (22 + 16 + 16)


def test_inputs_of_a_fake_run_take_no_memory_wherever_the_weights_are() -> None:
    net = nn.Linear(65536, 1)
    assert torchcost.count(net, input_size=LARGE, execution="fake").macs == 2**38
    assert torchcost.count(net, input_size=LARGE, device="meta").macs == 2**38


def test_keywords_may_come_beside_a_size() -> None:
    assert torchcost.count(Calls(lambda v, n: v * n), kwargs={"n": 2}, input_size=(2, 16)).macs == MACS


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a size that is a number": (lambda: sized(3), r"input_size=\("),
    "a size that is a text": (lambda: sized("2x16"), r"input_size=\("),
    "a negative size": (lambda: sized((2, -1)), r"input_size=\("),
    "a fractional size": (lambda: sized((2, 16.0)), r"input_size=\("),
    "sizes and numbers mixed": (lambda: sized([(2, 16), 3]), r"input_size=\("),
    "a text for dtypes": (lambda: sized((2, 16), dtypes="float32"), r"dtypes='float32' holds no torch dtypes"),
    "texts for dtypes": (lambda: sized((2, 16), dtypes=["float32"]), r"dtypes=\[torch\.float32\]"),
    "an unknown device": (lambda: sized((2, 16), device="gpu"), "device='gpu' is no device .* 'cpu', 'cuda' or 'meta'"),
    "a size beyond all memory": (lambda: sized((1 << 60, 16)), "An input of size .* cannot be made on cpu: "),
    "a size beyond all numbers": (lambda: sized((1 << 60, 16), device="meta"), r"made on meta: .*\. Make it smaller"),
    "a device without a size": (lambda: torchcost.count(nn.ReLU(), x(), device="cpu"), "Leave device out"),
    "dtypes without a size": (lambda: torchcost.count(nn.ReLU(), x(), dtypes=[torch.long]), "Leave dtypes out"),
    "a text for backward": (lambda: torchcost.count(nn.ReLU(), x(), backward="yes"), "backward='yes' is neither"),  # type: ignore[arg-type]
    "dtypes of another number": (lambda: sized((2, 16), dtypes=[torch.long] * 2), r"dtypes=\["),
    "inputs and a size": (lambda: torchcost.count(nn.Linear(16, 8), x(), input_size=(2, 16)), "args and input_size"),
    "a function for a model": (lambda: torchcost.count(torch.relu, x()), r"with torchcost\.CostCounter"),  # type: ignore[arg-type]
    "a class for a model": (lambda: torchcost.count(nn.ReLU, x()), r"needs an nn\.Module, not type"),  # type: ignore[arg-type]
    "no model": (lambda: torchcost.count(None, x()), "not NoneType"),  # type: ignore[arg-type]
    "an unknown mode": (lambda: torchcost.count(nn.ReLU(), x(), mode="training"), "'eval', 'train', 'same'"),  # type: ignore[arg-type]
    "an unknown execution": (lambda: torchcost.count(nn.ReLU(), x(), execution="meta"), "'auto', 'real', 'fake'"),  # type: ignore[arg-type]
}


def sized(size: Any, **options: Any) -> torchcost.Report:
    return torchcost.count(nn.Linear(16, 8), input_size=size, **options)


@pytest.mark.parametrize("name", WRONG)
def test_a_request_that_makes_no_sense_is_refused_with_its_cure(name: str) -> None:
    request, cure = WRONG[name]
    with pytest.raises(ConfigurationError, match=cure):
        request()


def test_an_integer_model_has_no_flops() -> None:
    class Counts(nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return (ids * 2 + 1).cumsum(-1) % 7

    report = torchcost.count(Counts(), torch.arange(12).view(3, 4))
    assert (report.macs, report.flops, report.params, report.uncounted) == (0, 0, 0, {})
    assert report.activation_bytes == 4 * 12 * 8  # four results of int64


@pytest.mark.parametrize("execution", ["real", "fake"])
@pytest.mark.parametrize(
    "output",
    [None, "text", 3, (), {}, Batch(1), object],
    ids=["None", "text", "number", "empty tuple", "empty dict", "dataclass", "class"],
)
def test_a_model_may_return_anything(output: object, execution: Any) -> None:
    assert torchcost.count(Calls(lambda v: v, lambda y: output), x(), execution=execution).macs == MACS


def test_a_model_that_does_nothing_costs_nothing() -> None:
    report = torchcost.count(nn.Identity(), x())
    assert (report.flops, report.access_bytes, report.coverage) == (0, 0, 1.0)


def test_a_model_on_meta_cannot_run_for_real() -> None:
    net = nn.Linear(16, 8, device="meta")
    with pytest.raises(MeasurementError, match="execution='fake' or 'auto'"):
        torchcost.count(net, x(), execution="real")
    assert torchcost.count(net, x()).context["execution"] == "fake"
    assert torchcost.count(net, input_size=(2, 16)).macs == MACS


def test_inputs_on_meta_are_counted_on_fakes() -> None:
    for net in (nn.Linear(16, 8), Calls(lambda v: v), nn.ReLU()):
        report = torchcost.count(net, x().to("meta"))
        assert report.context["execution"] == "fake"
        assert report.macs in (0, MACS)


LOSSES: dict[str, Callable[[torch.Tensor], Any]] = {
    "the loss of a dict": lambda y: {"logits": y, "loss": y[0].sum()},
    "the loss of a dataclass": lambda y: Batch(y, y[0].sum()),
    "the loss of an object": lambda y: SimpleNamespace(loss=y[0].sum(), hidden=y),
}


@pytest.mark.parametrize("give", LOSSES.values(), ids=LOSSES)
def test_backward_starts_from_the_loss_in_the_output(give: Callable[[torch.Tensor], Any]) -> None:
    report = torchcost.count(Calls(lambda v: v, give), x(), backward=True)
    assert report.backward.macs == MACS  # the weight's gradient
    # Only the loss runs backward: nothing is added to the gradient of y from the other output.
    assert "aten.select_backward" in report.by_operator()
    assert "aten.add" not in report.by_operator()


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_backward_may_be_the_users_own_loss(execution: Any) -> None:
    net = Calls(lambda v: v, lambda y: {"logits": y})
    report = torchcost.count(net, x(), backward=lambda out: out["logits"].square().mean(), execution=execution)
    assert report.backward.macs == MACS
    assert report.forward.other_flops == 16 + 16  # the squares, and their mean: 15 sums and a division


def test_backward_takes_the_sum_of_what_is_floating() -> None:
    net = Calls(lambda v: v, lambda y: (y, y.argmax(-1), "text", None))
    assert torchcost.count(net, x(), backward=True).backward.macs == MACS


NO_LOSSES: dict[str, Callable[[torch.Tensor], Any]] = {
    "None": lambda y: None,
    "a number": lambda y: 3.0,
    "detached": lambda y: y.detach().sum(),
}


@pytest.mark.parametrize("loss", NO_LOSSES.values(), ids=NO_LOSSES)
def test_a_loss_without_a_gradient_is_refused(loss: Callable[[Any], Any]) -> None:
    with pytest.raises(MeasurementError, match="backward="):
        torchcost.count(Calls(lambda v: v), x(), backward=loss)


def test_strict_counting_refuses_work_without_a_rule() -> None:
    with pytest.raises(UncountedError, match=r"No counting rule for .* in the root.*@torchcost\.handles"):
        torchcost.count(Calls(lambda v: unknown(v)), x(), strict=True)
    assert torchcost.count(Calls(lambda v: v), x(), strict=True).macs == MACS


@torch.library.custom_op("torchcost_inputs::unknown", mutates_args=())
def unknown(v: torch.Tensor) -> torch.Tensor:
    return v.clone()


class NeedsData(nn.Module):
    """Two layers around something that a shape does not tell."""

    def __init__(self, use: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner = Calls(use)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.inner(v)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("use", "operator"),
    [
        (lambda v: v * v.sum().item(), r"aten\._local_scalar_dense"),
        (lambda v: v if v.sum() > 0 else -v, r"aten\._local_scalar_dense"),
        (lambda v: v[(v > -9).nonzero()[:, 0].unique()], r"aten\.nonzero"),
        (lambda v: v[(v > -9).any(1)], r"aten\.(nonzero|index)"),
        (lambda v: torch.tensor(v.tolist()), r"aten\._local_scalar_dense"),
    ],
    ids=["item", "if", "nonzero", "a mask", "tolist"],
)
def test_a_fake_run_that_needs_data_names_operator_and_path(use: Callable[..., Any], operator: str) -> None:
    net = NeedsData(use)
    with pytest.raises(FakeExecutionError, match=rf"{operator}.* in 'inner'.*execution='real'"):
        torchcost.count(net, x(), execution="fake")
    assert torchcost.count(net, x(), execution="real").macs == MACS


def raises(error: Exception) -> Callable[[torch.Tensor], torch.Tensor]:
    def find(v: torch.Tensor) -> torch.Tensor:
        raise error

    return find


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_the_models_own_exception_passes_with_a_note_of_its_place(execution: Any) -> None:
    error = LookupError("half way")
    with pytest.raises(LookupError, match="half way") as caught:
        torchcost.count(NeedsData(raises(error)), x(), execution=execution)
    assert caught.value is error
    assert "failed in 'inner' (Calls), called with float32[2, 16]" in error.__notes__[0]


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_a_wrong_shape_is_torchs_error_and_our_note(execution: Any) -> None:
    with pytest.raises(RuntimeError, match=r"cannot be multiplied|must have same reduction dim") as caught:
        torchcost.count(Calls(lambda v: v), torch.randn(2, 15), execution=execution)
    assert not isinstance(caught.value, torchcost.TorchCostError)
    assert "'fc' (Linear), called with float32[2, 15]" in caught.value.__notes__[0]


def test_a_missing_argument_is_pythons_error_and_our_note() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument") as caught:
        torchcost.count(Calls(lambda a, b: a), x())
    assert "count(model, args)" in caught.value.__notes__[-1]


def test_a_missing_argument_of_the_root_is_noted_too() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument") as caught:
        torchcost.count(nn.Linear(16, 8))
    assert "the root (Linear), called with no tensors" in caught.value.__notes__[-1]


def test_a_keyboard_interrupt_leaves_no_hook() -> None:
    def interrupts(v: torch.Tensor) -> Iterator[torch.Tensor]:
        raise KeyboardInterrupt

    net = Calls(interrupts)
    with pytest.raises(KeyboardInterrupt):
        torchcost.count(net, x())
    assert not net._forward_hooks
    assert not net.fc._forward_pre_hooks
