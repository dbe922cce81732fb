"""Recurrent networks: every kernel and route has the same MACs and the same 22, 16 and 2 a unit and step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import torchcost.trace.families  # noqa: F401
from tests.handlers.harness import OperatorCosts, module_cost, operator_cost
from torchcost.cost import Cost
from torchcost.handlers.call import Call
from torchcost.handlers.costing import cost_of, work_of
from torchcost.handlers.registry import find_handler

few = settings(max_examples=15, deadline=None)
sizes = st.integers(1, 4)
R = torch.randn
aten = torch.ops.aten
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
WORK = ("macs", "adds", "other_flops")


def work(cost: Cost) -> tuple[int, ...]:
    return tuple(getattr(cost, name) for name in WORK)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.RNNBase, torch.Tensor]:
    """A recurrent network of any kind with its input, batched or not."""
    kind, flag = draw(st.sampled_from([nn.LSTM, nn.GRU, nn.RNN])), st.booleans()
    inputs, hidden = draw(sizes), draw(st.integers(2, 4))
    options: dict[str, Any] = {"num_layers": draw(st.integers(1, 3)), "bidirectional": draw(flag), "bias": draw(flag)}
    if kind is nn.LSTM and draw(flag):
        options["proj_size"] = hidden - 1
    if kind is nn.RNN:
        options["nonlinearity"] = draw(st.sampled_from(["tanh", "relu"]))
    if options["num_layers"] > 1 and draw(flag):
        options["dropout"] = 0.5
    batch = draw(st.sampled_from([None, 1, 3]))
    shape = (draw(sizes), *(() if batch is None else (batch,)), inputs)
    return kind(inputs, hidden, **options), R(*shape)


# --- modules ---------------------------------------------------------------------------------------------------------


@few
@given(networks(), st.booleans(), st.booleans())
def test_a_network_has_the_work_of_its_operators(
    drawn: tuple[nn.RNNBase, torch.Tensor], train: bool, grad: bool
) -> None:
    network, x = drawn
    network.train(train)
    own = module_cost(network, x)
    with torch.set_grad_enabled(grad):
        assert work(own) == work(operator_cost(lambda: network(x), network))


@few
@given(networks())
def test_the_meta_device_unrolls_to_the_same_work(drawn: tuple[nn.RNNBase, torch.Tensor]) -> None:
    network, x = drawn
    own = work(module_cost(network.eval(), x))
    network.to("meta")
    assert own == work(operator_cost(lambda: network(x.to("meta")), network))
    with FlopCounterMode(display=False) as counter:
        network(x.to("meta"))
    assert 2 * own[0] == counter.get_total_flops()


@few
@given(networks(), st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_a_packed_sequence_runs_its_real_steps(drawn: tuple[nn.RNNBase, torch.Tensor], lengths: list[int]) -> None:
    network, _ = drawn
    network.eval()
    longest = sorted(lengths, reverse=True)
    packed = pack_padded_sequence(R(longest[0], len(longest), network.input_size), longest)
    own = work(module_cost(network, packed))
    assert own == work(operator_cost(lambda: network(packed), network))
    assert own == work(sum((module_cost(network, R(n, 1, network.input_size)) for n in longest), Cost()))


@few
@given(st.sampled_from([nn.LSTMCell, nn.GRUCell, nn.RNNCell]), sizes, sizes, st.booleans(), st.sampled_from([None, 3]))
def test_a_cell_has_the_work_of_its_operators(
    kind: Any, inputs: int, hidden: int, bias: bool, batch: int | None
) -> None:
    cell, x = kind(inputs, hidden, bias=bias), R(inputs) if batch is None else R(batch, inputs)
    own = work(module_cost(cell, x))
    assert own == work(operator_cost(lambda: cell(x), cell))
    with torch.no_grad():
        assert own == work(operator_cost(lambda: cell(x), cell))


PAIRS = [(nn.LSTM, nn.LSTMCell), (nn.GRU, nn.GRUCell), (nn.RNN, nn.RNNCell)]


@pytest.mark.parametrize(("network", "cell"), PAIRS)
def test_a_network_is_its_cell_at_every_step(network: Any, cell: Any) -> None:
    whole, step = module_cost(network(3, 4), R(7, 2, 3)), module_cost(cell(3, 4), R(2, 3))
    assert work(whole) == work(step * 7)


@pytest.mark.parametrize(("kind", "each"), [(nn.LSTM, 22), (nn.GRU, 16), (nn.RNN, 2)])
def test_other_flops_a_unit_and_step(kind: Any, each: int) -> None:
    assert module_cost(kind(3, 5), R(7, 2, 3)).other_flops == each * 5 * 7 * 2


def test_weights_are_read_once_a_call() -> None:
    network = nn.LSTM(3, 5, num_layers=2, bidirectional=True)
    one, many = (module_cost(network, R(steps, 2, 3)).bytes_read.weights for steps in (1, 9))
    assert one == many == 4 * sum(p.numel() for p in network.parameters())


def test_layers_after_the_first_read_both_directions() -> None:
    one, two, three = (module_cost(nn.GRU(3, 5, n, bidirectional=True), R(4, 1, 3)).macs for n in (1, 2, 3))
    assert three - two == two - one == module_cost(nn.GRU(10, 5, bidirectional=True), R(4, 1, 10)).macs


TRAPS = {
    "lstm_bidir_2layer": (nn.LSTM(10, 16, 2, bidirectional=True, batch_first=True), (3, 7, 10), 198912, 9984),
    "lstm_proj": (nn.LSTM(10, 16, proj_size=6), (7, 3, 10), 23520, 1248),
    "lstm_unbatched": (nn.LSTM(10, 16), (7, 10), 11648, 1792),
    "gru_1": (nn.GRU(10, 16), (7, 3, 10), 26208, 1344),
    "gru_bidir_3layer": (nn.GRU(10, 16, 3, bidirectional=True), (7, 3, 10), 245952, 12288),
    "rnn_tanh_nobias": (nn.RNN(10, 16, bias=False), (7, 3, 10), 8736, 416),
    "grucell": (nn.GRUCell(10, 16), (3, 10), 3744, 1344),
    "lstmcell": (nn.LSTMCell(10, 16), (3, 10), 24960 // 5, 1792),
}


@pytest.mark.parametrize("name", TRAPS)
def test_known_figures(name: str) -> None:
    network, shape, macs, parameters = TRAPS[name]
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert module_cost(network, R(*shape)).macs == macs


def test_the_packed_trap_runs_14_steps() -> None:
    packed = pack_padded_sequence(R(7, 3, 10), [7, 5, 2])
    assert module_cost(nn.LSTM(10, 16), packed).macs == 23296


# --- fused kernels of other devices ----------------------------------------------------------------------------------


def cost_by_rule(operator: Any, *args: object, output: object, **kwargs: object) -> Cost:
    rule = find_handler(operator)
    assert rule is not None
    call = Call(target=operator, args=args, kwargs=kwargs, output=output)
    return cost_of(rule, call, work_of(rule, call))


@few
@given(networks())
def test_cudnn_runs_a_whole_network(drawn: tuple[nn.RNNBase, torch.Tensor]) -> None:
    network, x = drawn
    network.train()
    if x.dim() == 2:
        return
    out, states = network(x)
    hx, cx = states if isinstance(states, tuple) else (states, R(0))
    hy, cy = hx.clone(), cx.clone()
    mode = ["RNN_RELU", "RNN_TANH", "LSTM", "GRU"].index(network.mode)
    weights = list(network.parameters())
    a_layer = len(weights) // (network.num_layers * (1 + network.bidirectional))
    sizes_ = (mode, network.hidden_size, network.proj_size, network.num_layers, False, network.dropout, True)
    arguments = (x, weights, a_layer, None, hx, cx, *sizes_, network.bidirectional, [], None)
    kernel = cost_by_rule(aten._cudnn_rnn.default, *arguments, output=(out, hy, cy, R(100), R(100)))
    own = module_cost(network, x)
    assert work(kernel) == work(own)
    assert kernel.activations == out.numel() + hy.numel() + cy.numel()  # the reserve is memory only
    if not network.proj_size:
        miopen = (x, weights, a_layer, hx, cx, mode, network.hidden_size, network.num_layers, False, network.dropout)
        rest = (True, network.bidirectional, [], None)
        ran = cost_by_rule(aten.miopen_rnn.default, *miopen, *rest, output=(out, hy, cy, R(100), R(100)))
        assert work(ran) == work(own)


def cudnn_backward(network: nn.LSTM, x: torch.Tensor, *, weights: bool) -> Cost:
    out, (hy, cy) = network(x)
    parameters = list(network.parameters())
    head = (x, parameters, 4, R(1), hy, cy, out, out, None, None, 2, 4, 0, 2, False, 0.0, True, False, [], None, R(1))
    mask = (True, True, True, weights)
    return cost_by_rule(aten._cudnn_rnn_backward.default, *head, mask, output=(x.clone(), hy, cy, parameters))


def test_a_cudnn_backward_has_the_macs_of_what_it_gives() -> None:
    network, x, steps = nn.LSTM(3, 4, 2), R(5, 2, 3), 5 * 2
    data, both = (cudnn_backward(network, x, weights=weights) for weights in (False, True))
    forward, biases = module_cost(network, x).macs, 2 * 16
    weights = sum(p.numel() for p in network.parameters()) - 2 * biases
    assert (data.macs, both.macs) == (forward, 2 * forward)
    assert data.macs - data.adds == steps * (3 + 4)  # dx of both layers; dh adds to the gradient from above
    assert both.adds - data.adds == forward - weights
    assert data.other_flops == 23 * 2 * 4 * steps
    assert both.other_flops - data.other_flops == biases * (steps - 1)


def test_mps_runs_a_whole_lstm() -> None:
    network, x = nn.LSTM(3, 4, 2, bidirectional=True), R(5, 2, 3)
    out, (hy, cy) = network(x)
    parameters, options = list(network.parameters()), (True, 2, 0.0, True, True, False)
    states = (hy.clone(), cy.clone())
    forward = cost_by_rule(aten._lstm_mps.default, x, states, parameters, *options, output=(out, hy, cy, R(9)))
    assert work(forward) == work(module_cost(network, x))
    assert forward.activations == out.numel() + hy.numel() + cy.numel()
    head = (out, None, None, R(9), R(9), x, R(9), states, parameters)
    assert cost_by_rule(aten.lstm_mps_backward.default, *head, *options, output=(x.clone(),)).macs == 2 * forward.macs


def test_packing_reads_and_writes_the_real_steps() -> None:
    x = R(7, 3, 10)
    cost = operator_cost(lambda: torch._pack_padded_sequence(x, torch.tensor([7, 5, 2]), False))
    assert cost.flops == 0
    assert cost.bytes_written == 14 * 10 * 4 + 7 * 8  # the rows, and the batch size of each step


def test_the_mkldnn_backward_is_twice_the_forward() -> None:
    network, x = nn.LSTM(3, 4), R(5, 2, 3, requires_grad=True)
    out, _ = network(x)
    with OperatorCosts() as mode:
        out.backward(torch.ones_like(out))
    (cost,) = (cost for func, cost in mode.calls if "mkldnn_rnn_layer_backward" in str(func))
    assert cost is not None
    assert cost.macs == 2 * module_cost(network, x).macs


@pytest.mark.parametrize(("kind", "hidden"), [(nn.LSTMCell, 5), (nn.GRUCell, 5)])
def test_a_fused_cell_is_what_follows_the_two_products(kind: Any, hidden: int) -> None:
    """The kernel of other devices: both products without bias, then one kernel that adds it."""
    batch, cell, plain = 2, kind(3, hidden), kind(3, hidden, bias=False)
    gates = R(batch, cell.weight_ih.shape[0])
    state, out = R(batch, hidden), (R(batch, hidden), R(batch, hidden), R(batch, 5 * hidden))
    operator = aten._thnn_fused_lstm_cell if kind is nn.LSTMCell else aten._thnn_fused_gru_cell
    fused = cost_by_rule(operator.default, gates, gates, state, cell.bias_ih, cell.bias_hh, output=out)
    expected = module_cost(cell, R(batch, 3)).flops_exact - module_cost(plain, R(batch, 3)).adds
    assert fused.flops_exact == expected - module_cost(plain, R(batch, 3)).macs
    assert (
        cost_by_rule(operator.default, gates, gates, state, output=out).flops == module_cost(plain, R(2, 3)).other_flops
    )


@pytest.mark.parametrize(("kind", "each"), [(nn.LSTMCell, 23), (nn.GRUCell, 17), (nn.RNNCell, 4)])
def test_one_more_step_backward_is_the_gradient_of_a_unit(kind: Any, each: int) -> None:
    """What autograd runs beside the products for one step more, with frozen weights."""
    cell = kind(3, 4, bias=False).requires_grad_(False)

    def backward(steps: int) -> int:
        h, states = R(2, 4, requires_grad=True), []
        state = (h, h) if kind is nn.LSTMCell else h
        for _ in range(steps):
            state = cell(R(2, 3), state)
            states.append(state[0] if kind is nn.LSTMCell else state)
        return operator_cost(lambda: torch.autograd.grad(states, h, [torch.ones(2, 4)] * steps)).other_flops

    assert backward(4) - backward(3) == each * 2 * 4


def test_the_fused_backward_of_a_cell_is_that_of_its_units_and_biases() -> None:
    state, out = R(2, 4), (R(2, 16),)
    lstm = aten._thnn_fused_lstm_cell_backward_impl.default
    assert cost_by_rule(lstm, *[state] * 5, True, output=out).other_flops == 23 * 2 * 4
    gru = aten._thnn_fused_gru_cell_backward.default
    without, with_biases = (cost_by_rule(gru, state, state, bias, output=out).other_flops for bias in (False, True))
    assert without == 17 * 2 * 4
    assert with_biases - without == 2 * operator_cost(lambda: R(2, 3 * 4).sum(0)).other_flops


# --- nothing, and complex numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_empty_batch_makes_no_step(kind: Any) -> None:
    assert work(module_cost(kind(3, 4), R(2, 0, 3))) == (0, 0, 0)


def test_the_gradient_of_no_step_is_no_work() -> None:
    network = nn.LSTM(3, 4, num_layers=2, bidirectional=True)
    assert work(cudnn_backward(network, R(2, 0, 3), weights=True)) == (0, 0, 0)


def test_no_unit_has_no_gradient_of_its_biases() -> None:
    grads = R(0, 4), R(0, 5 * 4), R(0, 4)
    gradients = (R(0, 12), R(0, 12), R(0, 4), R(12), R(12))
    cost = cost_by_rule(aten._thnn_fused_gru_cell_backward.default, grads[0], grads[1], True, output=gradients)
    assert cost.other_flops == 0


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN, nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_complex_states_cost_complex_arithmetic(kind: Any) -> None:
    network, x = kind(3, 4, dtype=torch.complex64), R(2, 5, 3, dtype=torch.complex64)
    x = x[0] if kind.__name__.endswith("Cell") else x
    with torch.no_grad():
        ran = operator_cost(lambda: network(x), network)
    assert work(module_cost(network, x)) == work(ran)
