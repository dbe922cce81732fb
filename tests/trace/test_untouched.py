"""After a count everything is as it was: flags, buffers, parameters, grads, hooks, random states, inputs."""

from __future__ import annotations

import copy
import gc
import random
import threading
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchcost


class Mixed(nn.Module):
    """A frozen BatchNorm beside a training one, dropout, a frozen layer, tied weights, max_norm, a user's hook."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.frozen_bn = nn.BatchNorm1d(8), nn.BatchNorm1d(8).eval()
        self.drop = nn.Dropout(0.5)
        self.frozen, self.tied, self.head = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, 8), nn.Linear(8, 8)
        self.head.weight = self.tied.weight
        self.embed = nn.Embedding(10, 8, max_norm=0.1)
        self.register_buffer("seen", torch.zeros(1))
        self.raises = False

    def forward(self, x: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        self.seen += 1
        x.mul_(2)
        ids = options.pop("ids")
        x = self.drop(self.frozen_bn(self.bn(x)) + self.embed(ids))
        if self.raises:
            raise KeyError("half way")
        return self.head(self.tied(self.frozen(x))) + torch.rand(1)


def inputs() -> tuple[torch.Tensor, dict[str, Any]]:
    return torch.randn(4, 8), {"ids": torch.tensor([1, 2, 3, 4])}


def model() -> Mixed:
    net = Mixed().train()
    net.frozen_bn.eval()
    net.tied.weight.grad = torch.ones(8, 8)
    net.user_calls = []  # type: ignore[assignment]
    net.tied.register_forward_hook(lambda module, args, output: net.user_calls.append(type(module)))  # type: ignore[operator]
    return net


def fingerprint(net: nn.Module) -> dict[str, Any]:
    """All that a user could find changed."""
    return {
        "flags": [module.training for module in net.modules()],
        "state": {name: tensor.clone() for name, tensor in net.state_dict().items()},
        "ids": {name: id(tensor) for name, tensor in (*net.named_parameters(), *net.named_buffers())},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in net.named_parameters()},
        "needs": [p.requires_grad for p in net.parameters()],
        "hooks": [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()],
        "names": [sorted(vars(m)) for m in net.modules()],
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
    }


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


ROUTES: dict[str, Callable[[nn.Module, Any], object]] = {
    "eval": lambda net, args: torchcost.count(net, args),
    "train": lambda net, args: torchcost.count(net, args, mode="train"),
    "same": lambda net, args: torchcost.count(net, args, mode="same"),
    "backward": lambda net, args: torchcost.count(net, args, mode="train", backward=True),
    "fake": lambda net, args: torchcost.count(net, args, execution="fake"),
    "fake backward": lambda net, args: torchcost.count(net, args, execution="fake", mode="train", backward=True),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises half way"])
def test_a_count_leaves_the_model_and_the_inputs_as_they_were(route: str, raises: bool) -> None:
    net, args = model(), inputs()
    net.raises = raises
    before, given = fingerprint(net), copy.deepcopy(args)
    if raises:
        with pytest.raises(KeyError, match="half way"):
            ROUTES[route](net, args)
    else:
        ROUTES[route](net, args)
    after = fingerprint(net)
    assert [key for key in before if not same(before[key], after[key])] == []
    assert torch.equal(args[0], given[0])
    assert args[1].keys() == {"ids"}


def test_the_users_own_hooks_run_as_in_any_call() -> None:
    net = model()
    torchcost.count(net, inputs())
    assert net.user_calls == [nn.Linear]


def test_a_second_count_gives_the_same_report() -> None:
    net, args = model(), inputs()
    assert torchcost.count(net, args, mode="train").to_dict() == torchcost.count(net, args, mode="train").to_dict()


def test_an_input_that_forward_changes_can_be_counted_again() -> None:
    net, args = model(), inputs()
    first = torchcost.count(net, args).macs
    assert torchcost.count(net, args).macs == first == 3 * 4 * 8 * 8


_CACHE: list[Any] = []
_TABLES: dict[int, Any] = {}


class Remembers(nn.Module):
    """Keeps what it sees by a function that is given."""

    def __init__(self, keep: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.fc, self.keep = nn.Linear(8, 8), keep

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.keep(self.fc(x))
        return x


KEEPERS: dict[str, Callable[[torch.Tensor], object]] = {
    "a result in a list": _CACHE.append,
    "a pair in a dict": lambda y: _TABLES.setdefault(len(y), (y, y * 2)),
}


@pytest.mark.parametrize("name", KEEPERS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_fakes_that_forward_put_into_a_cache_are_taken_out_and_the_cache_is_named(name: str, device: str) -> None:
    _TABLES[0] = kept = (torch.zeros(1),)
    report = torchcost.count(Remembers(KEEPERS[name]).to(device), torch.randn(2, 8), execution="fake")
    assert (_CACHE, list(_TABLES.values())) == ([], [kept])
    assert [note for note in report.notes if "_CACHE" in note or "_TABLES" in note]


def test_an_input_that_a_global_keeps_is_found_too() -> None:
    class KeepsItsInput(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _CACHE.append(x)
            return x

    assert torchcost.count(KeepsItsInput(), torch.randn(2), execution="fake").notes
    assert _CACHE == []


def test_a_fake_that_cannot_be_taken_out_is_found_and_its_holder_named() -> None:
    class Holder:
        last: torch.Tensor

    holder = Holder()
    keeps = Remembers(lambda y: setattr(holder, "last", y))
    with pytest.raises(torchcost.TorchCostError, match=r"1 fake tensors outlive the run in a "):
        torchcost.count(keeps, torch.randn(2, 8), execution="fake")


def test_an_lru_cache_is_emptied_after_a_fake_run_that_failed() -> None:
    @lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.arange(size)

    def fails(y: torch.Tensor) -> None:
        table(4)
        y.sum().item()

    with pytest.raises(torchcost.TorchCostError, match="needs real data"):
        torchcost.count(Remembers(fails), torch.randn(2, 8), execution="fake")
    assert type(table(4)) is torch.Tensor


def test_an_lru_cache_that_a_fake_run_filled_is_emptied() -> None:
    @lru_cache
    def table(size: int) -> torch.Tensor:
        return torch.arange(size)

    class Cached(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + table(len(x))

    torchcost.count(Cached(), torch.randn(4), execution="fake")
    assert type(Cached()(torch.ones(4))) is torch.Tensor


def test_a_flag_about_weights_that_were_put_back_is_put_back_with_them() -> None:
    class Rescaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.rescaled = nn.Parameter(torch.full((2,), 8.0)), False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.rescaled:
                self.w.div_(2)
                self.rescaled = True
            return x * self.w

    net = Rescaled()
    torchcost.count(net, torch.ones(2))
    assert (net.w.tolist(), net.rescaled) == ([8.0, 8.0], False)


def test_what_forward_assigns_stays_where_no_weight_was_written() -> None:
    class Counts(nn.Module):
        steps = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            return x

    net = Counts()
    torchcost.count(net, torch.ones(2))
    assert net.steps == 1


def test_a_norm_that_only_looks_its_statistics_up_writes_nothing() -> None:
    class Steps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn, self.steps = nn.BatchNorm1d(8), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            return self.bn(x)  # type: ignore[no-any-return]

    net = Steps()
    torchcost.count(net, torch.randn(2, 8))
    assert net.steps == 1
    torchcost.count(net, torch.randn(2, 8), mode="train")
    assert net.steps == 1


def test_an_exception_keeps_its_type_and_says_where_it_arose() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(9, 4)))
    with pytest.raises(RuntimeError, match="cannot be multiplied") as caught:
        torchcost.count(net, torch.randn(2, 8))
    assert "'1.0' (Linear), called with float32[2, 8]" in caught.value.__notes__[0]


# --- what forward does to the model's tensors ------------------------------------------------------------------------


class Does(nn.Module):
    """Weights, statistics and a flag, and a forward that is given."""

    def __init__(self, forward: Callable[[Any, torch.Tensor], object]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full((2, 3), 4.0))
        self.register_buffer("mean", torch.ones(2))
        self.plain = torch.ones(2)
        self.hidden = [nn.BatchNorm1d(3)]
        self.generator = torch.Generator().manual_seed(7)
        self.python, self.numpy = random.Random(7), np.random.default_rng(7)
        self.ready, self.options = False, {"filled": False}
        self.does = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.does(self, x)
        return (x * self.w).sum()


def replaces_data(net: Any, x: torch.Tensor) -> None:
    net.w.data = torch.renorm(net.w.data, 2, 0, 1.0)


def replaces_a_buffer(net: Any, x: torch.Tensor) -> None:
    net.mean, net.ready = net.mean * 0.9, True


def fills_a_buffer(net: Any, x: torch.Tensor) -> None:
    net.mean.copy_(x.mean(1))
    net.ready = net.seen = True


def replaces_a_parameter(net: Any, x: torch.Tensor) -> None:
    net.w = nn.Parameter(net.w * 2)


def resizes(net: Any, x: torch.Tensor) -> None:
    net.mean.resize_(5).zero_()


def transposes(net: Any, x: torch.Tensor) -> None:
    net.w.data = net.w.data.t().contiguous().t()


def freezes(net: Any, x: torch.Tensor) -> None:
    net.w.requires_grad_(False)


def writes_a_plain_tensor(net: Any, x: torch.Tensor) -> None:
    net.plain.add_(1)


def trains_a_hidden_module(net: Any, x: torch.Tensor) -> None:
    net.hidden[0](x)


def draws(net: Any, x: torch.Tensor) -> None:
    torch.rand(2, generator=net.generator)
    net.python.random()
    net.numpy.random()


def state(net: Any) -> dict[str, Any]:
    tensors = (*net.parameters(), *net.buffers(), net.plain, *net.hidden[0].state_dict().values())
    return {
        "elements": [tensor.tolist() for tensor in tensors],
        "ids": [id(tensor) for tensor in (*net.parameters(), *net.buffers())],
        "needs": [parameter.requires_grad for parameter in net.parameters()],
        "strides": [tensor.stride() for tensor in tensors],
        "versions": [tensor._version for tensor in tensors],
        "flags": (net.ready, "seen" in vars(net), dict(net.options)),
        "generators": (net.generator.get_state().tolist(), net.python.getstate(), net.numpy.bit_generator.state),
    }


def fills_once(net: Any, x: torch.Tensor) -> None:
    if not net.options["filled"]:
        net.w.data.fill_(1)
        net.options["filled"] = net.options["late"] = True


DEEDS = (
    replaces_data,
    replaces_a_buffer,
    fills_a_buffer,
    fills_once,
    replaces_a_parameter,
    resizes,
    transposes,
    freezes,
    writes_a_plain_tensor,
    trains_a_hidden_module,
    draws,
)


@pytest.mark.parametrize("deed", DEEDS)
def test_what_forward_does_to_the_models_tensors_is_undone(deed: Callable[[Any, torch.Tensor], object]) -> None:
    net = Does(deed)
    before = state(net)
    torchcost.count(net, torch.randn(2, 3))
    assert state(net) == before


def test_a_buffer_of_a_tensor_type_of_the_users_keeps_no_other_tensor_from_being_put_back() -> None:
    class Marked(torch.Tensor):
        """A tensor of another type, which runs torch's operators."""

    net = Does(replaces_data)
    net.register_buffer("scale", torch.ones(1).as_subclass(Marked))
    before = state(net)
    torchcost.count(net, torch.randn(2, 3))
    assert state(net) == before


