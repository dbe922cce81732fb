"""Options that commands share: which model, with which inputs, measured how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce, wraps
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from torchcost.cli.request import Request
from torchcost.units import UNITS

__all__ = [
    "HELP_NAMES",
    "MODEL_HELP",
    "color_option",
    "is_typed",
    "is_verbose",
    "measuring",
    "measuring_for_a_device",
    "measuring_memory",
    "model_argument",
    "units_option",
    "verbose",
    "width_option",
]

HELP_NAMES = ["-h", "--help"]

_verbosity = {"shown": False}


def _set_verbose(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    _verbosity["shown"] = value or (context.parent is not None and _verbosity["shown"])


def is_verbose() -> bool:
    """Whether -v was given, before or after the command."""
    return _verbosity["shown"]


verbose = click.option(
    "-v",
    "--verbose",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_set_verbose,
    help="Show the traceback of an error.",
)


def _complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


MODEL_HELP = """\b
MODEL is one of
  module:attr, file.py:attr    an nn.Module, or a class or function that makes one
  torchvision:NAME, timm:NAME  a registered model
  hf:DIR, hf:CLASS             transformers, by a local config.json or a configuration class
  report.json                  a saved report: nothing is measured again
No weights are loaded and nothing is downloaded."""

_BUILT_ON = click.option("--device", default="auto", metavar="DEVICE", help="Build on meta, cpu or cuda [auto].")

_TIMED = click.option("--measure", is_flag=True, help="Run the model for real, again and again, and time it.")

_TRAINED = (
    click.option("--train", is_flag=True, help="Run two steps of a training: forward, backward, optimizer."),
    click.option("--optimizer", default="adamw", metavar="NAME", help="Train with sgd, momentum, adam... [adamw]."),
    click.option(
        "--precision", type=click.Choice(["bf16", "fp16"]), help="Train under autocast, with fp16 gradients scaled."
    ),
    click.option(
        "--accumulate", type=click.IntRange(min=1), default=1, metavar="N", help="Batches of one training step [1]."
    ),
    click.option("--keep-output", is_flag=True, help="Train in a loop that names the output: it stays until the next."),
    click.option(
        "--workspaces", is_flag=True, help="Measure the scratch of CPU kernels: each distinct call runs once for real."
    ),
)

_SHORT = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "fp64": "float64"}
"""What people type for a dtype."""

_DTYPE = click.option(
    "--dtype",
    type=click.Choice([*_SHORT.values(), *_SHORT]),
    callback=lambda context, parameter, value: _SHORT.get(value, value),
    help="Cast the model and its floating inputs [as it is built].",
)

_DTYPES = click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice([*_SHORT.values(), *_SHORT]),
    callback=lambda context, parameter, values: tuple(dict.fromkeys(_SHORT.get(value, value) for value in values)),
    help="Cast the model and its floating inputs, or the figures of a saved report [as it is built]. Of several the "
    "first has the table, all are plotted, on each device.",
)

_MEASURING = (
    click.option(
        "--input",
        "inputs",
        multiple=True,
        metavar="[NAME=][DTYPE:]SHAPE[@LOW..HIGH]",
        help="One input of the model; repeat it for several. 1,3,224,224 or ids=int64:1,128@0..30521; "
        "float32:1,3@-1..1 draws between bounds; [3,800,800] is a list that holds one tensor. "
        "Guessed where the model tells.",
    ),
    click.option(
        "--inputs",
        "inputs_from",
        metavar="MODULE:CALLABLE",
        help="A function that returns the inputs: a tensor, a tuple, (args, kwargs), or a mapping.",
    ),
    click.option(
        "--tokens", type=click.IntRange(min=1), metavar="N", help="Give a language model so many tokens, in one text."
    ),
    click.option(
        "--prefill", type=click.IntRange(min=1), metavar="N", help="Let it read a prompt of so many into a cache."
    ),
    click.option(
        "--decode", type=click.IntRange(min=1), metavar="N", help="Let it read one token more, with a cache of so many."
    ),
    click.option("--batch", type=click.IntRange(min=1), default=1, metavar="N", help="Texts at once [1]."),
    click.option(
        "--cache",
        type=click.Choice(["dynamic", "static"]),
        help="Cache that grows, or with room from the first [its own].",
    ),
    click.option("--model-kwargs", metavar="JSON", help="Keyword arguments for what makes the model."),
    click.option("--app-dir", default=".", metavar="DIR", help="Search this folder for modules and files [.]."),
    click.option("--mode", type=click.Choice(["eval", "train"]), default="eval", help="Mode of the model [eval]."),
    click.option("--backward", is_flag=True, help="Count the backward pass too."),
    click.option(
        "--execution",
        type=click.Choice(["auto", "fake", "real"]),
        default="auto",
        help="Compute shapes only (fake), or numbers too (real); auto is fake where the model allows it.",
    ),
    _BUILT_ON,
    _DTYPE,
    click.option("--strict", is_flag=True, help="Fail if anything has no counting rule."),
    verbose,
)


def is_typed(name: str) -> bool:
    """Whether an option of the running command stands on the command line."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def measuring(command: Callable[..., Any]) -> Any:
    """Gives a command the measuring options; it gets them as one `request`, beside its `model`."""
    return _collected(command, _MEASURING)


def measuring_for_a_device(command: Callable[..., Any]) -> Any:
    """The measuring options, and that of times, but for where the model is built: the device is that asked about.

    The command gets several `dtypes` beside its request.
    """
    options = [_DTYPES if option is _DTYPE else option for option in _MEASURING if option is not _BUILT_ON]
    return _collected(command, [*options, _TIMED])


def measuring_memory(command: Callable[..., Any]) -> Any:
    """The measuring options, that of times, and those of a step of a training."""
    return _collected(command, [*_TRAINED, *_MEASURING, _TIMED])


def _collected(command: Callable[..., Any], options: Sequence[Callable[[Any], Any]]) -> Callable[..., Any]:
    @wraps(command)
    def collected(**given: Any) -> Any:
        asked = {name: given.pop(name) for name in Request.__dataclass_fields__ if name in given}
        return command(request=Request(**asked), **given)

    return reduce(lambda wrapped, option: option(wrapped), reversed(options), collected)


def width_option(help: str = "Columns of text [of the terminal].") -> Callable[[Any], Any]:
    return click.option("--width", type=click.IntRange(min=20), metavar="N", help=help)


color_option = click.option(
    "--color", type=click.Choice(["auto", "always", "never"]), default="auto", help="Colour the text [auto]."
)

units_option = click.option("--units", type=click.Choice(UNITS), default="auto", help="Scale of numbers [auto].")


def model_argument(*, required: bool = True) -> Callable[[Any], Any]:
    return click.argument("model", required=required, shell_complete=_complete_model)
