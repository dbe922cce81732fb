"""Fused optimizers: the loop over the parameters makes the same step operator by operator, to the same weights."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import pytest
import torch

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts
from torchcost.cost import Cost
from torchcost.handlers.call import tensors_in

Optimizer = Any
"""A type of torch.optim: each takes options of its own."""

OPTIMIZERS: dict[str, tuple[Optimizer, dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {}),
    "adam with decay": (torch.optim.Adam, {"weight_decay": 0.1}),
    "adam with amsgrad, ascending": (torch.optim.Adam, {"amsgrad": True, "maximize": True}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "adamw without decay": (torch.optim.AdamW, {"weight_decay": 0.0}),
    "adamw with amsgrad, ascending": (torch.optim.AdamW, {"amsgrad": True, "maximize": True}),
    "sgd": (torch.optim.SGD, {}),
    "sgd with decay, ascending": (torch.optim.SGD, {"weight_decay": 0.1, "maximize": True}),
    "sgd with momentum": (torch.optim.SGD, {"momentum": 0.9}),
    "sgd with damped momentum": (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}),
    "nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "adagrad": (torch.optim.Adagrad, {}),
    "adagrad with decay, ascending": (torch.optim.Adagrad, {"weight_decay": 0.1, "lr_decay": 0.1, "maximize": True}),
}

SHAPES = ((3, 4), (5,))


def weights() -> list[torch.nn.Parameter]:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    return parameters


def steps(name: str, **options: Any) -> tuple[list[OperatorCosts], list[torch.nn.Parameter]]:
    """Two steps of an optimizer, and the weights they end in."""
    kind, own = OPTIMIZERS[name]
    parameters = weights()
    optimizer, ran = kind(parameters, lr=0.1, **own, **options), []
    for _ in range(2):
        with OperatorCosts() as mode:
            optimizer.step()
        ran.append(mode)
    return ran, parameters


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_fused_step_computes_what_the_loop_over_the_parameters_does(name: str) -> None:
    fused, ends = steps(name, fused=True)
    looped, as_looped = steps(name, foreach=False, fused=False)
    torch.testing.assert_close(ends, as_looped)
    for one, other in zip(fused, looped, strict=True):
        assert one.total.macs == other.total.macs == 0
        assert one.total.other_flops == other.total.other_flops


# --- the kernels themselves ------------------------------------------------------------------------------------------

LISTS = ["self", "grads", "exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs", "momentum_buffer_list", "state_sums"]
ADAM = {"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1, "eps": 1e-8, "maximize": False}
SGD = {"weight_decay": 0.1, "dampening": 0.5, "nesterov": False, "maximize": False}
ADAGRAD = {"lr_decay": 0.1, "weight_decay": 0.1, "eps": 1e-8, "maximize": False}
SCALE = {"grad_scale": torch.tensor(2.0), "found_inf": torch.tensor(0.0)}

KERNELS: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("_fused_adam", {**ADAM, "amsgrad": False}),
    "adam, scaled": ("_fused_adam", {**ADAM, "amsgrad": True, **SCALE}),
    "adamw": ("_fused_adamw", {**ADAM, "amsgrad": True}),
    "adamw, scaled": ("_fused_adamw", {**ADAM, "amsgrad": False, **SCALE}),
    "sgd": ("_fused_sgd", {**SGD, "momentum": 0.0, "is_first_step": False}),
    "sgd, first": ("_fused_sgd", {**SGD, "momentum": 0.9, "is_first_step": True}),
    "sgd, scaled": ("_fused_sgd", {**SGD, "momentum": 0.9, "is_first_step": False, **SCALE}),
    "adagrad": ("_fused_adagrad", ADAGRAD),
    "adagrad, scaled": ("_fused_adagrad", {**ADAGRAD, **SCALE}),
}


def operator(name: str, *, in_place: bool, overload: str = "default") -> Any:
    return getattr(getattr(torch.ops.aten, KERNELS[name][0] + "_" * in_place), overload)


def arguments(name: str, **changed: Any) -> dict[str, Any]:
    """Two parameters, the states that a kernel uses, the counts of their steps, and its options."""
    unused = ["momentum_buffer_list" * (name == "sgd"), "max_exp_avg_sqs" * (not KERNELS[name][1].get("amsgrad"))]
    torch.manual_seed(0)
    given = {
        argument.name: [torch.rand(shape) + 1 for shape in SHAPES if argument.name not in unused]
        for argument in operator(name, in_place=True)._schema.arguments
        if argument.name in LISTS
    }
    given["state_steps"] = [torch.ones(()) for _ in SHAPES]
    return {**given, "lr": 0.1, **KERNELS[name][1], **changed}


def run(kernel: Any, given: dict[str, Any]) -> Cost:
    taken = {argument.name for argument in kernel._schema.arguments}
    with OperatorCosts() as mode:
        kernel(**{name: value for name, value in given.items() if name in taken})
    return mode.total


def differ(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return any((x != y).any() for x, y in zip(some, others, strict=True))


def nbytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_writes_the_tensors_that_change(name: str) -> None:
    given = arguments(name)
    before = {key: [x.clone() for x in tensors_in(value)] for key, value in given.items()}
    cost = run(operator(name, in_place=True), given)
    changed = [
        x for key, old in before.items() for x, y in zip(tensors_in(given[key]), old, strict=True) if (x != y).any()
    ]
    assert cost.bytes_written == nbytes(changed)
    assert cost.activations == 0


@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_reads_the_tensors_whose_values_matter(name: str) -> None:
    def results(**changed: Any) -> list[torch.Tensor]:
        given = arguments(name, **changed)
        run(operator(name, in_place=True), given)
        return given["self"]

    given, plain = arguments(name), results()
    scalars = [x for key in ("grad_scale", "found_inf") for x in tensors_in(given.get(key))]
    steps_taken = [] if "sgd" in name else given["state_steps"]
    lists = {key: [100 * x for x in given[key]] for key in LISTS if given.get(key)}
    mattering = [key for key, other in lists.items() if differ(results(**{key: other}), plain)]
    read = [*scalars, *steps_taken, *(x for key in mattering for x in given[key])]
    assert run(operator(name, in_place=True), given).bytes_read.inputs == nbytes(read)


def test_a_scaled_gradient_takes_a_division_an_element() -> None:
    kernel, given = torch.ops.aten._fused_adagrad_.default, arguments("adagrad")
    plain = run(kernel, given).other_flops
    assert run(kernel, {**given, **SCALE}).other_flops - plain == sum(prod(shape) for shape in SHAPES)


@pytest.mark.parametrize("name", KERNELS)
def test_the_functional_form_computes_and_reads_the_same_and_writes_all_anew(name: str) -> None:
    in_place = run(operator(name, in_place=True), arguments(name))
    functional = run(operator(name, in_place=False), arguments(name))
    assert (functional.flops, functional.bytes_read) == (in_place.flops, in_place.bytes_read)
    lists = [
        tensors
        for key, tensors in arguments(name).items()
        if key in LISTS or (key == "state_steps" and "adagrad" in name)
    ]
    assert functional.bytes_written == functional.activation_bytes == nbytes(tensors_in(lists))


@pytest.mark.parametrize("name", KERNELS)
def test_a_learning_rate_in_a_tensor_is_one_number_more_to_read(name: str) -> None:
    plain = run(operator(name, in_place=True), arguments(name))
    given = arguments(name, lr=torch.tensor(0.1))
    assert run(operator(name, in_place=True, overload="tensor_lr"), given) == plain + Cost(
        input_bytes_read=4, uncached_inputs=1, uncached_inputs_hout=1
    )