def test_a_grad_that_a_criterion_or_a_hidden_leaf_gets_is_taken_back() -> None:
    criterion, extra = nn.Linear(8, 1), torch.ones(8, requires_grad=True)
    extra.grad = torch.full((8,), 5.0)
    net = nn.Linear(8, 8)
    for execution in ("real", "fake"):
        report = torchcost.count(
            net,
            torch.randn(2, 8),
            backward=lambda y: criterion(y * extra).sum(),
            execution=execution,  # type: ignore[arg-type]
        )
        assert [criterion.weight.grad, net.weight.grad, extra.grad.tolist()] == [None, None, [5.0] * 8]
        assert report.backward.macs == 2 * 8 * 8 + 2 * 2 * 8


# --- what forward does to its inputs ---------------------------------------------------------------------------------


def test_a_tensor_that_forward_marks_or_reshapes_is_the_users_as_before() -> None:
    def marks(net: Any, x: torch.Tensor) -> None:
        x.requires_grad_()
        x.register_hook(print)
        x.seen = True  # type: ignore[attr-defined]
        x.unsqueeze_(0)

    x = torch.randn(2, 3)
    torchcost.count(Does(marks), x)
    assert (x.requires_grad, x.shape, hasattr(x, "seen"), x._backward_hooks) == (False, (2, 3), False, None)


