"""Model specs: what each form finds, and that nothing of the process changes for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from torchcost.errors import ConfigurationError, ModelError
from torchcost.specs import build, load, locate
from torchcost.words import close_match, one_line, told

NETS = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width=2, *, bias=True):
        super().__init__()
        self.linear = nn.Linear(width, width, bias)

class Holder:
    net = Net(5)

def failing():
    raise KeyError("width")

ready = Net(3)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "specnets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("specnets", None)


def width(model: nn.Module) -> int:
    return int(model.linear.in_features)


def test_a_class_a_function_and_an_instance_are_models() -> None:
    assert width(build(locate("specnets:Net", app_dir="zoo"))) == 2
    assert width(build(locate("zoo/specnets.py:Net", kwargs={"width": 7, "bias": False}))) == 7
    assert width(build(locate("zoo/specnets.py:Holder.net"))) == 5
    assert build(locate("zoo/specnets.py:ready")) is load("specnets:ready")


def test_a_file_and_its_module_are_one() -> None:
    assert load("zoo/specnets.py:Net") is load("specnets:Net", app_dir="zoo")


def test_a_file_named_like_a_known_module_does_not_take_its_place(folder: Path) -> None:
    (folder / "json.py").write_text("value = 3", encoding="utf-8")
    assert load("json.py:value") == 3
    assert hasattr(sys.modules["json"], "dumps")
    sys.modules.pop("_torchcost_spec_json")


def test_a_model_is_built_on_meta_and_an_instance_stays_where_it_is() -> None:
    assert build(locate("zoo/specnets.py:Net")).linear.weight.is_meta
    assert build(locate("zoo/specnets.py:ready")).linear.weight.device.type == "cpu"


def test_building_is_seeded_and_leaves_the_random_state() -> None:
    source = locate("zoo/specnets.py:Net")
    first = build(source, device="cpu")
    before = torch.manual_seed(5).get_state()
    assert torch.equal(first.linear.weight, build(source, device="cpu").linear.weight)
    assert torch.equal(before, torch.get_rng_state())


def test_a_constructor_that_fails_everywhere_is_an_error_and_no_note() -> None:
    told: list[str] = []
    with pytest.raises(
        ModelError, match=r"'zoo/specnets.py:failing' cannot be built: KeyError: 'width' \(specnets.py, "
    ):
        build(locate("zoo/specnets.py:failing"), tell=told.append)
    assert told == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "text", ["torchvision:deeplabv3_mobilenet_v3_large", "timm:test_vit", "timm:test_resnet.r160_in1k"]
)
def test_a_model_of_a_library_comes_without_weights(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(text.partition(":")[0])
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)
    assert all(parameter.is_meta for parameter in build(locate(text)).parameters())


def test_weights_and_hub_names_are_refused() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    with pytest.raises(ConfigurationError, match="leave 'pretrained' out"):
        locate("timm:test_vit", kwargs={"pretrained": True})
    with pytest.raises(ConfigurationError, match="Nothing is downloaded"):
        locate("hf:google/bert")
    with pytest.raises(ConfigurationError, match="timm has no model 'hf-hub:timm/vit'"):
        locate("timm:hf-hub:timm/vit")


def test_the_code_of_a_directory_is_never_run(folder: Path) -> None:
    pytest.importorskip("transformers")
    config = '{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}'
    (folder / "config.json").write_text(config, encoding="utf-8")
    (folder / "mine.py").write_text("raise SystemExit", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"it asks for code that comes with it\. Its own code is never run"):
        locate("hf:.")


@pytest.mark.parametrize("text", ["", ":", "net", "net.py", ":Net", "net:"])
def test_what_has_not_the_form_of_a_spec_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="Type module:NAME"):
        locate(text)


def test_importing_specs_does_not_import_torch() -> None:
    code = "import sys, torchcost.specs; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[1]).returncode == 0


def test_words_are_one_line() -> None:
    assert one_line("a\n  b") == "a b"
    assert one_line("abcdef", 3) == "abc..."
    assert one_line("all at sea", 8) == "all at..."
    assert one_line("all at sea", 6) == "all at..."
    assert told(KeyError("x")) == "KeyError: 'x'"
    assert told(RuntimeError("all at sea.\n")) == "all at sea"
    assert told(ValueError()) == "ValueError"
    assert close_match("unet", ["net", "UNet"]) == " Did you mean 'UNet'?"
    assert close_match("resnet19", ["resnet18", "_resnet19"]) == " Did you mean 'resnet18'?"


SEES = """
import sys
from torch import nn

seen = sys.argv[:]

def net():
    seen.append(sys.argv[:])
    return nn.ReLU()
"""


def test_code_of_the_user_sees_no_command_line_of_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["torchcost", "summary"])
    (folder / "sees.py").write_text(SEES, encoding="utf-8")
    build(locate("sees.py:net"))
    assert load("sees.py:seen") == ["sees.py", ["sees.py:net"]]
    assert sys.argv == ["torchcost", "summary"]
    sys.modules.pop("sees")


def test_an_instance_is_moved_where_it_is_asked_to_be() -> None:
    assert build(locate("zoo/specnets.py:ready"), device="meta").linear.weight.is_meta
