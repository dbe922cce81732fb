"""One finding about a run: what costs too much, where, by which numbers, and what a change of it would save."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from torchcost.hardware.roofline import Leaf, RooflineModel
from torchcost.record import Record

__all__ = ["Finding", "Gain", "apart", "as_one", "folded", "launch_seconds", "of", "where"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What work takes on a device, or the difference between two ways to do it: `before - after` is what is saved.

    `seconds` are those of its roofline, and on a calibrated machine those of its launches too.
    """

    seconds: float = 0.0
    flops: int = 0
    nbytes: int = 0

    def __add__(self, other: Gain) -> Gain:
        return Gain(
            seconds=self.seconds + other.seconds,
            flops=self.flops + other.flops,
            nbytes=self.nbytes + other.nbytes,
        )

    def __sub__(self, other: Gain) -> Gain:
        return self + other * -1

    def __mul__(self, times: int) -> Gain:
        return Gain(seconds=self.seconds * times, flops=self.flops * times, nbytes=self.nbytes * times)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something of a run that could cost less: `evidence` has the run's numbers, `advice` says what to do or to type.

    What it saves is over the whole run, `saved_bytes` being traffic, or of "unused" the bytes of parameters. `times`
    are the places where the same was found. A `remark` has no gain that can be computed, and is worth a look all the
    same.
    """

    kind: str
    paths: tuple[str, ...]
    evidence: str
    advice: str
    saved_seconds: float = 0.0
    saved_flops: int = 0
    saved_bytes: int = 0
    times: int = 1
    remark: bool = False

    @classmethod
    def of(cls, kind: str, paths: Iterable[str], gain: Gain, *, evidence: str, advice: str) -> Finding:
        """A finding about modules, each named once, that saves so much."""
        return cls(
            kind=kind,
            paths=tuple(dict.fromkeys(paths)),
            evidence=evidence,
            advice=advice,
            saved_seconds=gain.seconds,
            saved_flops=gain.flops,
            saved_bytes=gain.nbytes,
        )

    @property
    def where(self) -> str:
        """Its modules in a word: `layer1.(0-1).{conv1, bn1}`."""
        return where(self.paths)


# --- what work takes -------------------------------------------------------------------------------------------------


def launch_seconds(model: RooflineModel) -> float | None:
    """What a call takes to start; None on a device that was not calibrated."""
    return model.estimate.calibration.launch_seconds if model.estimate is not None else None


def of(model: RooflineModel, record: Record) -> Gain:
    """What one call takes, be it of the run or as it might be."""
    return _of_leaf(model, model.leaf(record))


def apart(model: RooflineModel, members: Iterable[int]) -> Gain:
    """What one call of each record takes, one after the other."""
    return sum((_of_leaf(model, model.leaves[member]) for member in members), Gain())


def as_one(model: RooflineModel, members: Iterable[int], *, saved_bytes: int) -> Gain:
    """What the same calls take in one kernel, which need not move so many of their bytes."""
    kernel = model.kernel(tuple(members), saved_bytes=saved_bytes)
    flops = kernel.cost.flops if kernel.cost is not None else 0
    return Gain(seconds=kernel.bound.seconds + (launch_seconds(model) or 0.0), flops=flops, nbytes=kernel.access_bytes)


def _of_leaf(model: RooflineModel, leaf: Leaf) -> Gain:
    cost = leaf.record.cost
    return Gain(
        seconds=leaf.seconds + (launch_seconds(model) or 0.0),
        flops=cost.flops if cost is not None else 0,
        nbytes=cost.access_bytes if cost is not None else 0,
    )


# --- the same in several places --------------------------------------------------------------------------------------


def folded(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings of which those with the same numbers, in modules whose paths differ in theirs only, are one.

    Remarks are one wherever they say the same.
    """
    alike: dict[object, Finding] = {}
    for found in findings:
        what = found.kind, found.evidence, found.advice, found.saved_flops, found.saved_bytes
        key = *what, *([] if found.remark else dict.fromkeys(map(_shape, found.paths)))
        alike[key] = _both(alike[key], found) if key in alike else found
    yield from alike.values()


def _both(one: Finding, other: Finding) -> Finding:
    return replace(
        one,
        paths=tuple(dict.fromkeys((*one.paths, *other.paths))),
        saved_seconds=one.saved_seconds + other.saved_seconds,
        saved_flops=one.saved_flops + other.saved_flops,
        saved_bytes=one.saved_bytes + other.saved_bytes,
        times=one.times + other.times,
    )


_NUMBER = re.compile(r"\d+")


def _shape(path: str) -> str:
    """A path without its numbers: `layer#.#.conv#`."""
    return _NUMBER.sub("#", path)


def where(paths: Iterable[str]) -> str:
    """Paths as one: those that differ in their numbers together, and what all begin with once."""
    alike: dict[str, list[str]] = {}
    for path in paths:
        alike.setdefault(_shape(path), []).append(path)
    names = [_spans(group) for group in alike.values()]
    if len(names) == 1:
        return names[0] or "(root)"
    first, shared = names[0].split("."), 0
    while shared < len(first) and all(f"{name}.".startswith(f"{'.'.join(first[: shared + 1])}.") for name in names):
        shared += 1
    stem = "".join(f"{part}." for part in first[:shared])
    rest = [inner for name in names if (inner := f"{name}."[len(stem) :].rstrip("."))] or [first[-1]]
    if len(rest) == 1:
        return f"{stem}{rest[0]}"
    return f"{stem}{{{', '.join(rest)}}}" if shared else ", ".join(rest)


def _spans(paths: list[str]) -> str:
    """Paths of one shape as one: `layer(1-2).0.conv1`, `(branch_1x1, branch_3x3).conv`."""
    columns = zip(*(path.split(".") for path in paths), strict=True)
    return ".".join(_name(list(dict.fromkeys(column))) for column in columns)


def _name(names: list[str]) -> str:
    """Names of one shape as one; those with several numbers one beside the other, for which of them go together."""
    numbers = sorted(int(number) for name in names for number in _NUMBER.findall(name))
    if len(names) == 1 or len(numbers) > len(names):
        return names[0] if len(names) == 1 else f"({', '.join((*names[:3], '...') if names[3:] else names)})"
    return _NUMBER.sub(_span(numbers), names[0])


def _span(numbers: list[int]) -> str:
    """`(0-11)`, `(0, 2)`, `(0 to 7)`."""
    first, last = numbers[0], numbers[-1]
    if last - first == len(numbers) - 1:
        return f"({first}-{last})"
    return f"({', '.join(map(str, numbers))})" if len(numbers) < 4 else f"({first} to {last})"
