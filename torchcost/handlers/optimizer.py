"""Fused optimizers: the step of every parameter of a list in one kernel, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.pointwise import argument, operations, operators
from torchcost.handlers.registry import handles
from torchcost.handlers.traffic import Traffic, access, every_operand_once
from torchcost.handlers.work import Work, formula

__all__: list[str] = []


@formula
def step(*, parameters: int, each: int) -> Work:
    """p, states = f(p, g, states) in `each` operations an element; scalars that a whole tensor shares are not counted.

    Whether `found_inf` skips the step is data: it is taken as made.

    other_flops = parameters * each
    """
    return Work(other_flops=parameters * each)


# --- one element -----------------------------------------------------------------------------------------------------

# As torch's CPU kernels (ATen/native/cpu/Fused*Kernel.cpp) and its loops over the parameters (`_single_tensor_*` in
# torch.optim) both make it; a scalar that is 1 is not multiplied by.

UNSCALED = "g / grad_scale"
NEGATED = "-g"
DECAYED = "g + weight_decay * p"
DECAYED_APART = "p * kept"
MOMENTS = "(m * beta1 + g * gain1, v * beta2 + g * g * gain2)"
LARGEST = "max(w, v)"
ADAPTED = "p - step_size * m / (sqrt(v) / correction + eps)"
MOMENTUM = "b * momentum + g"
DAMPED_MOMENTUM = "b * momentum + g * gain"
NESTEROV = "g + momentum * b"
DESCENT = "p - lr * g"
SQUARES = "s + g * g"
NORMALISED = "p - rate * g / (sqrt(s) + eps)"

Equations = Iterator[str]


def _gradient(call: Call, *, decayed: str = DECAYED) -> Equations:
    """First of all the gradient is unscaled in its place, turned in sign, and the decay of the weights added."""
    if call["grad_scale"] is not None:
        yield UNSCALED
    if call["maximize"]:
        yield NEGATED
    if call["weight_decay"] != 0:
        yield decayed


def _adam(call: Call) -> Equations:
    yield MOMENTS
    if call["amsgrad"]:
        yield LARGEST
    yield ADAPTED


def _sgd(call: Call) -> Equations:
    if call["momentum"] != 0:
        if not call["is_first_step"]:  # which takes the gradient as it is
            yield DAMPED_MOMENTUM if call["dampening"] else MOMENTUM
        if call["nesterov"]:
            yield NESTEROV
    yield DESCENT


def _adagrad(call: Call) -> Equations:
    yield SQUARES
    yield NORMALISED


def _step(call: Call, *parts: Equations) -> Work:
    each = sum(sum(operations(equation)) for equations in parts for equation in equations)
    return step(parameters=sum(parameter.numel() for parameter in call["self"]), each=each)


# --- what it touches -------------------------------------------------------------------------------------------------


STATES = ("exp_avgs", "exp_avg_sqs", "max_exp_avg_sqs", "momentum_buffer_list", "state_sums")
"""What optimizers keep of each parameter; torch wants the lists that a step does not use empty."""


def _updates(call: Call) -> Traffic:
    """All is read once, but for the states of a first step; in place, parameters and states are written.

    Gradients are written only where they are unscaled, whatever the schema says, and the counts of steps never.
    """
    known = () if argument(call, "is_first_step", absent=False) else STATES
    read = ("self", "grads", *known, "state_steps", "lr", "grad_scale", "found_inf")
    once = every_operand_once(replace(call, args=(), kwargs={name: argument(call, name) for name in read}))
    written = ("self", *STATES, *(("grads",) if call["grad_scale"] is not None else ()))
    in_place = tuple(access(call, x) for name in written for x in tensors_in(argument(call, name)))
    return replace(once, writes=in_place) if call.output is None else once


@handles(*operators("_fused_adam"), traffic=_updates)
def _(call: Call) -> Work:
    return _step(call, _gradient(call), _adam(call))


@handles(*operators("_fused_adamw"), traffic=_updates)
def _(call: Call) -> Work:
    return _step(call, _gradient(call, decayed=DECAYED_APART), _adam(call))


@handles(*operators("_fused_sgd"), traffic=_updates)
def _(call: Call) -> Work:
    return _step(call, _gradient(call), _sgd(call))


@handles(*operators("_fused_adagrad"), traffic=_updates)
def _(call: Call) -> Work:
    return _step(call, _gradient(call), _adagrad(call))
