"""The public Report: a summary that is saved, loaded and shown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torchcost.errors import ConfigurationError, ReportError
from torchcost.render import html, json as as_json, text
from torchcost.tree import schema
from torchcost.tree.summary import Summary

__all__ = ["Report"]


class Report(Summary):
    """What a run cost: totals, a tree of modules, tables by operator and by type, and what could not be counted.

    It holds plain numbers only: it outlives the model, and equals what `from_dict(to_dict())` gives.
    """

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat mapping a module, for tables and data frames."""
        return self.rows()

    def to_metrics(self, prefix: str = "torchcost/") -> dict[str, float]:
        """The totals as numbers by name, as trackers take them: wandb.log, mlflow.log_metrics, self.log_dict."""
        totals = self.totals().items()
        numbers = {name: float(value) for name, value in totals if isinstance(value, int | float)}
        del numbers["lower_bound"]  # true or false
        return {f"{prefix}{name}": value for name, value in numbers.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        """The report of a mapping that `to_dict` gave; raises ReportError for any other."""
        return cls(schema.from_dict(data), rules=data["rules"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as JSON."""
        Path(path).write_text(as_json.render(self) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Reads a saved report; raises ReportError if the file is none."""
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8-sig")))  # editors add a mark
        except ReportError as error:
            raise ReportError(f"{path}: {error}") from error
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReportError(f"{path} is not a report: {error}. Save one with report.save(path).") from error
        except OSError as error:
            raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report) and (self._trace, self.rules) == (other._trace, other.rules)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return text.render(self)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html.render(self)

    def __repr__(self) -> str:
        bound = ">= " if self.lower_bound else ""
        return f"<torchcost.Report {bound}{self.macs:,} MACs, {bound}{self.flops:,} FLOPs, {self.params:,} params>"
