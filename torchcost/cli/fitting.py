"""Questions about memory on the command line: whether a run fits, the largest batch that does, what remedies save."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import reduce, wraps
from typing import TYPE_CHECKING, Any

import click

from torchcost.cli import console
from torchcost.cli.options import is_typed
from torchcost.cli.request import Request
from torchcost.errors import ConfigurationError
from torchcost.regression.quantities import parse
from torchcost.render import fits as as_text, kv_cache as as_table
from torchcost.tree.fit import Fit, limit_of

if TYPE_CHECKING:
    from torchcost.report_memory import Memory

__all__ = ["Questions", "asking"]

_OPTIONS = (
    click.option(
        "--fits",
        multiple=True,
        metavar="DEVICE|SIZE",
        help="Say whether it fits into a device, as torchcost devices lists them, or into '16 GB'; exit with 1 if not.",
    ),
    click.option(
        "--on-chip",
        metavar="SIZE",
        help="Say whether a chip has room for activations and the largest layer's weights; exit with 1 if not.",
    ),
    click.option(
        "--largest-batch",
        metavar="DEVICE|SIZE",
        help="Find the largest batch that fits, of a call or, with --train, of a training step.",
    ),
    click.option(
        "--remedies", is_flag=True, help="Try what could save memory in a training step, and show what it does."
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked beside what a run holds."""

    fits: tuple[str, ...] = ()
    on_chip: str | None = None
    largest_batch: str | None = None
    remedies: bool = False

    def check(self, request: Request) -> None:
        """Raises ConfigurationError for what cannot be answered, before anything is measured."""
        for text in (*self.fits, *([self.largest_batch] if self.largest_batch else [])):
            limit_of(_memory(text))
        if self.on_chip:
            parse(self.on_chip, "bytes")
            if request.train or request.backward or request.has_cache:
                raise ConfigurationError(_FORWARD_ALONE)
        if request.is_saved and (self.largest_batch or self.remedies):
            option = "--remedies" if self.remedies else "--largest-batch"
            raise ConfigurationError(f"{option} runs a model, and {request.model} is a saved report. Leave it out.")
        if self.remedies and not request.train:
            raise ConfigurationError("--remedies are of a training step. Type --train too.")
        if self.largest_batch and not request.train and (is_typed("mode") or is_typed("backward")):
            raise ConfigurationError("--largest-batch is of calls in eval mode, or with --train of training steps.")

    def fit(self, memory: Memory) -> tuple[Fit, ...]:
        """The run in each memory that was named, and what a chip needs of it in the chip's."""
        found = [memory.fits(_memory(text)) for text in self.fits]
        if self.on_chip:
            if (need := memory.on_chip) is None:
                raise ConfigurationError(_FORWARD_ALONE)
            found.append(need.fits(parse(self.on_chip, "bytes")))
        return tuple(found)

    def answers(self, request: Request, **look: Any) -> Iterator[str]:
        """What more runs of the model say: of the cache of a language model's step, and what was asked."""
        if request.has_cache:
            with _running(request):
                from torchcost.cli.trying import kept

                cache = kept(request)
            yield as_table.render(cache, **look)
        if self.largest_batch:
            with _running(request):
                from torchcost.cli.trying import largest

                found = largest(request, _memory(self.largest_batch))
            yield as_text.largest_batch(found, width=look["width"])
        if self.remedies:
            with _running(request):
                from torchcost.cli.trying import tried

                table = tried(request)
            yield as_text.remedies(table, **look)


_FORWARD_ALONE = "--on-chip is of a call forward without a cache: no training, no backward, no decoding. Leave it out."


def asking(command: Callable[..., Any]) -> Any:
    """Gives a command the questions; it gets them as `questions`."""

    @wraps(command)
    def asked(**given: Any) -> Any:
        questions = Questions(**{field.name: given.pop(field.name) for field in fields(Questions)})
        return command(questions=questions, **given)

    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), asked)


def _memory(text: str) -> str | int:
    """The bytes that were typed, `16 GB`, or the name of a device."""
    return parse(text, "bytes") if text[:1].isdigit() else text


@contextlib.contextmanager
def _running(request: Request) -> Iterator[None]:
    """While a model runs: what its own code prints is no part of the result."""
    with (
        console.progress(f"Trying {request.model}"),
        contextlib.redirect_stdout(sys.stderr),
        console.warnings_in_a_line(),
    ):
        yield
