"""`torchcost roofline MODEL --advise`: what could save time, below the table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from torchcost import Report

Command = Callable[..., Result]

PLAIN = ("roofline", "nets.py:plain", "--input", "2,8", "--device", "t4")


def advice(text: str) -> str:
    """What stands below the table."""
    return text.partition("\n\n   Saves")[2]


def test_advice_stands_below_the_table_and_above_the_plot(run: Command) -> None:
    table, told = run(*PLAIN).stdout, run(*PLAIN, "--advise").stdout
    assert told.startswith(f"{table}\n   Saves")
    assert "Linear → ReLU write and read 64 B between them" in advice(told)
    assert run(*PLAIN, "--advise", "--plot").stdout.startswith(f"{told}\nFLOP/s")


def test_it_does_not_say_the_device_twice(run: Command) -> None:
    assert run(*PLAIN, "--advise").stdout.count("NVIDIA Tesla T4") == 1


def test_advice_is_about_single_kernels_also_where_the_table_fuses_them(run: Command) -> None:
    plain, fused = run(*PLAIN, "--advise").stdout, run(*PLAIN, "--advise", "--fusion", "pointwise").stdout
    assert advice(plain) == advice(fused) != ""


def test_of_several_devices_it_is_about_the_first(run: Command) -> None:
    alone, both = run(*PLAIN, "--advise").stdout, run(*PLAIN, "--device", "l4", "--advise").stdout
    assert advice(both) == advice(alone)


def test_only_so_many_are_listed_as_asked(run: Command) -> None:
    told = run("roofline", "torchcost.examples:resnet18", "--device", "t4", "--advise", "--top", "2").stdout
    table = advice(told).split("\n\n")[0]
    assert table.count("torch.compile(model)") == 2
    assert "more save less or are remarks" in told


def test_a_saved_report_gets_advice_in_a_dtype(run: Command) -> None:
    run("summary", "nets.py:plain", "--input", "2,8", "-o", "report.json")
    told = run("roofline", "report.json", "--device", "t4", "--dtype", "fp16", "--advise").stdout
    (chain,) = Report.load(Path("report.json")).advise("t4", "float16")
    assert chain.evidence.split(",")[0] in " ".join(told.split())


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "html"])
def test_advice_is_text_alone(run: Command, form: str) -> None:
    result = run(*PLAIN, "--advise", "--format", form)
    assert result.exit_code == 2
    assert f"--advise changes nothing in {form}" in result.stderr
