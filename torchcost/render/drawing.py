"""What rich draws as the text that a terminal shows: tables without lines, as wide as they may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from itertools import groupby
from operator import itemgetter

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from torchcost.render.signs import Safe, cut

__all__ = ["ENDLESS", "GAP", "drawn", "in_a_row", "laid_out", "plain_table"]

ENDLESS = 1_000_000
"""The width of what nothing is cut in."""

GAP = 2
"""Blanks between two columns."""


def drawn(content: RenderableType, width: int, *, color: bool) -> str:
    """The lines of a table or a text, without blanks at their ends."""
    console = Console(
        file=StringIO(), width=width, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(content)
    return "\n".join(line.rstrip() for line in capture.get().rstrip("\n").splitlines())


def in_a_row(signs: Iterable[tuple[str, str]]) -> Text:
    """Signs, each in its style, as a line."""
    row = Text()
    for style, alike in groupby(signs, key=itemgetter(1)):
        row.append("".join(sign for sign, _ in alike), style)
    return row


def plain_table() -> Table:
    """A table of blanks alone, without columns yet."""
    return Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")


def laid_out(
    headers: Sequence[str], rows: Iterable[Sequence[str]], width: int, *, safe: Safe, color: bool, texts: int = 0
) -> str:
    """A table whose first column is names, cut where they are too long for the width, and whose others are figures.

    So many `texts` stand after the names.
    """
    rows = [tuple(map(safe, row)) for row in rows]
    wide = [max(map(cell_len, column)) for column in zip(headers, *rows, strict=True)]
    room = max(1, min(wide[0], width - sum(each + GAP for each in wide[1:])))
    table = plain_table()
    table.add_column(cut(Text(headers[0]), room, safe), no_wrap=True, width=room)
    for place, (header, each) in enumerate(zip(headers[1:], wide[1:], strict=True)):
        table.add_column(header, justify="left" if place < texts else "right", no_wrap=True, width=each)
    for row in rows:
        table.add_row(cut(Text(row[0]), room, safe), *map(Text, row[1:]))
    return drawn(table, width, color=color)
