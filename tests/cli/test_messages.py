"""What the command line says when it cannot do as told: one line with the cure, and the exit code."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest
import torch
from click.testing import Result

Command = Callable[..., Result]

WIDE = ("nets.py:Wide", "--model-kwargs", '{"width": 3}')

MESSAGES = [
    (("summary", "nets:Wid"), 2, "cannot import 'nets:Wid': module has no attribute 'Wid'. Did you mean 'Wide'?"),
    (("summary", "nothere:x"), 2, "cannot import 'nothere:x': No module named 'nothere'. .* --app-dir DIR"),
    (("summary", "nothere.py:x"), 2, "there is no file .*nothere.py. Type its path, or --app-dir DIR"),
    (("summary", "nets.py:wide"), 2, "module has no attribute 'wide'. Did you mean 'Wide'?"),
    (("summary", "nets.py:"), 2, "which model of it? It has: Wide, Masked, .* Type nets.py:NAME"),
    (("summary", "torchvision:"), 2, "'torchvision:' names no model. Type torchvision:resnet50"),
    (("summary", "nets"), 2, "'nets' is no model. Type module:NAME, file.py:NAME, torchvision:nets"),
    (("summary", "nets.py"), 2, "which model of it? It has: Wide, Masked, .* Type nets.py:NAME"),
    (("summary", "nets.py:Wide"), 2, """cannot be built without 'width'. Type --model-kwargs '{"width": ...}'"""),
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
    (("summary", "nets.py:number"), 2, "'nets.py:number' is or makes an int, not an nn.Module"),
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
        2,
        "forward() missing 'attention_mask'. Pass --input attention_mask=int64:1,128 or --inputs mod:fn.",
    ),
    (
        ("summary", "nets.py:Masked"),
        2,
        "whose forward takes (input_ids, attention_mask). Type --input input_ids=int64:1,128 ",
    ),
    (
        ("summary", *WIDE),
        2,
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
    (("summary", "nets:plain", "--input", "1,8@0..5"), 2, "of what dtype the numbers are, int64: or float32: before"),
    (("summary", "nets:plain", "--input", "int64:2@0.5..1"), 2, "draws whole numbers, between whole bounds"),
    (("summary", "nets:plain", "--input", "float32:2@1..-1.5"), 2, "draws from 1 to -1.5, which is empty"),
    (
        ("summary", "nets:Named", "--input", "2,8"),
        2,
        "forward() takes x, scale by name only. Name them: --input x=2,8 --input scale=1,8",
    ),
    (("summary", "nets:Named", "--input", "2,8", "--input", "int64:1"), 2, "--input x=2,8 --input scale=int64:1"),
    (("summary", "nets:Quits", "--input", "1"), 3, "forward() ended the program: SystemExit: 0 (nets.py, line"),
    (
        ("summary", "nets:text_only", "--input", "1,16"),
        3,
        "it looks up ids, which are integers: --input int64:1,16@0..99.",
    ),
    (("summary", "nets:plain", "--inputs", "nets"), 2, "--inputs 'nets' names no function. Type --inputs module:NAME"),
    (("summary", "nets:Silent", "--input", "1,8", "--backward"), 3, "leave --backward out."),
    (("summary", "nets:plain", "--input", "1,8", "--columns", " ,"), 2, "--columns ' ,' names no column. Choose from:"),
    (
        ("summary", "nets:plain", "--input", "1,8", "--format", "csv", "--depth", "1"),
        2,
        "--depth changes nothing in csv",
    ),
    (
        ("summary", "nets:plain", "--input", "1,8", "-o", "a.json", "--sort", "macs"),
        2,
        "--sort changes nothing in json",
    ),
    (("summary", "nets:plain", "--input", "1,8", "--format", "html", "--width", "80"), 2, "--width changes nothing in"),
    (
        ("summary", "nets:plain", "--sort", "macs", "--depth", "2"),
        2,
        "list the modules of every depth. Leave --depth out",
    ),
    (("summary", "nets:plain", "extra"), 2, "Got unexpected extra argument (extra). Type: torchcost summary --help"),
    (("handlers", "--missing"), 2, "Option '--missing' requires an argument. Type a value after --missing"),
    (("handlers", "--missing", ""), 2, "--missing '' names no model. Type --missing MODEL"),
    (("explain", "torchcost.examples:mlp_none"), 2, "module has no attribute 'mlp_none'"),
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
    (("summary", "timm:resnet19"), 2, "timm has no model 'resnet19'. Did you mean 'resnet"),
    (("summary", "torchvision:resnet5"), 2, "torchvision has no model 'resnet5'. Did you mean 'resnet50'?"),
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


ARGUMENTS = """
import argparse
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--width", type=int, {}default=3)
net = nn.Linear(parser.parse_args().width, 1)
"""


def test_a_file_with_a_parser_of_its_own_sees_no_arguments_of_ours(run: Command) -> None:
    with open("parses.py", "w") as file:  # noqa: PTH123
        file.write(ARGUMENTS.format(""))
    result = run("summary", "parses.py:net", "--input", "1,3")
    assert (result.exit_code, result.stderr) == (0, "")


def test_a_parser_that_wants_an_argument_is_no_end_without_a_word(run: Command) -> None:
    with open("wants.py", "w") as file:  # noqa: PTH123
        file.write(ARGUMENTS.format("required=True, "))
    result = run("summary", "wants.py:net", "--input", "1,3")
    assert result.exit_code == 3
    assert "It ends the program when it is imported: put what it runs under if __name__ ==" in result.stderr


def test_a_directory_or_its_file_is_answered_with_its_spec(run: Command) -> None:
    os.mkdir("bert")  # noqa: PTH102
    with open("bert/config.json", "w") as file:  # noqa: PTH123
        file.write('{"model_type": "bert"}')
    assert "is a model's configuration, no report. Type hf:bert\n" in run("summary", "bert/config.json").stderr
    assert "is a directory with a configuration. Type hf:bert\n" in run("summary", "bert").stderr


def test_a_configuration_with_code_of_its_own_gets_no_advice_to_run_it(run: Command) -> None:
    pytest.importorskip("transformers")
    os.mkdir("own")  # noqa: PTH102
    with open("own/config.json", "w") as file:  # noqa: PTH123
        file.write('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
    result = run("summary", "hf:own")
    assert result.exit_code == 2
    assert "it asks for code that comes with it. Its own code is never run." in result.stderr
    assert "trust_remote_code" not in result.stderr


def test_a_failing_backward_is_not_said_to_be_forward(run: Command) -> None:
    result = run("summary", "nets:Stuck", "--input", "1,8", "--backward")
    assert result.exit_code == 3
    assert "the backward pass failed: ArithmeticError: no way back." in result.stderr


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
