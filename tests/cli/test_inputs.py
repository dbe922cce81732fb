"""Inputs as typed, and those that are guessed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from click.testing import Result

from torchcost.cli.guesses import guess
from torchcost.cli.inputs import InputSpec, arguments, called, parse
from torchcost.specs import build, locate

TYPED = {
    "1,3,224,224": InputSpec(shape=(1, 3, 224, 224)),
    "1x3x8x8": InputSpec(shape=(1, 3, 8, 8)),
    "5": InputSpec(shape=(5,)),
    "float32:": InputSpec(shape=(), dtype="float32"),
    "half:2,2": InputSpec(shape=(2, 2), dtype="float16"),
    "input_ids=int64:1,128@0..30521": InputSpec(name="input_ids", dtype="int64", shape=(1, 128), high=30521),
    "x=int8:4@-3..-1": InputSpec(name="x", dtype="int8", shape=(4,), low=-3, high=-1),
    "float32:1,3@-1..1.5": InputSpec(dtype="float32", shape=(1, 3), low=-1, high=1.5),
    "bf16:2@1e-3..2": InputSpec(dtype="bfloat16", shape=(2,), low=0.001, high=2),
    "[3, 800, 800]": InputSpec(shape=(3, 800, 800), listed=True),
}


@pytest.mark.parametrize("text", TYPED)
def test_an_input_is_read_as_typed(text: str) -> None:
    assert parse(text) == TYPED[text]
    assert parse(str(parse(text))) == TYPED[text]


def test_inputs_are_drawn_within_their_bounds_and_the_same_each_time() -> None:
    specs = [parse("int64:500@3..7"), parse("mask=int64:500"), parse("float32:500"), parse("[2]")]
    first, again = (arguments(specs, default=torch.float16, device="cpu") for _ in range(2))
    numbers, floats, listed = first.args
    assert set(numbers.tolist()) == {3, 4, 5, 6, 7}
    assert set(first.kwargs["mask"].tolist()) == {0, 1}
    assert 0 <= floats.min() < floats.max() < 1
    assert listed[0].dtype == torch.float16
    assert torch.equal(numbers, again.args[0])


def test_floats_are_drawn_within_their_bounds() -> None:
    (drawn,) = arguments([parse("float32:500@-3..-1")], default=torch.float16, device="cpu").args
    assert -3 <= drawn.min() < -2.9
    assert -1.1 < drawn.max() < -1


def test_on_meta_nothing_is_drawn() -> None:
    (made,) = arguments([parse(f"int64:{1 << 50}@3..7")], default=torch.float32, device="meta").args
    assert (made.is_meta, made.dtype, made.numel()) == (True, torch.int64, 1 << 50)


@pytest.mark.parametrize(
    ("value", "args", "kwargs"),
    [
        ("torch.ones(2)", 1, set()),
        ("(torch.ones(2), torch.ones(2))", 2, set()),
        ("((torch.ones(2),), {'mask': torch.ones(2)})", 1, {"mask"}),
        ("{'x': torch.ones(2)}", 0, {"x"}),
        ("[torch.ones(2), torch.ones(2)]", 1, set()),
    ],
)
def test_a_function_gives_the_inputs(value: str, args: int, kwargs: set[str]) -> None:
    with open("feed.py", "w") as file:  # noqa: PTH123
        file.write(f"import torch\ndef feed(): return {value}\n")
    given = called("feed:feed", app_dir=".")
    assert (len(given.args), set(given.kwargs)) == (args, kwargs)


GUESSES = {
    "torchcost.examples:lstm_tagger": ["int64:4,32@0..1023"],
    "torchvision:squeezenet1_1": ["1,3,224,224"],
    "torchvision:inception_v3": ["1,3,299,299"],
    "torchvision:mc3_18": ["1,3,16,112,112"],
    "torchvision:lraspp_mobilenet_v3_large": ["1,3,520,520"],
    "torchvision:ssdlite320_mobilenet_v3_large": ["[3,320,320]"],
    "torchvision:raft_small": ["1,3,128,128", "1,3,128,128"],
    "timm:test_vit": ["1,3,160,160"],
    "hf:BertConfig": ["input_ids=int64:1,128@0..30521"],
    "hf:T5Config": ["input_ids=int64:1,128@0..32127", "decoder_input_ids=int64:1,128@0..32127"],
    "hf:CLIPConfig": ["input_ids=int64:1,77@0..49407", "pixel_values=1,3,224,224"],
    "hf:Qwen2VLConfig": ["input_ids=int64:1,128@0..152063"],
    "hf:ViTConfig": ["pixel_values=1,3,224,224"],
    "hf:Wav2Vec2Config": ["input_values=1,16000"],
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", GUESSES)
def test_a_model_of_a_library_needs_no_input(model: str) -> None:
    if not model.startswith("torchcost"):
        pytest.importorskip({"hf": "transformers"}.get(model.partition(":")[0], model.partition(":")[0]))
    kwargs = {"num_hidden_layers": 1} if model.startswith("hf:") else {}
    source = locate(model, kwargs=kwargs)
    assert list(map(str, guess(source, build(source)))) == GUESSES[model]


def test_a_guess_is_said_as_the_option_to_type(run: Callable[..., Result]) -> None:
    result = run("handlers", "--missing", "torchcost.examples:shallownet")
    assert result.stderr == "torchcost: note: no input given, assumed --input float32:1,3,32,32\n"
