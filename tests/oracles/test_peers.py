"""Where counting tools go wrong: torchcost against the exact figures of the survey's cases and of its traps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import torchcost
from tests.oracles import peers
from tests.oracles.peers import REFERENCES, SAY_FLOPS, SAY_MACS, Reference, counted
from tests.oracles.traps import Function
from torchcost.report import Report

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")

STATED = {name: reference for name, reference in REFERENCES.items() if reference.other_flops is not None}


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_case_has_its_exact_macs(name: str) -> None:
    report = counted(REFERENCES[name])
    assert (report.macs, report.uncounted, report.coverage) == (REFERENCES[name].macs, {}, 1.0)


@pytest.mark.parametrize("name", STATED)
def test_a_reference_case_has_its_other_operations(name: str) -> None:
    assert counted(STATED[name]).other_flops == STATED[name].other_flops


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "ctrl_only_op"])
def test_a_reference_case_counts_the_same_without_its_data(name: str) -> None:
    model, inputs = REFERENCES[name].build()
    mode = REFERENCES[name].mode
    real = torchcost.count(model, inputs, mode=mode, execution="real")
    assert torchcost.count(model, inputs, mode=mode, execution="fake").total == real.total


def test_every_case_of_the_survey_has_an_exact_figure() -> None:
    assert SAY_MACS.keys() == REFERENCES.keys()
    assert SAY_FLOPS.keys() < REFERENCES.keys()


def test_no_other_tool_is_right_on_every_case() -> None:
    cases = [name for name, reference in REFERENCES.items() if reference.macs]
    tools = next(iter(SAY_MACS.values()))
    right = {tool: sum(SAY_MACS[name][tool] == REFERENCES[name].macs for name in cases) for tool in tools}
    assert max(right.values()) < len(cases)


def test_the_comparison_is_printed_with_every_case(capsys: pytest.CaptureFixture[str]) -> None:
    peers.main()
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.split(" ")[0] in REFERENCES for line in lines) == len(SAY_MACS) + len(SAY_FLOPS)


# --- traps 2, 3: attention and recurrence do not depend on mode, grad or device --------------------------------------


def encoder_layer() -> tuple[nn.Module, Tensor]:
    return nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), torch.rand(2, 6, 32)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("training", [True, False])
def test_an_encoder_layer_costs_the_same_in_every_mode(guard: Callable[[], Any], training: bool) -> None:
    layer, x = encoder_layer()
    with guard(), torchcost.CostCounter(layer.train(training)) as counter:
        layer(x)
    assert (counter.report.macs, counter.report.uncounted) == (102_912, {})


def test_an_encoder_layer_inside_no_counted_module_is_counted_by_its_fused_operator() -> None:
    layer, x = encoder_layer()
    with torch.no_grad(), torchcost.CostCounter() as counter:
        layer.eval()(x)
    assert (counter.report.macs, counter.report.uncounted) == (102_912, {})


@pytest.mark.parametrize("name", ["lstm_1l", "lstm_2l_bi", "gru_1l", "mha_self", "sdpa", "TransformerEncoderLayer"])
def test_a_model_on_meta_counts_the_same(name: str) -> None:
    reference = REFERENCES[name]
    with torch.device("meta"):
        assert counted(reference).total == counted_on_cpu(reference).total


def counted_on_cpu(reference: Reference) -> Report:
    with torch.device("cpu"):
        return counted(reference)


# --- trap 5: backward is what runs, not twice the forward ------------------------------------------------------------


@pytest.mark.parametrize(("input_grad", "flops"), [(True, 86_400), (False, 57_600)])
def test_a_grouped_convolutions_backward(input_grad: bool, flops: int) -> None:
    conv = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    x = torch.rand(2, 8, 10, 10, requires_grad=input_grad)
    report = torchcost.count(conv, x, backward=True)
    assert report.forward.flops == 28_800
    assert report.flops == flops


@pytest.mark.parametrize(("frozen", "products"), [(False, 2), (True, 1)])
def test_a_frozen_weight_saves_its_gradient(frozen: bool, products: int) -> None:
    linear = nn.Linear(16, 32, bias=False).requires_grad_(not frozen)
    report = torchcost.count(linear, torch.rand(4, 16, requires_grad=True), backward=True)
    assert report.backward.macs == products * report.forward.macs


# --- trap 6: the matmul family ---------------------------------------------------------------------------------------

PRODUCTS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], int]] = {
    "mv": (torch.mv, [(6, 7), (7,)], 42),
    "A @ v": (lambda a, v: a @ v, [(6, 7), (7,)], 42),
    "v @ A": (lambda v, a: v @ a, [(6,), (6, 7)], 42),
    "addmv": (torch.addmv, [(6,), (6, 7), (7,)], 42),
    "dot": (torch.dot, [(7,), (7,)], 7),
    "inner": (torch.inner, [(5, 7), (6, 7)], 5 * 6 * 7),
    "addmm": (torch.addmm, [(5, 7), (5, 6), (6, 7)], 210),
    "addbmm": (torch.addbmm, [(5, 7), (3, 5, 6), (3, 6, 7)], 630),
    "chain_matmul": (lambda *m: torch.linalg.multi_dot(m), [(5, 6), (6, 7), (7, 8)], 490),
    "cdist": (torch.cdist, [(20, 8), (30, 8)], 4_800),
    "F.bilinear": (F.bilinear, [(4, 6), (4, 7), (5, 6, 7)], 980),
    "outer": (torch.outer, [(5,), (7,)], 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_is_counted_however_it_is_spelled(name: str) -> None:
    call, shapes, macs = PRODUCTS[name]
    report = torchcost.count(Function(call), tuple(torch.rand(shape) for shape in shapes))
    assert (report.macs, report.uncounted) == (macs, {})


# --- traps 7, 8: one module in many places, work seen twice or never -------------------------------------------------


def test_a_shared_layer_is_billed_to_the_parent_that_called_it() -> None:
    report = counted(REFERENCES["shared_2parents"])
    assert [report[path].total.macs for path in ("a", "b")] == [1024, 1024]
    assert report.params == 272


def test_a_tied_head_has_one_weight_and_its_look_up_is_free() -> None:
    report = counted(REFERENCES["tied_lm"])
    assert report.params == 800
    assert (report["embedding"].total.macs, report["head"].total.macs) == (0, 11_200)


@pytest.mark.parametrize("name", ["shared_2parents", "param_own+child", "reuse_x3", "TransformerEncoderLayer"])
def test_what_the_modules_did_themselves_adds_up_to_the_total(name: str) -> None:
    report = counted(REFERENCES[name])
    assert sum(node.own.flops for node in report.nodes()) == report.flops


def test_a_parents_own_product_stands_beside_its_childs() -> None:
    report = counted(REFERENCES["param_own+child"])
    assert (report.root.own.macs, report["fc"].own.macs) == (2_048, 1_024)


def test_a_layers_work_is_counted_once_though_two_mechanisms_see_it() -> None:
    report = torchcost.count(nn.Sequential(nn.ReLU(), nn.Linear(16, 32)), torch.rand(4, 16))
    assert (report.macs, report.other_flops) == (2_048, 64)


# --- traps 9, 10: again, and afterwards; names, units, batch ---------------------------------------------------------


@pytest.mark.parametrize("name", ["sdpa", "a@b_param", "TransformerEncoderLayer"])
def test_an_earlier_count_adds_nothing_to_a_later_one(name: str) -> None:
    model, inputs = REFERENCES[name].build()
    assert [torchcost.count(model, inputs).macs for _ in range(3)] == [REFERENCES[name].macs] * 3


def test_training_statistics_do_not_move() -> None:
    norm = nn.BatchNorm2d(8)
    before = {name: tensor.clone() for name, tensor in norm.state_dict().items()}
    torchcost.count(norm, torch.rand(2, 8, 4, 4), mode="train")
    torch.testing.assert_close(norm.state_dict(), before, rtol=0, atol=0)


def test_gradients_stay() -> None:
    linear = nn.Linear(16, 8)
    linear.weight.grad = torch.ones(8, 16)
    grad = linear.weight.grad
    torchcost.count(linear, torch.rand(4, 16), backward=True)
    assert linear.weight.grad is grad
    assert bool((grad == 1).all())


def test_macs_and_flops_are_told_apart() -> None:
    report = counted(REFERENCES["linear_2d"])
    assert (report.macs, report.flops, report.flops_exact) == (2_048, 4_096, 4_096)


def test_frozen_parameters_are_still_parameters() -> None:
    report = counted(REFERENCES["frozen"])
    assert (report.params, report.parameters.trainable, report.parameters.frozen) == (272, 0, 272)


# --- further traps ---------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """A layer, then two layers or one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return torch.cond(x.sum() < 1e9, lambda x: self.third(self.second(x)), lambda x: self.second(x), (x,))


