"""The Report: totals, tables and what they add up to; saved and loaded again; what it says of wrong questions."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import nn

import torchcost
from torchcost.examples import resnet18, small_gpt


@pytest.fixture(scope="module")
def resnet() -> torchcost.Report:
    return torchcost.count(resnet18(), torch.randn(1, 3, 64, 64), backward=True)


class Experts(nn.Module):
    """Four experts of which one runs; two share a weight; a buffer that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 8, bias=False) for _ in range(4))
        self.experts[3].weight = self.experts[2].weight
        self.experts[1].requires_grad_(False)
        self.register_buffer("saved", torch.zeros(3))
        self.register_buffer("cache", torch.zeros(5, dtype=torch.int64), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.experts[0](x)  # type: ignore[no-any-return]


def saved_bytes(net: nn.Module) -> int:
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    return len(file.getvalue())


@pytest.mark.parametrize("table", ["by_operator", "by_type", "by_family"])
def test_every_table_adds_up_to_the_total(resnet: torchcost.Report, table: str) -> None:
    assert sum(getattr(resnet, table)().values(), torchcost.Cost()) == resnet.total


def test_the_phases_add_up_to_the_total(resnet: torchcost.Report) -> None:
    assert resnet.forward + resnet.backward + resnet.recompute == resnet.total


def test_the_laws_of_flops_hold(resnet: torchcost.Report) -> None:
    total = resnet.total
    assert resnet.flops == 2 * resnet.macs + resnet.other_flops
    assert resnet.flops_exact == total.muls + total.adds + resnet.other_flops
    assert resnet.access_bytes == resnet.bytes_read + resnet.bytes_written
    assert resnet.bytes_read == resnet.bytes_read.inputs + resnet.bytes_read.weights


def test_parameters_are_counted_once_and_by_what_they_are() -> None:
    found = torchcost.count(Experts(), torch.randn(2, 8)).parameters
    assert (found.total, found.trainable, found.frozen, found.active) == (3 * 64, 2 * 64, 64, 64)
    assert (found.bytes, found.buffers, found.buffer_bytes) == (3 * 64 * 4, 8, 3 * 4 + 5 * 8)


@pytest.mark.parametrize("make", [resnet18, small_gpt, lambda: nn.Linear(1000, 1000).bfloat16()])
def test_a_checkpoint_is_as_large_as_said(make: type[nn.Module]) -> None:
    net = make()
    report = torchcost.count(net, *_inputs(net))
    assert report.parameters.checkpoint_bytes == pytest.approx(saved_bytes(net), rel=0.01)


def _inputs(net: nn.Module) -> tuple[torch.Tensor]:
    if isinstance(net, nn.Linear):
        return (torch.randn(1, 1000).bfloat16(),)
    tokens = any(isinstance(module, nn.Embedding) for module in net.modules())
    return (torch.zeros(1, 16, dtype=torch.long) if tokens else torch.randn(1, 3, 64, 64),)


def test_a_saved_report_is_the_same_report(resnet: torchcost.Report, tmp_path: Path) -> None:
    resnet.save(tmp_path / "cost.json")
    loaded = torchcost.Report.load(tmp_path / "cost.json")
    assert loaded == resnet
    assert str(loaded) == str(resnet)
    assert loaded["layer1.0.conv1"].explain() == resnet["layer1.0.conv1"].explain()


def test_a_report_outlives_its_model() -> None:
    net = nn.Linear(8, 4)
    report = torchcost.count(net, torch.randn(2, 8))
    del net
    assert (report.macs, report.params) == (2 * 8 * 4, 8 * 4 + 4)


def test_rows_for_data_frames_hold_plain_values(resnet: torchcost.Report) -> None:
    rows = resnet.to_dicts()
    assert [row["path"] for row in rows] == [node.path for node in resnet.nodes()]
    assert sum(row["own_flops"] for row in rows) == resnet.flops
    assert {type(value) for row in rows for value in row.values()} == {bool, int, str}


def test_a_wrong_path_is_answered_with_the_nearest(resnet: torchcost.Report) -> None:
    with pytest.raises(KeyError, match=r"No module 'layer1\.0\.conv9'.*Did you mean 'layer1\.0\.conv"):
        resnet["layer1.0.conv9"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not a report"), ("[]", "Not a torchcost report of schema"), ('{"schema": 0}', r"cost\.json: .*but 0")],
)
def test_a_file_that_is_no_report_says_so(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "cost.json").write_text(text)
    with pytest.raises(torchcost.TorchCostError, match=message):
        torchcost.Report.load(tmp_path / "cost.json")


def test_a_mark_that_an_editor_put_first_is_no_part_of_a_report(resnet: torchcost.Report, tmp_path: Path) -> None:
    resnet.save(tmp_path / "cost.json")
    text = (tmp_path / "cost.json").read_text(encoding="utf-8")
    (tmp_path / "cost.json").write_text(text, encoding="utf-8-sig")
    assert torchcost.Report.load(tmp_path / "cost.json") == resnet


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(torchcost.TorchCostError, match=r"Cannot read .*none\.json: No such file"):
        torchcost.Report.load(tmp_path / "none.json")


def test_states_given_to_a_cell_are_none_of_its_weights() -> None:
    cell, states = nn.LSTMCell(2, 2), (torch.zeros(1, 2), torch.zeros(1, 2))
    report = torchcost.count(cell, (torch.ones(1, 2), states))
    assert report.uncached_accesses.weights == sum(p.numel() for p in cell.parameters())


def test_a_tracker_gets_numbers_by_name() -> None:
    report = torchcost.count(torch.nn.Linear(3, 4), torch.zeros(2, 3))
    metrics = report.to_metrics("cost/")
    assert metrics["cost/macs"] == 24.0
    assert metrics["cost/coverage"] == 1.0
    assert all(type(value) is float for value in metrics.values())
    assert "cost/peak_bytes" not in metrics
    followed = torchcost.count(torch.nn.Linear(3, 4), torch.zeros(2, 3), memory=True)
    assert followed.to_metrics()["torchcost/peak_bytes"] == 4 * (3 * 4 + 4 + 2 * 3 + 2 * 4)
