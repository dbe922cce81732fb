"""The command `torchcost`: its subcommands, and how an exception becomes one line and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from torchcost import __version__
from torchcost.cli import console
from torchcost.cli.check import check
from torchcost.cli.completion import completion
from torchcost.cli.diff import diff
from torchcost.cli.explain import explain
from torchcost.cli.handlers import handlers
from torchcost.cli.options import HELP_NAMES, is_verbose, verbose
from torchcost.cli.summary import summary
from torchcost.cli.wording import typed
from torchcost.cost import RULES
from torchcost.errors import TorchCostError
from torchcost.words import one_line, told

__all__ = ["main"]

INTERRUPTED = 130  # 128 + the number of SIGINT: what a shell says of an interrupted program


class _Commands(click.Group):
    """A group whose errors are torchcost's: one line on stderr, and the exit code that the exception carries."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        extra["prog_name"] = "torchcost"
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **extra)
        sys.exit(_exit_code(lambda: run(*args, standalone_mode=False, **extra)))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
    epilog="""\b
Examples:
  torchcost summary torchcost.examples:resnet18
  torchcost summary torchvision:resnet50 --backward --depth 2
  torchcost summary net.py:Net --model-kwargs '{"width": 64}' --input 1,3,32,32
  torchcost explain torchcost.examples:resnet18 layer1.0.conv1

\b
Exit codes: 0 fine; 1 over a limit; 2 usage or configuration; 3 could not measure;
4 nothing to compare with.""",
)
@click.version_option(__version__, message=f"torchcost {__version__} (counting rules {RULES})")
@completion
@verbose
def main() -> None:
    """What a PyTorch model costs, counted exactly: MACs, FLOPs, parameters and bytes."""


for _command in (summary, check, diff, explain, handlers):
    main.add_command(_command)


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