def test_only_the_branch_taken_counts() -> None:
    assert torchcost.count(Branches(), torch.rand(4, 16)).macs == 3 * 1024


class Recurses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x: Tensor, times: int) -> Tensor:
        x = self.fc(x)
        return self(x, times - 1) if times > 1 else x


def test_a_module_that_calls_itself_is_counted_each_time() -> None:
    report = torchcost.count(Recurses(), (torch.rand(4, 16), 12))
    assert (report.macs, report["fc"].calls, report.root.calls) == (12_288, 12, 12)


class Fails(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        raise ValueError(self.fc(x).shape)


class Recovers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.risky, self.fc = Fails(), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        try:
            return self.risky(x)
        except ValueError:
            return self.fc(x) @ x.t()


def test_after_a_caught_exception_work_is_billed_to_who_does_it() -> None:
    report = torchcost.count(Recovers(), torch.rand(4, 16))
    macs = {node.path: node.own.macs for node in report.nodes()}
    assert macs == {"": 4 * 16 * 4, "risky": 0, "risky.fc": 1024, "fc": 1024}


def test_a_norm_without_weights_does_less() -> None:
    report = torchcost.count(nn.LayerNorm(16, elementwise_affine=False), torch.rand(4, 7, 16))
    assert report.other_flops == 5 * 448 + 2 * 28


def test_an_embedding_reads_the_rows_it_looks_up() -> None:
    float32 = 4
    assert counted(REFERENCES["embedding"]).bytes_read.weights == 14 * 16 * float32


# --- whole models ----------------------------------------------------------------------------------------------------

GIGA_MACS = {"resnet50": 4.089, "mobilenet_v2": 0.301, "vit_b_16": 17.564, "convnext_tiny": 4.456, "swin_t": 4.491}


@pytest.mark.parametrize("name", GIGA_MACS)
def test_a_torchvision_model_has_the_surveys_macs(name: str) -> None:
    models = pytest.importorskip("torchvision.models")
    with torch.device("meta"):
        model, image = getattr(models, name)().eval(), torch.empty(1, 3, 224, 224)
    report = torchcost.count(model, image)
    with FlopCounterMode(display=False) as counter:
        model(image)
    assert 2 * report.macs == counter.get_total_flops()
    assert round(report.macs / 1e9, 3) == GIGA_MACS[name]
    assert report.uncounted == {}
