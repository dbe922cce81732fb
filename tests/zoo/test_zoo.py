"""scripts/zoo: its verdicts, results and processes, and through them a part of the zoo of each library and kind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from operator import methodcaller
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import torchcost
from tests.loading import SCRIPTS, load

LIBRARIES = ("torchvision", "timm", "transformers")
for library in LIBRARIES:
    pytest.importorskip(library)

cases = {name: case for library in LIBRARIES for case in load(f"_zoo_{library}").cases() for name in [case.name]}
zoo, measuring, results = load("_zoo"), load("_zoo_measure"), load("_zoo_results")
case_module, process = load("_zoo_case"), load("_zoo_process")
Result, Case, Subject = measuring.Result, case_module.Case, case_module.Subject


# Verdicts


def linear(**options: Any) -> Any:
    """A case of 4 x 3 x 2 = 24 MACs, by a road that says so where no other is given."""
    subject = Subject(model=nn.Linear(3, 2).eval(), args=(torch.ones(4, 3),), execution="real")
    settings = {"name": "own:linear", "kind": "own", "make": lambda: subject, "roads": {"by hand": lambda _: 24}}
    return Case(**{**settings, **options})


def refuse(_subject: Any) -> int:
    raise NotImplementedError("no kernel")


def test_a_count_that_a_road_confirms_is_exact() -> None:
    result = measuring.measure(linear())
    assert (result.verdict, result.macs, result.params, result.faults) == ("exact", 24, 8, [])


def test_one_road_that_disagrees_makes_it_inexact_whatever_others_say() -> None:
    result = measuring.measure(linear(roads={"by hand": lambda _: 24, "by eye": lambda _: 25}))
    assert (result.verdict, result.faults) == ("inexact", ["by eye: 25, not 24"])


def test_a_road_of_a_stated_flaw_is_shown_and_not_believed() -> None:
    roads = {"by hand": lambda _: 24, "by eye": lambda _: 25}
    result = measuring.measure(linear(roads=roads, flaws={"by eye": "sees double"}))
    assert (result.verdict, result.flaws, result.roads["by eye"]) == ("exact", {"by eye": "sees double"}, 25)


@pytest.mark.parametrize("flaws", [{}, {"by eye": "sees double"}])
def test_no_road_that_agrees_is_not_exact(flaws: dict[str, str]) -> None:
    roads = {"on meta": refuse, "by eye": lambda _: 25}
    result = measuring.measure(linear(roads=roads, flaws=flaws))
    assert result.verdict == "inexact"
    assert result.faults[-1] == "no road agrees: on meta: NotImplementedError: no kernel; by eye: 25"


@pytest.mark.parametrize(("macs", "said", "agree"), [(1_814_073_344, 1.814, True), (1_814_573_344, 1.814, False)])
def test_a_published_figure_is_met_at_its_three_decimals(macs: int, said: float, agree: bool) -> None:
    assert measuring.agrees(macs, said) == agree


def test_what_has_no_rule_is_a_verdict_of_its_own() -> None:
    class Unknown(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.torchcost_zoo.strange(x @ torch.ones(3, 2))

    torch.library.define("torchcost_zoo::strange", "(Tensor x) -> Tensor")
    torch.library.impl("torchcost_zoo::strange", "cpu", torch.clone)
    subject = Subject(model=Unknown(), args=(torch.ones(4, 3),), execution="real")
    result = measuring.measure(linear(make=lambda: subject))
    assert result.verdict == "uncounted"
    assert "no rule for torchcost_zoo.strange" in result.faults[0]


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.ones(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.table


def test_a_called_module_with_a_matrix_and_no_macs_is_named_and_a_look_up_is_not() -> None:
    model = nn.Sequential(nn.Embedding(5, 3), Scale(), nn.Linear(3, 2)).eval()
    report = torchcost.count(model, torch.zeros(4, dtype=torch.long))
    assert list(measuring.silent_zeros(model, report)) == ["no MACs with Scale.table in 1"]


def test_a_module_that_got_nothing_may_cost_nothing() -> None:
    model = nn.ModuleList([nn.Linear(3, 2), nn.Linear(3, 2)])
    with torchcost.CostCounter(model) as counter:
        model[0](torch.ones(0, 3))
        model[1](torch.ones(1, 3))
    assert list(measuring.silent_zeros(model, counter.report)) == []


def test_a_model_without_macs_is_named() -> None:
    report = torchcost.count(nn.ReLU(), torch.ones(3))
    assert list(measuring.silent_zeros(nn.ReLU(), report)) == ["the model has no MACs"]


# Results


def result(name: str, verdict: str = "exact", **options: Any) -> Any:
    return Result(name=name, kind="own", verdict=verdict, **options)


def test_the_last_result_of_a_model_counts_and_a_line_cut_short_does_not(tmp_path: Path) -> None:
    path = tmp_path / "made" / "results.jsonl"
    for verdict in ("inexact", "exact"):
        results.append(path, result("a:x", verdict, macs=3, roads={"by hand": 3}))
    with path.open("a") as lines:
        lines.write('{"name": "a:y", "ki')
    assert results.latest(path) == {"a:x": result("a:x", macs=3, roads={"by hand": 3})}


def test_the_table_counts_verdicts_and_names_what_is_not_exact_and_why() -> None:
    table = results.report(
        [
            result("a:x", macs=3, roads={"by hand": 3, "by eye": 4}, flaws={"by eye": "sees double"}),
            result(
                "a:y", "inexact", faults=["by hand: 3, not 4"], macs=4, roads={"by hand": 3, "on meta": "no kernel"}
            ),
            result("b:z", "not run", faults=["took longer than 5 s"], reason="large"),
        ]
    )
    lines = [" ".join(line.split()) for line in table.splitlines()]
    assert lines[1:4] == ["a 2 1 1 0 0 50.0", "b 1 0 0 0 1 0.0", "all 3 1 1 0 1 33.3"]
    assert {"by hand 2 1 1 0 0", "by eye 1 0 0 1 0", "on meta 1 0 0 0 1"} <= set(lines)
    assert lines[-3:] == [
        "inexact a:y: by hand: 3, not 4",
        "not run b:z: known: large",
        "flawed road by eye, sees double: a:x",
    ]


@pytest.mark.parametrize(("options", "names"), [({}, "b"), ({"failed": True}, "bc"), ({"again": True}, "abc")])
def test_a_run_goes_on_where_it_stopped(options: dict[str, bool], names: str) -> None:
    done = {"a": result("a"), "c": result("c", "not run")}
    to_run = zoo.to_run(dict.fromkeys("abc"), done, **{"again": False, "failed": False, **options})
    assert "".join(to_run) == names


@pytest.mark.parametrize(
    ("found", "code"), [([result("torchvision:alexnet/IMAGENET1K_V1")], 0), ([result("timm:vgg11", "inexact")], 1)]
)
def test_the_exit_code_says_whether_all_is_exact(
    found: list[Any], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in found:
        results.append(tmp_path / "results", each)
    assert zoo.main(["--report", "--results", str(tmp_path / "results")]) == code
    assert "exact %" in capsys.readouterr().out


@pytest.mark.parametrize("beside", [[], ["timm"]], ids=["alone", "beside a known one"])
def test_an_unknown_name_is_told(beside: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["--list", *beside, "timm:no_such"]) == 2
    assert capsys.readouterr().err == "error: no model is called timm:no_such. List them: scripts/zoo --list\n"


# Processes


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Work in a process of its own, which has to find the machinery too."""
    monkeypatch.syspath_prepend(str(SCRIPTS))

    def run(work: Callable[[Any], Any], name: Any, *, seconds: float = 60, gib: float = 4) -> Any:
        preload = zoo.PRELOAD if work is zoo.work else ()
        return process.Workshop(work, process.Limits(seconds=seconds, gib=gib), preload).run(name)

    return run


