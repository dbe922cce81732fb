"""The command `torchcost`: its subcommands, and how an exception becomes one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

import click

from torchcost import __version__
from torchcost.cli import console
from torchcost.cli.completion import completion
from torchcost.cli.options import HELP_NAMES, is_verbose, verbose
from torchcost.cli.wording import typed
from torchcost.cost import RULES
from torchcost.errors import TorchCostError
from torchcost.words import one_line, told

__all__ = ["main"]

INTERRUPTED = 130  # 128 + the number of SIGINT: what a shell says of an interrupted program


_COMMANDS = {
    "summary": "Print what a model costs, module by module.",
    "check": "Check the costs of a project against baselines and budgets.",
    "diff": "Compare two reports or baselines, module by module.",
    "memory": "Print what a model holds in memory, and when, for a call or in training.",
    "roofline": "Print the least time that a model takes on a device.",
    "calibrate": "Measure what this machine reaches, and keep it.",
    "devices": "List the devices that are known, with their peaks.",
    "explain": "Print the formulas of a module, with its numbers.",
    "handlers": "List every counting rule, or what has none.",
}
"""What each command does; each stands in a file of its name, which is loaded when it is typed."""


class _Loaded(Mapping[str, click.Command]):
    """The commands by name."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in _COMMANDS:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"torchcost.cli.{name}"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


class _Commands(click.Group):
    """A group whose errors are torchcost's: one line on stderr, and the exit code that the exception carries."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(_COMMANDS)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        extra["prog_name"] = "torchcost"
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        sys.exit(_exit_code(lambda: run(*args, standalone_mode=False, **extra)))


@click.group(
    cls=_Commands,
    commands=_Loaded(),
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
    epilog="""\b
Examples:
  torchcost summary torchcost.examples:resnet18
  torchcost summary torchvision:resnet50 --backward --depth 2
  torchcost summary net.py:Net --model-kwargs '{"width": 64}' --input 1,3,32,32
  torchcost explain torchcost.examples:resnet18 layer1.0.conv1
  torchcost memory torchcost.examples:resnet18 --train --plot
  torchcost diff main:costs/net.json costs/net.json --fail-on 'flops:+1%'

\b
Exit codes: 0 fine; 1 over a limit; 2 usage or configuration; 3 could not measure;
4 nothing to compare with.""",
)
@click.version_option(__version__, message=f"torchcost {__version__} (counting rules {RULES})")
@completion
@verbose
def main() -> None:
    """What a PyTorch model costs, counted exactly: MACs, FLOPs, parameters and bytes."""


def _exit_code(run: Callable[[], object]) -> int:
    """Runs a command; what it raises becomes a line on stderr."""
    try:
        code = run()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        console.error(_usage(error))
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as error:  # of click, where help meets a closed pipe; else of code that torchcost called
        return console.BROKEN_PIPE if isinstance(error.__context__, BrokenPipeError) else _failed(error)
    except Exception as error:  # the edge: a traceback is shown only to who asks for it
        return _failed(error)
    return code if isinstance(code, int) else 0


def _failed(error: BaseException) -> int:
    if is_verbose() and sys.stderr is not None:
        traceback.print_exception(error)
    if isinstance(error, TorchCostError):
        console.error(one_line(typed(str(error)), 2000))
        return error.exit_code
    fault = "" if isinstance(error, _OF_THE_SYSTEM) else f" {_FAULT}"
    console.error(f"{told(error)}.{fault}")
    return TorchCostError.exit_code


_OF_THE_SYSTEM = (OSError, MemoryError, SystemExit)
_FAULT = "This is a fault of torchcost: please report it with what -v shows."


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" Type: {context.command_path} --help" if context is not None else ""
    if isinstance(error, click.BadOptionUsage):
        hint = f" Type a value after {error.option_name}"
    message = error.format_message()
    return one_line(f"{message}{'' if message.endswith(('.', '?')) else '.'}{hint}")
