"""What the command line says when it cannot do as told: one line with the cure, and the exit code."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from click.testing import Result

Command = Callable[..., Result]

WIDE = ("nets.py:Wide", "--model-kwargs", '{"width": 3}')

MESSAGES = [
    (("summary", "nets:Wid"), 3, "cannot import 'nets:Wid': module has no attribute 'Wid'. Did you mean 'Wide'?"),
    (("summary", "nothere:x"), 3, "cannot import 'nothere:x': No module named 'nothere'. .* --app-dir DIR"),
    (("summary", "nothere.py:x"), 3, "there is no file .*nothere.py"),
    (("summary", "nets"), 2, "'nets' is no model. Type module:NAME, file.py:NAME, torchvision:nets"),
    (("summary", "nets.py"), 2, "which model of it? It has: Wide, Masked, .* Type nets.py:NAME"),
    (("summary", "nets.py:Wide"), 3, """cannot be built without 'width'. Type --model-kwargs '{"width": ...}'"""),
    (
        ("summary", "nets.py:Wide", "--model-kwargs", '{"widht": 3}'),
        2,
        "takes no argument 'widht'. Did you mean 'width'?",
    ),
    (("summary", "nets.py:Wide", "--model-kwargs", "{width: 3}"), 2, "is no JSON: .* Type it like '{\"width\": 64}'"),
    (("summary", "nets.py:Wide", "--model-kwargs", "3"), 2, "is no mapping of names. Type it like '{\"width\": 64}'"),
    (
        ("summary", "nets.py:instance", "--model-kwargs", '{"a": 1}'),
        2,
        "is an instance already: leave --model-kwargs out",
    ),
    (("summary", "nets.py:number"), 3, "'nets.py:number' is or makes an int, not an nn.Module"),
    (
        ("summary", *WIDE, "--input", "1,3,8,8"),
        3,
        (
            "forward() failed in 'second' (Conv2d), called with float32[1, 3, 6, 6]: .*expected input[1, 3, 6, 6] to "
            "have 4 channels, but got 3 channels instead. Inputs were float32[1,3,8,8]; change them with --input"
        ),
    ),
    (
        ("summary", "nets.py:Masked", "--input", "input_ids=int64:1,128"),
        3,
        "forward() missing 'attention_mask'. Pass --input attention_mask=int64:1,128 or --inputs mod:fn.",
    ),
    (
        ("summary", "nets.py:Masked"),
        3,
        "whose forward takes (input_ids, attention_mask). Type --input input_ids=int64:1,128 ",
    ),
    (
        ("summary", *WIDE),
        3,
        "No input is known for 'nets.py:Wide', whose forward takes (x). Type --input x=1,3,224,224",
    ),
    (
        ("summary", "nets:Masked", "--input", "inputs_id=1"),
        2,
        "forward() takes no 'inputs_id'. Did you mean 'input_ids'?",
    ),
    (
        ("summary", "nets:plain", "--input", "1,8", "--input", "1"),
        2,
        "takes (input), not 2 inputs. Leave an --input out.",
    ),
    (("summary", "nets:plain", "--input", "1;8"), 2, "--input '1;8' is no input. Type it like 1,3,224,224"),
    (("summary", "nets:plain", "--input", "flot32:1"), 2, "has no dtype 'flot32'. Did you mean 'float32'?"),
    (("summary", "nets:plain", "--input", "int64:2@5..1"), 2, "draws from 5 to 1, which is empty"),
    (("summary", "nets:plain", "--input", "1,8@0..5"), 2, "@LOW..HIGH is for integers"),
    (("summary", "nets:plain", "--input", "1", "--inputs", "nets:text"), 2, "Both --input and --inputs are given"),
    (("summary", "nets:plain", "--inputs", "nets:number"), 2, "is int, not a function that returns inputs"),
    (("summary", "nets:plain", "--inputs", "nets:Wide"), 3, "failed: TypeError: .* It is called without arguments"),
    (("summary", "nets:plain", "--device", "tpu"), 2, "--device 'tpu' is no device. Type auto, meta, cpu, cuda."),
    (
        ("summary", "nets:plain", "--device", "meta", "--execution", "real"),
        2,
        "Leave --execution real or --device meta out",
    ),
    (
        ("summary", "nets:branching", "--input", "1,8", "--execution", "fake"),
        3,
        "in the root needs .* Type --execution auto.",
    ),
    (("summary", "missing.json"), 2, "Cannot read missing.json: No such file or directory."),
    (("summary", "nets:plain", "--input", "1,8", "-o", "no/such/dir"), 2, "Cannot write no/such/dir: No such file"),
    (("summary", "nets:plain", "--depth", "x"), 2, "Invalid value for '--depth': .* Type: torchcost summary --help"),
    (("sumary",), 2, "No such command 'sumary'. Did you mean 'summary'?"),
    (("summary",), 2, "Missing argument 'MODEL'. Type: torchcost summary --help"),
    (("summary", "hf:bert-base-uncased"), 2, "neither a directory with a config.json nor .* Nothing is downloaded"),
    (("summary", "hf:BertConfg"), 2, "Did you mean 'BertConfig'?"),
    (("summary", "timm:resnet19"), 3, "timm has no model 'resnet19'. Did you mean 'resnet"),
    (("summary", "torchvision:resnet5"), 3, "torchvision has no model 'resnet5'. Did you mean 'resnet50'?"),
    (("summary", "torchvision:alexnet", "--model-kwargs", '{"weights": "DEFAULT"}'), 2, "No weights are loaded"),
    (("summary", "nets:plain", "--input", "1,8", "--columns", "flop"), 2, "'flop'.*flops"),
    (("summary", "nets:plain", "--input", "1,8", "--sort", "flop"), 2, "'flop'.*flops"),
]


LIBRARIES = {"hf:": "transformers", "timm:": "timm", "torchvision:": "torchvision"}


@pytest.mark.parametrize(("arguments", "code", "message"), MESSAGES, ids=[" ".join(m[0]) for m in MESSAGES])
def test_an_error_is_one_line_with_its_cure(run: Command, arguments: tuple[str, ...], code: int, message: str) -> None:
    for prefix, library in LIBRARIES.items():
        if any(argument.startswith(prefix) for argument in arguments):
            pytest.importorskip(library)
    result = run(*arguments)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("torchcost: error: ")
    assert re.search(".*".join(map(re.escape, message.split(".*"))), last), last
    assert (result.exit_code, result.stdout, "Traceback" in result.stderr) == (code, "", False)


BROKEN = {
    "import nothere": "No module named 'nothere' (broken.py, line 1).",
    "def f(:": "invalid syntax (broken.py, line 1).",
    "x = 1\n{}['key']": "KeyError: 'key' (broken.py, line 2).",
    "raise SystemExit(0)": "SystemExit: 0 (broken.py, line 1).",
    "from .other import x": "attempted relative import with no known parent package (broken.py, line 1). "
    "Type it as a module: broken:NAME",
    "def net():\n    raise OSError('no disk')": "cannot be built: OSError: no disk (broken.py, line 2).",
}


@pytest.mark.parametrize("code", BROKEN, ids=list(BROKEN))
def test_a_file_that_fails_is_named_with_its_line(run: Command, code: str) -> None:
    with open("broken.py", "w") as file:  # noqa: PTH123
        file.write(code)
    result = run("summary", "broken.py:net", "--input", "1")
    assert result.exit_code == 3
    assert BROKEN[code] in result.stderr


def test_verbose_shows_the_traceback_before_or_after_the_command(run: Command) -> None:
    for arguments in (("-v", "summary", *WIDE, "--input", "1,3,8,8"), ("summary", "-v", *WIDE, "--input", "1,3,8,8")):
        assert 'nets.py", line' in run(*arguments).stderr
    assert "Traceback" not in run("summary", *WIDE, "--input", "1,3,8,8").stderr


@torch.library.custom_op("torchcost_cli::unknown", mutates_args=())
def unknown(x: torch.Tensor) -> torch.Tensor:
    return x.clone()


unknown.register_fake(torch.empty_like)

UNKNOWN = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        return torch.ops.torchcost_cli.unknown(torch.ops.torchcost_cli.unknown(x + 1))
"""


@pytest.fixture
def uncounted() -> str:
    with open("unknown.py", "w") as file:  # noqa: PTH123
        file.write(UNKNOWN)
    return "unknown.py:Net"


def test_uncounted_work_is_a_warning_beside_the_json(run: Command, uncounted: str) -> None:
    result = run("summary", uncounted, "--input", "4", "--format", "json")
    assert "warning: 2 calls not counted: torchcost_cli.unknown" in result.stderr
    assert "×2 (root). Coverage by calls 33.3 %." in result.stderr
    assert result.exit_code == 0


def test_strict_fails_on_uncounted_work(run: Command, uncounted: str) -> None:
    result = run("summary", uncounted, "--input", "4", "--strict")
    assert result.exit_code == 3
    assert "or count without --strict for a lower bound" in result.stderr


def test_handlers_missing_names_what_has_no_rule(run: Command, uncounted: str) -> None:
    result = run("handlers", "--missing", uncounted, "--input", "4")
    assert result.stdout.split() == ["torchcost_cli.unknown", "2", "calls", "(root)"]
    assert result.exit_code == 0