def test_work_answers_from_a_process_of_its_own(run: Callable[..., Any]) -> None:
    assert run(methodcaller("upper"), "name") == "NAME"


@pytest.mark.parametrize(
    ("work", "name", "why"),
    [
        (int, "name", r"^ValueError: invalid literal for int\(\) with base 10: 'name'$"),
        (os._exit, 7, "^its process died with exit code 7$"),
        (time.sleep, 60, "^took longer than 3 s$"),
    ],
)
def test_work_that_does_not_answer_says_why(
    run: Callable[..., Any], work: Callable[[Any], Any], name: Any, why: str
) -> None:
    with pytest.raises(process.StoppedError, match=why):
        run(work, name, seconds=3)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the system refuses memory")
def test_work_that_wants_too_much_memory_is_refused_it(run: Callable[..., Any]) -> None:
    with pytest.raises(process.StoppedError, match="MemoryError"):
        run(bytearray, 5 * 2**30)


# A part of the zoo; scripts/zoo runs all of it

PART = {
    "torchvision": """
        lraspp_mobilenet_v3_large/COCO_WITH_VOC_LABELS_V1 quantized_shufflenet_v2_x0_5/IMAGENET1K_FBGEMM_V1
        r3d_18/KINETICS400_V1 regnet_y_400mf/IMAGENET1K_V2 ssdlite320_mobilenet_v3_large/COCO_V1
    """,
    "timm": "efficientvim_m1 gmlp_ti16_224 halonet_h1 lcnet_050 mambaout_femto pit_ti_224",
    "transformers": """
        ASTModel BloomForCausalLM DeepseekV3ForCausalLM DeformableDetrForObjectDetection EncodecModel FunnelForMaskedLM
        Gemma3ForCausalLM GptOssForCausalLM JambaForCausalLM KimiLinearForCausalLM LEDForConditionalGeneration
        LongformerForMaskedLM LxmertModel Mamba2ForCausalLM PaliGemmaForConditionalGeneration
        Qwen2VLForConditionalGeneration Qwen3NextForCausalLM ReformerModelWithLMHead RTDetrForObjectDetection
        RwkvForCausalLM SegformerForImageClassification Swinv2ForImageClassification UdopForConditionalGeneration
        Wav2Vec2ForCTC
    """,
}


@pytest.mark.parametrize("name", [f"{library}:{name}" for library, names in PART.items() for name in names.split()])
def test_a_model_is_exact_by_a_road_that_is_not_ours(name: str) -> None:
    result = measuring.measure(cases[name])
    assert (result.verdict, result.faults) == ("exact", [])


def test_the_part_has_something_of_each_kind() -> None:
    part = {cases[f"{library}:{name}"].kind for library, names in PART.items() for name in names.split()}
    assert part | {"flow", "time series"} == {case.kind for case in cases.values()}


@pytest.mark.zoo
@pytest.mark.parametrize("name", cases)
def test_every_model_is_exact_or_says_why_not(name: str, run: Callable[..., Any]) -> None:
    result = run(zoo.work, name, seconds=300, gib=12)
    assert result.fine, result.faults


@pytest.mark.zoo
def test_every_family_of_timm_has_a_model() -> None:
    assert set(load("_zoo_timm").FAMILIES) == set(pytest.importorskip("timm").list_modules())
