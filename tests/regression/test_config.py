"""The targets of a project: where they are looked for, what they may say, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchcost.errors import ConfigurationError
from torchcost.regression.config import find

TARGET = '[[target]]\nname = "net"\nmodel = "nets:net"\n'


def written(folder: Path, text: str, name: str = "torchcost.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_it_is_found_at_or_above_a_folder(tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    written(tmp_path, TARGET)
    config = find(below)
    assert config.baseline(config.targets[0]) == tmp_path / "costs" / "net.json"


def test_a_pyproject_may_hold_it(tmp_path: Path) -> None:
    text = '[tool.torchcost]\nbaseline-dir = "x"\n' + TARGET.replace("[[", "[[tool.torchcost.")
    config = find(written(tmp_path, text, "pyproject.toml"))
    assert [target.name for target in config.targets] == ["net"]
    assert config.baseline_dir == tmp_path / "x"


def test_a_pyproject_without_its_table_is_passed_over(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    written(below, "[project]\nname = 'x'\n", "pyproject.toml")
    written(tmp_path, TARGET)
    assert find(below).file == tmp_path / "torchcost.toml"


def test_what_stands_above_the_targets_is_for_all_of_them(tmp_path: Path) -> None:
    own = TARGET.replace('"net"', '"other"') + 'mode = "eval"\n'
    config = find(written(tmp_path, f'mode = "train"\ntolerance = "1%"\n{TARGET}{own}'))
    assert [(target.mode, target.tolerance) for target in config.targets] == [("train", "1%"), ("eval", "1%")]


def test_one_input_needs_no_list(tmp_path: Path) -> None:
    assert find(written(tmp_path, TARGET + 'input = "1,3"\n')).targets[0].input == ("1,3",)


def test_an_unknown_target_is_told_with_the_nearest(tmp_path: Path) -> None:
    config = find(written(tmp_path, TARGET))
    with pytest.raises(ConfigurationError, match=r"has no target 'nets'\. It has: net\. Did you mean 'net'"):
        config.chosen(("nets",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[target", "torchcost.toml is no TOML"),
        ("", r"has no target. An example: torchcost check --help"),
        ("target = 3", "target is no list of tables"),
        ('[[target]]\nname = "net"\n', "a target needs a name and a model"),
        (TARGET + "levle = 'warn'\n", "target 'net': no setting 'levle'. Did you mean 'level'"),
        (TARGET + "level = 'loud'\n", 'level is \'loud\', not "off", "warn" or "error"'),
        (TARGET + "min-coverage = true\n", "min-coverage is True, not a share like 1.0"),
        (TARGET + "decode = 0\n", "decode is 0, not a number of tokens"),
        (TARGET + "precision = 'fp8'\n", 'precision is \'fp8\', not "bf16" or "fp16"'),
        (TARGET + "backward = 1\n", "backward is 1, not true or false"),
        (TARGET + "budget = 3\n", 'budget is 3, not a table like { flops = "3.7 GFLOPs" }'),
        (TARGET + TARGET, "has two targets 'net', which would share a baseline"),
        (TARGET.replace('"net"', '"../net"'), "'../net' is none"),
        ("colour = 1\n" + TARGET, "no setting 'colour'"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find(written(tmp_path, text))


def test_nothing_to_find_says_what_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    with pytest.raises(ConfigurationError, match=r"No torchcost.toml and .* An example: torchcost check --help"):
        find(tmp_path)
