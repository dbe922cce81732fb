"""Quantized recurrent networks: the dynamic LSTM, GRU and plain RNN, whole or as single cells."""

from __future__ import annotations

from math import prod

import torch

from torchcost.handlers.call import Call
from torchcost.handlers.recurrent import KINDS, recurrent
from torchcost.handlers.registry import handles
from torchcost.handlers.work import Work

aten = torch.ops.aten


@handles(aten.quantized_lstm)
def _(call: Call) -> Work:
    return _recurrent(call, "LSTM", call["hx"][0])


@handles(aten.quantized_gru)
def _(call: Call) -> Work:
    return _recurrent(call, "GRU", call["hx"])


def _recurrent(call: Call, kind: str, state: torch.Tensor) -> Work:
    gates, each, _ = KINDS[kind]
    x, hidden = call.args[0], state.shape[-1]
    return recurrent(
        steps=prod(x.shape[:-1]),
        inputs=x.shape[-1],
        hidden=hidden,
        state=hidden,
        projected=0,
        layers=call["num_layers"],
        directions=1 + call["bidirectional"],
        gates=gates,
        bias=call["has_biases"],
        dropout=bool(call["train"] and call["dropout"] > 0),
        each=each,
    )


@handles("quantized::quantized_lstm_cell_dynamic")
def _(call: Call) -> Work:
    return _cell(call, "LSTM", call["hx"][0])


@handles("quantized::quantized_gru_cell_dynamic")
def _(call: Call) -> Work:
    return _cell(call, "GRU", call["hx"])


@handles("quantized::quantized_rnn_tanh_cell_dynamic")
def _(call: Call) -> Work:
    return _cell(call, "RNN_TANH", call["hx"])


@handles("quantized::quantized_rnn_relu_cell_dynamic")
def _(call: Call) -> Work:
    return _cell(call, "RNN_RELU", call["hx"])


def _cell(call: Call, kind: str, state: torch.Tensor) -> Work:
    gates, each, _ = KINDS[kind]
    x, hidden = call.input, state.shape[-1]
    return recurrent(
        steps=prod(x.shape[:-1]),
        inputs=x.shape[-1],
        hidden=hidden,
        state=hidden,
        projected=0,
        layers=1,
        directions=1,
        gates=gates,
        bias=True,
        dropout=False,
        each=each,
    )
