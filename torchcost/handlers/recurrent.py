"""Recurrent networks: LSTM, GRU and plain RNN, as modules, as fused kernels and as single cells."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.movement import moves, picks
from torchcost.handlers.pointwise import Operations, real_flops
from torchcost.handlers.registry import handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import Traffic, access, every_operand_once, first_output_only, first_outputs
from torchcost.handlers.work import Work, formula

__all__ = ["forward_of", "recurrent"]

aten = torch.ops.aten

KINDS = {
    "LSTM": (4, Operations(sums=16, products=3, quotients=3), 23),
    "GRU": (3, Operations(sums=12, products=2, quotients=2), 17),
    "RNN_TANH": (1, Operations(sums=2), 4),
    "RNN_RELU": (1, Operations(sums=2), 2),
}
"""Gates; operations a unit and step forward, and backward, beside the dot products.

LSTM: the sum of both products (4 gates), 3 sigmoids of 4, 2 tanh, c = f c + i g (3), h = o tanh c (1).
GRU: the sums (2 gates), 2 sigmoids of 4, n = tanh(x + r h) (3), h = n + z (h - n) (3). RNN: a sum, tanh or ReLU.
A sigmoid 1 / (1 + exp(-x)) is 3 sums and functions, and a quotient: complex numbers, which modules take, differ there.
Backward, with the gates saved: LSTM 6 products (dh tanh c, dh o, dc g, dc i, dc c', dc f), 3 sigmoids and 2 tanh of 3
each, 2 sums of gradients. GRU 4 products, 2 sigmoids and a tanh of 3, 4 sums. RNN tanh 3 or ReLU 1, and a sum.
"""

MODES = ("RNN_RELU", "RNN_TANH", "LSTM", "GRU")
"""The kinds by the number that torch's kernels call them."""


@formula
def recurrent(
    *,
    steps: int,
    inputs: int,
    hidden: int,
    state: int,
    projected: int,
    layers: int,
    directions: int,
    gates: int,
    bias: bool,
    dropout: bool,
    each: int,
) -> Work:
    """Each gate of each step: W_ih x + b_ih + W_hh h + b_hh; `each` operations a unit; h' = W_hr h if projected.

    `steps` counts them over the whole batch (of a packed sequence the real ones); `state` is the size of h: `projected`
    or `hidden`. Layers after the first read the states of all directions; between them dropout is 2 an element.

    units = steps * directions * layers * hidden
    recurrence = units * (gates * state + projected)
    macs = steps * directions * gates * hidden * (inputs + (layers - 1) * directions * state) + recurrence
    begun = (0 if bias else 2 * gates * units) + steps * directions * layers * projected
    adds = macs - begun if macs > begun else 0
    other_flops = each * units + (2 * dropout * steps * (layers - 1) * directions * state)
    streamed = steps * inputs
    """
    units = steps * directions * layers * hidden
    incoming = steps * directions * gates * hidden * (inputs + (layers - 1) * directions * state)
    macs = incoming + units * (gates * state + projected)
    begun = (0 if bias else 2 * gates * units) + steps * directions * layers * projected
    return Work(
        macs=macs,
        adds=most(macs - begun, 0),
        other_flops=each * units + 2 * dropout * steps * (layers - 1) * directions * state,
        streamed=steps * inputs,
    )


@formula
def recurrent_backward(
    *,
    steps: int,
    inputs: int,
    hidden: int,
    state: int,
    projected: int,
    layers: int,
    directions: int,
    gates: int,
    bias: bool,
    weight_grad: bool,
    each: int,
) -> Work:
    """The gradients of the inputs and states, and of the weights if wanted, each with the MACs of the forward pass.

    Which of the sums start from nothing is taken from the equations: dx and dh of each step (dh adds to the output's
    gradient), each weight's gradient once. `each` operations a unit; the bias' gradient is a sum over the steps.

    units = steps * directions * layers * hidden
    features = inputs + (layers - 1) * directions * state
    weights = directions * hidden * (gates * (features + layers * state) + layers * projected)
    macs = steps * weights * (1 + weight_grad)
    begun = steps * directions * features + (weight_grad * weights if steps else 0)
    adds = macs - begun if macs > begun else 0
    bias_sums = directions * layers * gates * hidden * (steps - 1) if bias and weight_grad and steps else 0
    other_flops = each * units + bias_sums
    streamed = steps * directions * state
    """
    units = steps * directions * layers * hidden
    features = inputs + (layers - 1) * directions * state
    weights = directions * hidden * (gates * (features + layers * state) + layers * projected)
    macs = steps * weights * (1 + weight_grad)
    bias_sums = directions * layers * gates * hidden * most(steps - 1, 0) if bias and weight_grad else 0
    return Work(
        macs=macs,
        adds=most(macs - steps * directions * features - weight_grad * weights * least(steps, 1), 0),
        other_flops=each * units + bias_sums,
        streamed=steps * directions * state,
    )


@formula
def fused_cell(*, units: int, gates: int, each: int, biases: int) -> Work:
    """The part of a cell after its two products: `biases` (0 or 2) added to every gate, then `each` operations a unit.

    other_flops = units * (each + biases * gates)
    """
    return Work(other_flops=units * (each + biases * gates))


@formula
def fused_cell_backward(*, units: int, each: int, bias_sums: int) -> Work:
    """The gradient of every gate from those of h and c; `bias_sums`: additions of the gradient of the biases.

    other_flops = units * each + bias_sums
    """
    return Work(other_flops=units * each + bias_sums)


# --- modules ---------------------------------------------------------------------------------------------------------


@handles(nn.LSTM, nn.GRU, nn.RNN)
def _(call: Call) -> Work:
    network = call.module
    gates, each = forward_of(network.mode, call.out.dtype)
    return recurrent(
        steps=_steps(call.input),
        inputs=network.input_size,
        hidden=network.hidden_size,
        state=network.proj_size or network.hidden_size,
        projected=network.proj_size,
        layers=network.num_layers,
        directions=1 + network.bidirectional,
        gates=gates,
        bias=network.bias,
        dropout=network.training and network.dropout > 0,
        each=each,
    )


def forward_of(kind: str, dtype: torch.dtype) -> tuple[int, int]:
    """The gates of a kind of network, and its operations a unit and step on numbers of this dtype."""
    gates, each, _ = KINDS[kind]
    return gates, each.flops(dtype)


def _steps(x: Any) -> int:
    """Time steps over the whole batch: the rows of a packed sequence are its real ones."""
    data = x.data if isinstance(x, PackedSequence) else x
    return prod(data.shape[:-1])


@handles(nn.LSTMCell)
def _(call: Call) -> Work:
    return _cell(call, "LSTM")


@handles(nn.GRUCell)
def _(call: Call) -> Work:
    return _cell(call, "GRU")


@handles(nn.RNNCell)
def _(call: Call) -> Work:
    return _cell(call, f"RNN_{call.module.nonlinearity.upper()}")


def _cell(call: Call, kind: str) -> Work:
    cell = call.module
    return _layer(kind, call.input, hidden=cell.hidden_size, bias=cell.bias)


def _layer(kind: str, x: torch.Tensor, *, hidden: int, bias: bool) -> Work:
    """One layer in one direction."""
    gates, each = forward_of(kind, x.dtype)
    return recurrent(
        steps=prod(x.shape[:-1]),
        inputs=x.shape[-1],
        hidden=hidden,
        state=hidden,
        projected=0,
        layers=1,
        directions=1,
        gates=gates,
        bias=bias,
        dropout=False,
        each=each,
    )


# --- fused kernels ---------------------------------------------------------------------------------------------------


# The output and the last states are the caller's; reserve, workspace and packed weights are memory only.
_states_only = first_outputs(3)
_hidden_and_cell = first_outputs(2)


@handles(aten.mkldnn_rnn_layer, traffic=_states_only)
def _(call: Call) -> Work:
    return _layer(MODES[call["mode"]], call.input, hidden=call["hidden_size"], bias=call["has_biases"])


def _gradients(call: Call) -> Traffic:
    """All but the workspace is read (a fake one is empty), each gradient is written (fakes share the two biases')."""
    read = replace(call, args=tuple(argument for argument in call.args if argument is not call["workspace"]))
    made = tuple(access(call, gradient) for gradient in tensors_in(call.output))
    return Traffic(reads=every_operand_once(read).reads, writes=made, activations=made)


@handles(aten.mkldnn_rnn_layer_backward, traffic=_gradients)
def _(call: Call) -> Work:
    x, hidden = call.input, call["hidden_size"]
    gates, _, each = KINDS[MODES[call["mode"]]]
    return recurrent_backward(
        steps=prod(x.shape[:-1]),
        inputs=x.shape[-1],
        hidden=hidden,
        state=hidden,
        projected=0,
        layers=1,
        directions=1,
        gates=gates,
        bias=call["has_biases"],
        weight_grad=True,
        each=each,
    )


@handles(aten._cudnn_rnn, traffic=_states_only)
def _(call: Call) -> Work:
    return _whole_network(call, projected=call["proj_size"])


@handles(aten.miopen_rnn, traffic=_states_only)
def _(call: Call) -> Work:
    return _whole_network(call, projected=0)


def _whole_network(call: Call, *, projected: int) -> Work:
    gates, each = forward_of(MODES[call["mode"]], call.input.dtype)
    return recurrent(**_network(call, projected), gates=gates, dropout=_drops(call), each=each)


def _drops(call: Call) -> bool:
    return bool(call["train"] and call["dropout"] > 0)


@handles(aten._cudnn_rnn_backward)
def _(call: Call) -> Work:
    return _whole_network_backward(call, projected=call["proj_size"])


@handles(aten.miopen_rnn_backward)
def _(call: Call) -> Work:
    return _whole_network_backward(call, projected=0)


def _whole_network_backward(call: Call, *, projected: int) -> Work:
    gates, _, each = KINDS[MODES[call["mode"]]]
    return recurrent_backward(
        **_network(call, projected), gates=gates, weight_grad=bool(call["output_mask"][3]), each=each
    )


def _network(call: Call, projected: int) -> dict[str, Any]:
    bias = call["weight_stride0"] >= 4  # tensors a layer: two weights, two biases, a projection
    return _sizes(call, hidden=call["hidden_size"], projected=projected, bias=bias)


def _sizes(call: Call, *, hidden: int, projected: int, bias: bool) -> dict[str, Any]:
    """The terms of a kernel that runs all layers: a packed input has its steps in one dimension."""
    x = call["input"]
    return {
        "steps": prod(x.shape[:-1]),
        "inputs": x.shape[-1],
        "hidden": hidden,
        "state": projected or hidden,
        "projected": projected,
        "layers": call["num_layers"],
        "directions": 1 + call["bidirectional"],
        "bias": bias,
    }


@handles(aten._lstm_mps, traffic=_states_only)
def _(call: Call) -> Work:
    hidden = call["hx"][0].shape[-1]
    terms = _sizes(call, hidden=hidden, projected=0, bias=call["has_biases"])
    gates, each = forward_of("LSTM", call.input.dtype)
    return recurrent(**terms, gates=gates, dropout=_drops(call), each=each)


@handles(aten.lstm_mps_backward)
def _(call: Call) -> Work:
    hidden = call["hx"][0].shape[-1]
    terms = _sizes(call, hidden=hidden, projected=0, bias=call["has_biases"])
    gates, _, each = KINDS["LSTM"]
    return recurrent_backward(**terms, gates=gates, weight_grad=True, each=each)


handles(aten._cudnn_rnn_flatten_weight)(moves)
handles(aten._pack_padded_sequence, traffic=picks)(moves)


# --- fused cells -----------------------------------------------------------------------------------------------------


@handles(aten._thnn_fused_lstm_cell, traffic=_hidden_and_cell)
def _(call: Call) -> Work:
    return _fused(call, "LSTM", call["cx"])


@handles(aten._thnn_fused_gru_cell, traffic=first_output_only)
def _(call: Call) -> Work:
    return _fused(call, "GRU", call["hx"])


def _fused(call: Call, kind: str, state: torch.Tensor) -> Work:
    biases = sum(call[name] is not None for name in ("input_bias", "hidden_bias"))
    gates, each = forward_of(kind, state.dtype)
    return fused_cell(units=state.numel(), gates=gates, each=each, biases=biases)


@handles(aten._thnn_fused_lstm_cell_backward, aten._thnn_fused_lstm_cell_backward_impl)
def _(call: Call) -> Work:
    """The gradient of the biases is summed outside."""
    return fused_cell_backward(units=call["cx"].numel(), each=KINDS["LSTM"][2], bias_sums=0)


@handles(aten._thnn_fused_gru_cell_backward)
def _(call: Call) -> Work:
    """The gradients of both biases are summed over the batch inside."""
    grad = call["grad_hy"]
    sums = 2 * 3 * most(grad.numel() - grad.shape[-1], 0) * real_flops(grad) if call["has_bias"] else 0
    return fused_cell_backward(units=grad.numel(), each=KINDS["GRU"][2], bias_sums=sums)
