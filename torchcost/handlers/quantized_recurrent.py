"""Quantized recurrent networks: the dynamic LSTM, GRU and plain RNN, whole or as single cells."""

from __future__ import annotations

from math import prod

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.recurrent import forward_of, recurrent
from torchcost.handlers.registry import handles
from torchcost.handlers.work import Work

aten = torch.ops.aten


def _recurrent(
    kind: str,
    x: torch.Tensor,
    state: torch.Tensor,
    *,
    layers: int = 1,
    directions: int = 1,
    bias: bool = True,
    dropout: bool = False,
) -> Work:
    gates, each = forward_of(kind, state.dtype)
    hidden = state.shape[-1]
    return recurrent(
        steps=prod(x.shape[:-1]),
        inputs=x.shape[-1],
        hidden=hidden,
        state=hidden,
        projected=0,
        layers=layers,
        directions=directions,
        gates=gates,
        bias=bias,
        dropout=dropout,
        each=each,
    )


def _network(call: Call, kind: str, state: torch.Tensor) -> Work:
    return _recurrent(
        kind,
        call.args[0],
        state,
        layers=call["num_layers"],
        directions=1 + call["bidirectional"],
        bias=call["has_biases"],
        dropout=bool(call["train"] and call["dropout"] > 0),
    )


@handles(aten.quantized_lstm)
def _(call: Call) -> Work:
    return _network(call, "LSTM", call["hx"][0])


@handles(aten.quantized_gru)
def _(call: Call) -> Work:
    return _network(call, "GRU", call["hx"])


@handles("quantized::quantized_lstm_cell_dynamic")
def _(call: Call) -> Work:
    return _recurrent("LSTM", call.input, call["hx"][0])


@handles("quantized::quantized_gru_cell_dynamic")
def _(call: Call) -> Work:
    return _recurrent("GRU", call.input, call["hx"])


@handles("quantized::quantized_rnn_tanh_cell_dynamic")
def _(call: Call) -> Work:
    return _recurrent("RNN_TANH", call.input, call["hx"])


@handles("quantized::quantized_rnn_relu_cell_dynamic")
def _(call: Call) -> Work:
    return _recurrent("RNN_RELU", call.input, call["hx"])
