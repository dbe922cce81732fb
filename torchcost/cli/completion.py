"""`torchcost --completion SHELL`: the script that completes commands and options with Tab."""

from __future__ import annotations

import contextlib
import os

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

_INSTALL = {
    "bash": 'eval "$(torchcost --completion bash)"    # in ~/.bashrc',
    "zsh": 'eval "$(torchcost --completion zsh)"    # in ~/.zshrc',
    "fish": "torchcost --completion fish | source    # in ~/.config/fish/config.fish",
}


def _show(context: click.Context, parameter: click.Parameter, shell: str | None) -> None:
    if shell is None or context.resilient_parsing:
        return
    script = get_completion_class(shell)
    assert script is not None
    with open(os.devnull, "w") as nothing, contextlib.redirect_stderr(nothing):  # noqa: PTH123  (is there such a shell?)
        source = script(context.command, {}, "torchcost", "_TORCHCOST_COMPLETE").source()
    click.echo(f"# {_INSTALL[shell]}\n{source}")
    context.exit()


completion = click.option(
    "--completion",
    type=click.Choice(sorted(_INSTALL)),
    expose_value=False,
    is_eager=True,
    callback=_show,
    help="Print the script that completes commands with Tab, and say where it belongs.",
)
