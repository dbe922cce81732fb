"""`torchcost memory` asked whether it fits, for the largest batch and for remedies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

Command = Callable[..., Result]

PLAIN = ("memory", "nets.py:plain", "--input", "2,8")
TRAINED = (*PLAIN, "--train")

HELD = 4 * (8 * 4 + 4 + 4 * 2 + 2) + 4 * (2 * 8 + 2 * 4 + 2 * 4)
"""Bytes of the parameters, the input, and what the first layer and ReLU give, at the peak."""


def test_what_fits_ends_with_0_and_what_does_not_with_1(run: Command) -> None:
    enough = run(*PLAIN, "--fits", f"{HELD} B", "--fits", "t4")
    assert (enough.exit_code, enough.stderr) == (0, "")
    assert f"Fits into {HELD} B: {HELD} B at its peak, 0 B to spare\n" in enough.stdout
    assert "Fits into NVIDIA Tesla T4 16 GB: " in enough.stdout
    less = run(*PLAIN, "--fits", f"{HELD - 1} B", "--fits", "t4")
    assert less.exit_code == 1
    assert f"Does not fit into {HELD - 1} B: {HELD} B at its peak, 1 B too much\n" in less.stdout


def test_a_chip_has_room_or_has_not(run: Command) -> None:
    """Input and both outputs of the first layer, 16 + 8 + 8 floats at a time, and that layer's 8 x 4 + 4 weights."""
    need = 4 * (16 + 8 + 8) + 4 * (8 * 4 + 4)
    enough, less = (run(*PLAIN, "--on-chip", f"{size} B") for size in (need, need - 1))
    assert (enough.exit_code, less.exit_code) == (0, 1)
    assert f"Fits into a chip's {need} B: {need} B at its peak, 0 B to spare" in enough.stdout
    assert "Does not fit into a chip's" in less.stdout
    assert run(*TRAINED, "-o", "saved.json").exit_code == 0
    for refused in (run(*TRAINED, "--on-chip", "1 kB"), run("memory", "saved.json", "--on-chip", "1 kB")):
        assert refused.exit_code == 2
        assert "--on-chip is of a call forward without a cache" in refused.stderr


def test_a_saved_report_can_be_asked_whether_it_fits(run: Command) -> None:
    assert run(*PLAIN, "-o", "saved.json").exit_code == 0
    assert run("memory", "saved.json", "--fits", f"{HELD} B").exit_code == 0
    assert run("memory", "saved.json", "--fits", f"{HELD - 1} B").exit_code == 1


def test_the_largest_batch_is_of_calls_or_with_train_of_training_steps(run: Command) -> None:
    """A call holds the parameters, and of each item 8 floats of input and twice 4."""
    batch = (10_000 - 4 * 46) // (4 * 16)
    called = run(*PLAIN, "--largest-batch", "10 kB")
    assert (called.exit_code, called.stderr) == (0, "")
    assert f"A batch of {batch} fits into 10 kB: " in called.stdout
    trained = run(*TRAINED, "--largest-batch", "10 kB", "--optimizer", "sgd").stdout
    assert "A batch of " in trained
    assert f"A batch of {batch} fits" not in trained


def test_remedies_are_a_table_below_the_others(run: Command) -> None:
    result = run(*TRAINED, "--remedies", "--width", "80")
    assert (result.exit_code, result.stderr) == (0, "")
    table = result.stdout.partition("\nRemedy ")[2]
    assert {"none", "optimizer sgd", "bf16 autocast", "freeze all but 2"} <= {
        line.partition("  ")[0] for line in table.splitlines()
    }


def test_what_the_models_own_code_prints_is_no_part_of_the_answer(run: Command) -> None:
    result = run("memory", "nets.py:loud", "--input", "2,8", "--largest-batch", "10 kB")
    assert "building" not in result.stdout
    assert "A batch of " in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fits", "h10O-sxm5"), "Did you mean 'h100-sxm5'?"),
        (("--fits", "v100-sxm2"), "is sold with 16 GB or 32 GB. Say which by its bytes"),
        (("--largest-batch", "16 GX"), "'16 GX' is ambiguous. Write '16 GB'."),
        (("--remedies",), "--remedies are of a training step. Type --train too."),
        (("--largest-batch", "1 MB", "--backward"), "is of calls in eval mode, or with --train of training steps."),
        (("--fits", "t4", "--format", "json"), "--fits changes nothing in json."),
    ],
)
def test_questions_without_an_answer_are_refused_at_once(run: Command, options: tuple[str, ...], message: str) -> None:
    result = run("memory", "nets.py:missing", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_saved_report_runs_no_model(run: Command) -> None:
    assert run(*TRAINED, "-o", "saved.json").exit_code == 0
    result = run("memory", "saved.json", "--largest-batch", "1 MB")
    assert result.exit_code == 2
    assert "--largest-batch runs a model, and saved.json is a saved report. Leave it out." in result.stderr


def test_a_model_that_needs_data_has_no_largest_batch(run: Command) -> None:
    result = run("memory", "nets.py:branching", "--input", "2,8", "--largest-batch", "1 MB")
    assert result.exit_code == 3
    assert "needs real data" in result.stderr.splitlines()[-1]


def test_where_no_batch_fits_that_is_an_error(run: Command) -> None:
    result = run(*PLAIN, "--largest-batch", "100 B")
    assert result.exit_code == 2
    assert "No batch fits: a batch of 1 needs 248 B at its peak, and the limit is 100 B." in result.stderr