def test_an_attribute_of_an_input_reaches_forward() -> None:
    x = torch.randn(2, 3)
    x.scale = 3  # type: ignore[attr-defined]
    seen: list[int] = []
    torchcost.count(Does(lambda net, x: seen.append(x.scale)), x)  # type: ignore[attr-defined]
    assert seen == [3]


def test_a_graph_that_the_user_made_before_can_still_go_backward() -> None:
    y, w, net = torch.randn(2, 3), torch.randn(2, 3, requires_grad=True), Does(lambda net, x: x.mul_(2))
    embedding = nn.Embedding(4, 2, max_norm=0.1)
    loss = (y * w).sum() + embedding.weight.square().sum()
    torchcost.count(net, y)
    torchcost.count(embedding, torch.tensor([1, 2]))
    loss.backward()
    assert w.grad is not None
    assert torch.equal(w.grad, y)


# --- the twin --------------------------------------------------------------------------------------------------------

_NOTHING = object()


class Closes(nn.Module):
    """A layer that is reached by a closure, beside a sentinel and a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.option: Any = _NOTHING
        self.lock = threading.Lock()
        self.call = lambda x: torch.nn.functional.linear(x, self.fc.weight, self.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.call(x) if self.option is _NOTHING else x


@pytest.mark.parametrize("backward", [False, True])
def test_a_twin_counts_what_is_reached_through_closures(backward: bool) -> None:
    net, x = Closes(), torch.randn(2, 8)
    real, fake = (torchcost.count(net, x, backward=backward, execution=e) for e in ("real", "fake"))
    assert fake.total == real.total
    assert fake.parameters == real.parameters
    assert [p.grad for p in net.parameters()] == [None, None]


def test_a_model_on_meta_that_is_reached_through_closures_is_counted() -> None:
    with torch.device("meta"):
        net = Closes()
    report = torchcost.count(net, torch.randn(2, 8))
    assert (report.macs, report.bytes_read.weights, report.parameters.active) == (2 * 64, 4 * 72, 72)


def test_a_hook_on_a_parameters_gradient_is_counted_on_fakes_too() -> None:
    net = nn.Linear(16, 8, bias=False)
    net.weight.register_hook(lambda grad: grad @ torch.eye(16))
    real, fake = (torchcost.count(net, torch.randn(2, 16), backward=True, execution=e) for e in ("real", "fake"))
    assert real.total == fake.total
    assert real.backward.macs == 2 * 16 * 8 + 8 * 16 * 16


def unlike(net: nn.Module, name: str, value: object) -> nn.Module:
    setattr(net, name, value)
    return net


class NoCopy(nn.Linear):
    """A layer that refuses to be copied."""

    def __deepcopy__(self, memo: object) -> NoCopy:
        raise TypeError("not me")


NO_TWIN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a sparse plain tensor": (lambda: unlike(nn.Linear(8, 8), "table", torch.eye(3).to_sparse()), "sparse_coo tensor"),
    "a module that refuses to be copied": (lambda: nn.Sequential(NoCopy(8, 8)), r"'0' \(NoCopy\) cannot be copied"),
}


@pytest.mark.parametrize("name", NO_TWIN)
def test_a_model_that_has_no_twin_is_named_with_the_cure(name: str) -> None:
    make, words = NO_TWIN[name]
    with pytest.raises(torchcost.TorchCostError, match=words) as caught:
        torchcost.count(make(), torch.randn(2, 8), execution="fake")
    assert "execution='real'" in str(caught.value)


def test_a_model_whose_parts_hold_each_other_and_a_lock_has_a_twin() -> None:
    class Part:
        def __init__(self) -> None:
            self.lock, self.other = threading.Lock(), self

    assert torchcost.count(unlike(nn.Linear(8, 8), "part", Part()), torch.randn(2, 8), execution="fake").macs == 2 * 64


def test_a_lazy_model_that_holds_a_lock_is_counted_on_a_copy() -> None:
    net = unlike(nn.Sequential(nn.LazyLinear(8)), "lock", threading.Lock())
    assert torchcost.count(net, torch.randn(2, 8)).macs == 2 * 64
    assert nn.parameter.is_lazy(net[0].weight)  # type: ignore[index]


@pytest.mark.parametrize("backward", [False, True])
def test_a_counted_model_is_freed_as_soon_as_nobody_needs_it(backward: bool) -> None:
    net: nn.Module | None = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    alive = weakref.ref(net)
    gc.disable()
    try:
        report = torchcost.count(net, torch.randn(2, 8), backward=backward)
        net = None
        assert alive() is None
    finally:
        gc.enable()
    assert report.macs > 0


def test_the_weights_of_a_scripted_part_are_its_weights_on_fakes_too() -> None:
    net = nn.Sequential(torch.jit.script(nn.Linear(8, 8)), nn.Linear(8, 8))
    real, fake = (torchcost.count(net, torch.randn(2, 8), execution=execution) for execution in ("real", "fake"))
    assert fake.total == real.total
    assert fake.parameters == real.parameters


class Averages(nn.Module):
    """Writes to one buffer and puts another in its place."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.mean.add_(1)
        self.mean = self.mean + x.mean(0)
        return self.norm(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("execution", ["real", "fake"])
def test_the_buffers_of_a_script_are_as_they_were(execution: Any) -> None:
    script = torch.jit.script(Averages())
    before = copy.deepcopy(script.state_dict())
    torchcost.count(nn.Sequential(script), torch.randn(4, 8), mode="train", execution=execution)
    assert same(dict(script.state_dict()), dict(before))


def test_a_custom_operator_without_a_fake_is_named_with_the_cure() -> None:
    real_only = torch.library.custom_op(
        "torchcost_tests::real_only", torch.clone, mutates_args=(), schema="(Tensor x) -> Tensor"
    )
    with pytest.raises(torchcost.TorchCostError, match=r"torchcost_tests.real_only.* in the root .*execution='real'"):
        torchcost.count(Remembers(real_only), torch.randn(2, 8), execution="fake")


def test_a_failure_on_fakes_says_that_it_was_one() -> None:
    def fails(y: torch.Tensor) -> None:
        raise KeyError(id(y))

    with pytest.raises(KeyError) as caught:
        torchcost.count(Remembers(fails), torch.randn(2, 8), execution="fake")
    assert "execution='real'" in caught.value.__notes__[-1]


def test_what_a_script_computes_without_an_operator_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    optimized = torch.jit.optimize_for_inference(torch.jit.script(net))
    report = torchcost.count(optimized, torch.randn(1, 3, 8, 8))
    assert report.uncounted == {"prim::mkldnn_convolution": [""]}


def test_a_models_own_not_implemented_error_is_its_own_on_fakes_too() -> None:
    def refuses(y: torch.Tensor) -> None:
        raise NotImplementedError("not yet")

    with pytest.raises(NotImplementedError, match="not yet"):
        torchcost.count(Remembers(refuses), torch.randn(2, 8), execution="fake")


def test_a_frozen_script_is_counted_in_every_mode() -> None:
    frozen = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval()))
    for mode in ("eval", "train", "same"):
        assert torchcost.count(frozen, torch.randn(2, 8), mode=mode).macs == 2 * 64  # type: ignore[arg-type]


def test_backward_inside_inference_mode_says_so() -> None:
    with torch.inference_mode(), pytest.raises(torchcost.TorchCostError, match="no backward inside"):
        torchcost.count(nn.Linear(8, 8), torch.randn(2, 8), backward=True)
