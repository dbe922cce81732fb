"""Answers about memory as text: whether a run fits, the largest batch, and what remedies save."""

from __future__ import annotations

from dataclasses import replace

from rich.cells import cell_len

from tests.render.conftest import Golden
from torchcost.render import fits
from torchcost.tree.fit import Fit, LargestBatch
from torchcost.tree.remedy import Needs, Remedy, RemedyTable

FIT = Fit(peak_bytes=12_500_000_000, limit_bytes=16 * 10**9, device="NVIDIA Tesla T4", lacks=("the context of CUDA",))
LARGEST = LargestBatch(
    batch=1184,
    peak_bytes=15_990_000_000,
    next_batch=1192,
    next_peak_bytes=16_098_000_000,
    limit_bytes=16 * 10**9,
    runs=7,
    notes=("A batch of 8 does not run: it is too small",),
)
BEFORE = Needs(peak_bytes=2 * 10**9, peak_phase="backward", most={}, flops=10**12, recompute_flops=0)


def remedy(name: str, **after: object) -> Remedy:
    return Remedy(name=name, before=BEFORE, after=replace(BEFORE, **after))  # type: ignore[arg-type]


TABLE = RemedyTable(
    before=BEFORE,
    rows=(
        remedy("freeze all but head", peak_bytes=5 * 10**8, flops=3 * 10**11),
        remedy(
            "checkpoint encoder.layers.* (12 x EncoderBlock)",
            peak_bytes=1_234_567_890,
            flops=13 * 10**11,
            recompute_flops=3 * 10**11,
        ),
        remedy("bf16 autocast", peak_phase="optimizer"),
        remedy("optimizer sgd", peak_bytes=2_100_000_000),
    ),
    not_run={"bf16 weights and inputs": "expected scalar type Float but found BFloat16"},
    notes=("Run for real",),
)


def test_a_run_that_fits_says_what_is_spare_and_what_is_not_in_it() -> None:
    assert fits.fit(FIT).splitlines() == [
        "Fits into NVIDIA Tesla T4 (16 GB): 12.5 GB at its peak, 3.5 GB to spare",
        "  Not in it: the context of CUDA",
    ]


def test_answers_are_no_wider_than_asked() -> None:
    lacks = ("the context of CUDA", "what its allocator reserves and does not use", "the scratch of kernels")
    for drawn in (
        fits.fit(replace(FIT, lacks=lacks), width=50),
        fits.largest_batch(replace(LARGEST, lacks=lacks), width=50),
    ):
        assert max(map(len, drawn.splitlines())) <= 50
        assert "  the scratch of kernels" in drawn.splitlines()


def test_a_device_whose_name_says_its_size_says_it_once() -> None:
    assert fits.fit(replace(FIT, device="NVIDIA Tesla T4 16 GB")).startswith("Fits into NVIDIA Tesla T4 16 GB: 12.5 GB")


def test_a_run_that_does_not_fit_says_what_is_too_much() -> None:
    fit = Fit(peak_bytes=1500, limit_bytes=1000)
    assert fits.fit(fit) == "Does not fit into 1 kB: 1.5 kB at its peak, 500 B too much"


def test_the_largest_batch_stands_beside_the_next_one() -> None:
    assert fits.largest_batch(LARGEST).splitlines() == [
        "A batch of 1,184 fits into 16 GB: 15.99 GB at its peak, 10 MB to spare",
        "  1,192 would need 16.10 GB; 7 runs on fakes",
        "  A batch of 8 does not run: it is too small",
    ]


def test_remedies_are_a_table_with_what_did_not_run_below(golden: Golden) -> None:
    golden("remedies.txt", fits.remedies(TABLE))


def test_a_table_of_remedies_keeps_its_width() -> None:
    for width in (60, 72, 80, 120):
        lines = fits.remedies(TABLE, width=width, ascii_only=True).splitlines()
        assert max(map(cell_len, lines)) <= width
        assert "".join(lines).isascii()
