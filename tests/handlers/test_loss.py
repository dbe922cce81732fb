"""Losses: their equations and loops run on counting numbers, modules against operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import nn

import torchcost.handlers.activation
import torchcost.handlers.dense
import torchcost.handlers.elementwise
import torchcost.handlers.movement
import torchcost.handlers.reduction  # noqa: F401  (the families that these modules' operators belong to)
from tests.handlers import counted
from tests.handlers.counted import FUNCTIONS, Counted
from tests.handlers.harness import module_cost, operator_cost
from torchcost.handlers import loss
from torchcost.handlers.call import Call
from torchcost.handlers.registry import find_handler

REDUCTIONS = ("none", "mean", "sum")
MAX, EXP, LOG = FUNCTIONS["max"], FUNCTIONS["exp"], FUNCTIONS["log"]

POINTS = [(x, y) for x in (-2.5, -0.4, 0.1, 0.8, 3.0) for y in (-1.0, 1.0)]
PROBABLE = [(x, y) for x in (0.1, 0.4, 0.9) for y in (0.0, 0.3, 1.0)]

ELEMENTWISE: list[tuple[Callable[..., nn.Module], str, dict[str, float], list[tuple[float, float]]]] = [
    (nn.MSELoss, loss.MSE, {}, POINTS),
    (lambda **o: nn.SmoothL1Loss(beta=0.5, **o), loss.SMOOTH_L1, {"b": 0.5, "half": 0.25}, POINTS),
    (lambda **o: nn.SmoothL1Loss(beta=0.0, **o), "abs(x - y)", {}, POINTS),
    (lambda **o: nn.HuberLoss(delta=0.5, **o), loss.HUBER, {"b": 0.5, "half": 0.25}, POINTS),
    (nn.SoftMarginLoss, loss.SOFT_MARGIN, {}, POINTS),
    (nn.BCELoss, loss.CROSS_ENTROPY, {}, PROBABLE),
    (lambda **o: nn.BCELoss(weight=torch.tensor(0.3), **o), f"w * ({loss.CROSS_ENTROPY})", {"w": 0.3}, PROBABLE),
    (nn.BCEWithLogitsLoss, loss.LOGITS_CROSS_ENTROPY, {}, POINTS),
    (
        lambda **o: nn.BCEWithLogitsLoss(weight=torch.tensor(0.3), pos_weight=torch.tensor([2.0]), **o),
        f"w * ({loss.LOGITS_CROSS_ENTROPY_POSITIVES})",
        {"w": 0.3, "p": 2.0},
        POINTS,
    ),
]


@pytest.mark.parametrize(("make", "equation", "constants", "pairs"), ELEMENTWISE)
def test_a_loss_costs_the_operations_of_an_equation_that_gives_its_values(
    make: Callable[..., nn.Module], equation: str, constants: dict[str, float], pairs: list[tuple[float, float]]
) -> None:
    points = [{"x": x, "y": y, **constants} for x, y in pairs]
    x, y = torch.tensor(pairs, dtype=torch.float64).T
    module = make(reduction="none")
    torch.testing.assert_close(counted.values(equation, points), module(x, y), rtol=1e-6, atol=1e-6)
    work = len(pairs) * counted.dearest(equation, points)
    costs = [module_cost(make(reduction=reduction), x, y).other_flops for reduction in REDUCTIONS]
    assert costs == [work, work + len(pairs), work + len(pairs) - 1]


LIMITS = {"k": 1.0, "negative_k": -1.0, "b": 0.5, "low": -0.5}

GRADIENTS: list[tuple[nn.Module, str, dict[str, float], list[tuple[float, float]]]] = [
    (nn.MSELoss(reduction="sum"), loss.MSE_BACKWARD, {"k": 2.0}, POINTS),
    (nn.SmoothL1Loss(reduction="sum", beta=0.5), loss.SMOOTH_L1_BACKWARD, LIMITS, POINTS),
    (nn.HuberLoss(reduction="sum", delta=0.5), loss.HUBER_BACKWARD, LIMITS, POINTS),
    (nn.SoftMarginLoss(reduction="sum"), loss.SOFT_MARGIN_BACKWARD, {"k": 1.0}, POINTS),
    (nn.BCELoss(reduction="sum"), loss.CROSS_ENTROPY_BACKWARD, {"e": 1e-12}, PROBABLE),
]


@pytest.mark.parametrize(("module", "equation", "constants", "pairs"), GRADIENTS)
def test_a_gradient_costs_the_operations_of_an_equation_that_gives_its_values(
    module: nn.Module, equation: str, constants: dict[str, float], pairs: list[tuple[float, float]]
) -> None:
    points = [{"x": x, "y": y, "g": 1.5, **constants} for x, y in pairs]
    x, y = torch.tensor(pairs, dtype=torch.float64).T.clone()
    x.requires_grad_()
    value = module(x, y)
    cost = operator_cost(lambda: value.backward(torch.tensor(1.5, dtype=torch.float64)))
    torch.testing.assert_close(counted.values(equation, points), x.grad, rtol=1e-6, atol=1e-6)
    assert cost.other_flops == len(pairs) * counted.dearest(equation, points)


def total(numbers: list[Counted]) -> Counted:
    result = numbers[0]
    for number in numbers[1:]:
        result = result + number
    return result


def reduced(terms: list[Counted], reduction: str, divisor: Counted | int) -> list[Counted]:
    if reduction == "none":
        return terms
    return [total(terms) / divisor] if reduction == "mean" else [total(terms)]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_likelihood_costs_what_a_loop_over_its_targets_counts(reduction: str, weighted: bool) -> None:
    x, y, w = torch.randn(4, 3), [0, 2, 1, 1], [0.5, 2.0, 3.0]
    Counted.operations = 0
    scores = [Counted(row[target]) for row, target in zip(x.tolist(), y, strict=True)]
    weights = [Counted(w[target]) for target in y]
    terms = [-s * weight for s, weight in zip(scores, weights, strict=True)] if weighted else [-s for s in scores]
    divisor = total(weights) if weighted and reduction != "none" else len(y)
    result = reduced(terms, reduction, divisor)
    module = nn.NLLLoss(weight=torch.tensor(w) if weighted else None, reduction=reduction)
    torch.testing.assert_close(torch.tensor(list(map(float, result))), module(x, torch.tensor(y)).reshape(-1))
    assert module_cost(module, x, torch.tensor(y)).other_flops == Counted.operations


def test_a_likelihood_reads_the_scores_of_its_targets_only() -> None:
    x, y = torch.randn(4, 1000), torch.randint(1000, (4,))
    assert module_cost(nn.NLLLoss(), x, y).bytes_read == 4 * 4 + 4 * 8
    leaf = x.requires_grad_()
    value, one = nn.NLLLoss()(leaf, y), torch.ones(())
    gradient = operator_cost(lambda: torch.autograd.grad(value, leaf, one))
    assert (gradient.other_flops, gradient.bytes_written) == (4 * 2, 4 * 4000)
    assert gradient.bytes_read == 4 + 4 * 8 + 4  # the loss's gradient, the targets, their total weight


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_margin_costs_what_a_loop_over_its_pairs_counts(reduction: str, p: int, weighted: bool) -> None:
    x, y, w = torch.randn(3, 4), [0, 3, 1], [0.5, 2.0, 3.0, 1.0]
    Counted.operations = 0
    terms = []
    for row, target in zip(x.tolist(), y, strict=True):
        scores = [Counted(value) for value in row]
        margins = [MAX(1 - scores[target] + score, 0) for i, score in enumerate(scores) if i != target]
        margins = [m * m for m in margins] if p == 2 else margins
        margins = [m * w[target] for m in margins] if weighted else margins
        terms.append(total(margins) / len(scores))
    result = reduced(terms, reduction, len(y))
    module = nn.MultiMarginLoss(p=p, weight=torch.tensor(w) if weighted else None, reduction=reduction)
    torch.testing.assert_close(torch.tensor(list(map(float, result))), module(x, torch.tensor(y)).reshape(-1))
    assert module_cost(module, x, torch.tensor(y)).other_flops == Counted.operations


@pytest.mark.parametrize("p", [1, 2])
def test_the_gradient_of_a_margin_costs_what_a_loop_over_its_pairs_counts(p: int) -> None:
    """Every margin is taken as positive, as is the bound."""
    x, y, w = torch.rand(3, 4), [0, 3, 1], [0.5, 2.0, 3.0, 1.0]
    Counted.operations, rows = 0, []
    for row, target in zip(x.tolist(), y, strict=True):
        scores, dx = [Counted(value) for value in row], [Counted(0)] * 4
        for i in (i for i in range(4) if i != target):
            z = 1 - scores[target] + scores[i]
            assert z > 0
            slope = (z * 2 * (1 / 4) if p == 2 else Counted(1 / 4)) * w[target]
            dx[i], dx[target] = slope, dx[target] - slope
        rows.append([float(value * 1.5) for value in dx])
    leaf, g = x.clone().requires_grad_(), torch.tensor([1.5] * 3)
    value = nn.MultiMarginLoss(p=p, weight=torch.tensor(w), reduction="none")(leaf, torch.tensor(y))
    cost = operator_cost(lambda: value.backward(g))
    torch.testing.assert_close(torch.tensor(rows), leaf.grad)
    assert cost.other_flops == Counted.operations


def test_a_multilabel_margin_is_counted_with_half_of_the_classes_as_labels() -> None:
    x, labels = torch.randn(2, 6), [0, 4, 5]
    Counted.operations = 0
    terms = []
    for row in x.tolist():
        scores = [Counted(value) for value in row]
        others = [i for i in range(6) if i not in labels]
        sums = Counted(0)
        for j in labels:
            for i in others:
                sums = sums + MAX(1 - scores[j] + scores[i], 0)
        terms.append(sums / 6)
    target = torch.tensor([[*labels, -1, -1, -1]] * 2)
    result = reduced(terms, "mean", 2)
    torch.testing.assert_close(torch.tensor(float(result[0])), nn.MultiLabelMarginLoss()(x, target))
    assert module_cost(nn.MultiLabelMarginLoss(), x, target).other_flops == Counted.operations


def test_the_gradient_of_a_multilabel_margin_is_bounded_like_its_loss() -> None:
    x, target = torch.rand(2, 6, requires_grad=True), torch.tensor([[0, 4, 5, -1, -1, -1]] * 2)
    value, one = nn.MultiLabelMarginLoss()(x, target), torch.ones(())
    pairs, products = 2 * 3 * 3, 12
    assert operator_cost(lambda: torch.autograd.grad(value, x, one)).other_flops == 5 * pairs + products


def ctc_by_a_loop(x: torch.Tensor, labels: list[int]) -> tuple[float, int]:
    """The loss of one sample, every state counted in full: impossible ones have log(0) for their value."""
    zero, states = -1e30, [0, *(item for label in labels for item in (label, 0))]
    Counted.operations = 0
    alpha = [Counted(zero)] * len(states)
    for t, scores in enumerate(x.tolist()):
        before = [alpha[s] if t or s else Counted(0) for s in range(len(states))]
        before = before if t else [Counted(0) if s < 2 else Counted(zero) for s in range(len(states))]
        after = []
        for s, label in enumerate(states):
            skips = t > 0 and s > 1 and label not in (0, states[s - 2])
            ways = (before[s], before[s - 1] if t and s else Counted(zero), before[s - 2] if skips else Counted(zero))
            top = MAX(MAX(ways[0], ways[1]), ways[2])
            after.append(Counted(scores[label]) + (top + LOG(total([EXP(way - top) for way in ways]))))
        alpha = after
    top = MAX(alpha[-1], alpha[-2])
    value = -(top + LOG(EXP(alpha[-1] - top) + EXP(alpha[-2] - top)))
    return float(value), Counted.operations


def test_a_ctc_loss_costs_what_a_loop_over_its_states_counts() -> None:
    x, labels = torch.randn(5, 1, 4).log_softmax(-1), [1, 2, 2]
    value, operations = ctc_by_a_loop(x[:, 0], labels)
    arguments = (x, torch.tensor([labels]), torch.tensor([5]), torch.tensor([3]))
    cost = operator_cost(lambda: nn.CTCLoss(reduction="none")(*arguments))
    torch.testing.assert_close(torch.tensor([value]), nn.CTCLoss(reduction="none")(*arguments))
    assert cost.other_flops == operations == 13 * 5 * 7 + 9
    assert cost.activations == 1  # the table of states belongs to memory


def test_a_ctc_gradient_runs_the_states_backwards() -> None:
    x = torch.randn(5, 2, 4).log_softmax(-1).requires_grad_()
    targets, inputs, lengths = torch.tensor([[1, 2, 2], [3, 1, 1]]), torch.tensor([5, 4]), torch.tensor([3, 2])
    value = nn.CTCLoss(reduction="none")(x, targets, inputs, lengths)
    cost = operator_cost(lambda: torch.autograd.grad(value, x, torch.ones(2)))
    assert cost.other_flops == 18 * 2 * 5 * 7 + 6 * x.numel()


# --- a module's rule against the operators it runs -------------------------------------------------------------------

W7 = torch.tensor([0.5, 2.0, 3.0, 1.0, 0.1, 0.2, 0.7])


def classes(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randint(7, (shape[0], *shape[2:]))


MODULES: list[tuple[Callable[..., nn.Module], Callable[[tuple[int, ...]], torch.Tensor]]] = [
    *((kind, torch.rand) for kind in (nn.MSELoss, nn.SmoothL1Loss, nn.HuberLoss, nn.SoftMarginLoss, nn.BCELoss)),
    *((kind, torch.rand) for kind in (nn.BCEWithLogitsLoss,)),
    (lambda **o: nn.BCELoss(weight=W7, **o), torch.rand),
    (lambda **o: nn.BCEWithLogitsLoss(weight=W7, pos_weight=2 * W7, **o), torch.rand),
    (nn.NLLLoss, classes),
    (lambda **o: nn.NLLLoss(weight=W7, **o), classes),
    (nn.MultiMarginLoss, classes),
    (lambda **o: nn.MultiMarginLoss(p=2, weight=W7, **o), classes),
    (nn.MultiLabelMarginLoss, lambda shape: torch.randint(-1, 7, shape)),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(("make", "target"), MODULES, ids=lambda value: "" if not callable(value) else value.__name__)
@given(batch=st.integers(1, 4))
@settings(max_examples=4)
def test_a_module_costs_exactly_its_operator(
    make: Callable[..., nn.Module], target: Callable[[tuple[int, ...]], torch.Tensor], reduction: str, batch: int
) -> None:
    module, x = make(reduction=reduction), torch.rand(batch, 7)
    y = target((batch, 7))
    expected = module_cost(module, x, y)
    for x_ in (x, x.clone().requires_grad_()):
        assert operator_cost(lambda x_=x_: module(x_, y), module) == expected


def test_a_likelihood_of_images_costs_exactly_its_operator() -> None:
    x, y, module = torch.randn(2, 7, 3, 4), torch.randint(7, (2, 3, 4)), nn.NLLLoss(weight=W7)
    assert operator_cost(lambda: module(x, y), module) == module_cost(module, x, y)
    assert module_cost(module, x, y).other_flops == 24 * 2 + 23 + 24


SEVERAL: list[tuple[nn.Module, tuple[Any, ...]]] = [
    (nn.L1Loss(), (torch.rand(3, 7), torch.rand(3, 7))),
    (nn.KLDivLoss(reduction="batchmean"), (torch.rand(3, 7), torch.rand(3, 7))),
    (nn.PoissonNLLLoss(full=True), (torch.rand(3, 7), torch.rand(3, 7))),
    (nn.GaussianNLLLoss(), (torch.rand(3, 7), torch.rand(3, 7), torch.rand(3, 7))),
    (nn.MultiLabelSoftMarginLoss(), (torch.rand(3, 7), torch.rand(3, 7))),
    (nn.HingeEmbeddingLoss(), (torch.rand(3, 7), torch.ones(3, 7))),
    (nn.CosineEmbeddingLoss(), (torch.rand(3, 7), torch.rand(3, 7), torch.ones(3))),
    (nn.MarginRankingLoss(), (torch.rand(3), torch.rand(3), torch.ones(3))),
    (nn.TripletMarginLoss(swap=True), (torch.rand(3, 7), torch.rand(3, 7), torch.rand(3, 7))),
    (nn.TripletMarginWithDistanceLoss(), (torch.rand(3, 7), torch.rand(3, 7), torch.rand(3, 7))),
    (nn.CrossEntropyLoss(weight=W7, label_smoothing=0.1), (torch.rand(3, 7), torch.tensor([1, 2, 3]))),
    (nn.CrossEntropyLoss(), (torch.rand(3, 7), torch.rand(3, 7))),
    (nn.AdaptiveLogSoftmaxWithLoss(7, 20, [5, 10], div_value=2.0), (torch.rand(3, 7), torch.tensor([1, 7, 15]))),
    (
        nn.CTCLoss(),
        (torch.randn(5, 1, 4).log_softmax(-1), torch.tensor([[1, 2]]), torch.tensor([5]), torch.tensor([2])),
    ),
]


@pytest.mark.parametrize(("module", "arguments"), SEVERAL)
def test_what_is_counted_by_operators_has_a_rule_for_each_forward_and_backward(
    module: nn.Module, arguments: tuple[Any, ...]
) -> None:
    assert type(module) in loss.DECOMPOSED
    first, *others = arguments

    def forward_and_backward() -> None:
        result = module(first.clone().requires_grad_(), *others)
        getattr(result, "loss", result).backward()

    assert operator_cost(forward_and_backward, module).flops > operator_cost(lambda: module(*arguments)).flops > 0


def test_a_cross_entropy_is_a_log_softmax_and_a_likelihood() -> None:
    x, y = torch.randn(5, 7), torch.randint(7, (5,))
    cost = operator_cost(lambda: nn.CrossEntropyLoss()(x, y))
    parts = (module_cost(nn.LogSoftmax(1), x), module_cost(nn.NLLLoss(), x.log_softmax(1), y))
    assert cost == parts[0] + parts[1]


def test_a_loss_of_nothing_costs_nothing() -> None:
    x = torch.randn(0, 7)
    assert module_cost(nn.MSELoss(reduction="sum"), x, x).other_flops == 0
    assert module_cost(nn.NLLLoss(reduction="sum"), x, torch.zeros(0, dtype=torch.long)).other_flops == 0


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("loss", ["multi_margin_loss", "multilabel_margin_loss"])
def test_a_number_without_dimensions_is_one_class_of_one_sample(loss: str, reduction: str) -> None:
    def both_ways(shape: tuple[int, ...]) -> int:
        x, y = torch.rand(shape, requires_grad=True), torch.zeros(shape, dtype=torch.long)
        return operator_cost(lambda: getattr(F, loss)(x, y, reduction=reduction).sum().backward()).other_flops

    assert both_ways(()) == both_ways((1,))


@pytest.mark.parametrize("name", ["_cudnn_ctc_loss", "miopen_ctc_loss"])
def test_a_ctc_loss_of_a_device_makes_its_gradient_too(name: str) -> None:
    x = torch.randn(6, 2, 5).log_softmax(-1)
    targets, lengths, labels = torch.randint(1, 5, (2, 3)), [6, 6], [3, 2]
    loss, alpha = torch.ops.aten._ctc_loss(x, targets, lengths, labels)
    backward = loss.new_ones(2), x, targets, lengths, labels, loss, alpha, 0
    parts = operator_cost(lambda: torch.ops.aten._ctc_loss(x, targets, lengths, labels)).other_flops
    parts += operator_cost(lambda: torch.ops.aten._ctc_loss_backward(*backward)).other_flops
    operator = getattr(torch.ops.aten, name).default
    rule = find_handler(operator)
    assert rule is not None
    assert rule.handler is not None
    call = Call(target=operator, args=(x, targets, lengths, labels, 0, False, False), kwargs={}, output=(loss, x + 0))
    assert rule.handler(call).other_flops == parts - x.numel()  # the gradient is not yet times g


def test_to_ask_which_ctc_loss_runs_is_free() -> None:
    rule = find_handler(torch.ops.aten._use_cudnn_ctc_loss.default)
    assert rule is not None
    assert rule.handler is None
