"""What a run held at its peak and at each moment: by category, by module, tensor by tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from torchcost.cost import TensorSpec
from torchcost.hardware.devices import Device
from torchcost.memory import ALIVE, CATEGORIES, NOT_GIVEN, UNKNOWN, Category, Mark, MemoryHistory
from torchcost.tree.allocator import BLOCK, Replay, replay
from torchcost.tree.fit import Fit, Limit, limit_of

__all__ = ["Held", "MemoryProfile"]

_PRODUCTS = ("addbmm", "addmm", "addmv", "baddbmm", "bmm", "dot", "mm", "mv", "vdot")
"""Operators of aten that CUDA computes with cuBLAS."""

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A storage: what made it and where, for what, and its tensor as it was first seen."""

    path: str
    category: Category
    nbytes: int
    tensor: TensorSpec
    target: str


class MemoryProfile:
    """The memory of a run on one device, by default that which held most; a moment is the end of an operator.

    Law, held by every profile: at_peak sums to peak_bytes, and at_peak_by_module does.
    """

    def __init__(self, history: MemoryHistory, *, device: str | None = None, mark: Mark | None = None) -> None:
        self.history = history
        self.device = device if device is not None else _fullest(history)
        self._mark = mark if mark is not None else Mark(name="", first=0, last=history.moments)

    @property
    def devices(self) -> tuple[str, ...]:
        """Where anything was held."""
        return self.history.devices

    def on(self, device: str) -> Self:
        """The memory of another device."""
        return self._part(device, self._mark)

    @property
    def name(self) -> str:
        """Which step of a training it is of; empty for all of a run."""
        return self._mark.name

    @property
    def steps(self) -> tuple[Self, ...]:
        """The steps of a training, each for itself: in the first an optimizer makes its states."""
        return tuple(self._part(self.device, mark) for mark in self.history.marks)

    def _part(self, device: str, mark: Mark) -> Self:
        """The memory of this run on a device, in a part of it."""
        return type(self)(self.history, device=device, mark=mark)

    @property
    def peak_bytes(self) -> int:
        """The most that was held at any moment."""
        return int(self.timeline[self.peak_moment - self._mark.first])

    @cached_property
    def peak_moment(self) -> int:
        """The first moment at which that was so."""
        return self._mark.first + int(np.argmax(self.timeline))

    @property
    def peak_with_workspace_bytes(self) -> int | None:
        """The most that was held with the scratch of the kernel that ran; None where that was not measured.

        A kernel whose scratch could not be measured counts with its tensors alone: see `unmeasured`.
        """
        return None if self._workspace is None else int((self.timeline + self._workspace).max())

    @property
    def needed_bytes(self) -> int:
        """The most that is known to be held at any moment: with scratch where that was measured."""
        measured = self.peak_with_workspace_bytes
        return self.peak_bytes if measured is None else measured

    def fits(self, memory: Device | str | float) -> Fit:
        """Whether the run fits into a memory: `report.memory.fits("t4").spare_bytes`.

        `memory` is a torchcost.Device, the name of one, as `torchcost devices` lists them, or a number of bytes. The
        peak beside it is `needed_bytes`, and the answer says what is in no figure: the context of CUDA is not.

        Raises ConfigurationError, as for a device that is sold with several sizes, and UnknownDeviceError.
        """
        limit = limit_of(memory)
        return Fit(
            peak_bytes=self.needed_bytes, limit_bytes=limit.nbytes, device=limit.device, lacks=self.lacks_on(limit)
        )

    def lacks_on(self, limit: Limit) -> tuple[str, ...]:
        """What else would be in such a memory."""
        if self._is_cuda or limit.backend == "cuda":
            return ("the context of CUDA", "what its allocator reserves and does not use", "the scratch of kernels")
        if self._workspace is None:
            return ("the scratch of kernels",)
        return ("the scratch of some kernels",) if self.unmeasured else ()

    @cached_property
    def reserved_bytes(self) -> int | None:
        """The most that CUDA's allocator reserves for what was held, in segments; None on other devices.

        It is what `replayed()` says, so without the context of CUDA, workspaces of libraries and scratch of kernels.
        """
        return self.replayed().reserved_bytes if self._is_cuda else None

    def replayed(self, *, cublas_workspace_bytes: int = 0, expandable_segments: bool = False) -> Replay:
        """What CUDA's allocator reserves and allocates, moment by moment, if it is asked for just what was held.

        Of a run on another device it is what CUDA would reserve for the same storages, though its kernels make others:
        attention, dropout and autocast differ. With `cublas_workspace_bytes`, as torchcost.tree.allocator names them,
        the first product of forward takes so many, and so does the first of backward, which has a thread of its own.
        `expandable_segments` is torch's setting. The scratch of kernels is not in it: that of sums over many rows,
        as for a bias's gradient, can be tens of megabytes.
        """
        born, last = self._lives
        products = self._first_products()
        held = replay(
            np.append(np.where(self._there, self._column("nbytes"), 0), np.full_like(products, cublas_workspace_bytes)),
            np.append(born, products),
            np.append(last, np.full_like(products, self.history.moments)),
            moments=self.history.moments,
            expandable_segments=expandable_segments,
        )
        part = slice(self._mark.first, self._mark.last + 1)
        return Replay(reserved=held.reserved[part], allocated=held.allocated[part])

    @property
    def unmeasured(self) -> int:
        """How many operators ran whose scratch could not be measured."""
        return self.history.workspace[self._mark.first : self._mark.last].count(UNKNOWN)

    @property
    def average_bytes(self) -> float:
        """The mean over the moments, whatever time each took; see `average_over_time_bytes` of a timed run."""
        return float(self.timeline.mean())

    @property
    def fluctuation(self) -> float | None:
        """The largest over the smallest that was held; None where at some moment nothing was."""
        least = int(self.timeline.min())
        return self.peak_bytes / least if least else None

    @property
    def moments(self) -> Rows:
        """The moments of the timeline."""
        return np.arange(self._mark.first, self._mark.last + 1)

    @cached_property
    def timeline(self) -> Rows:
        """Bytes that were held at each moment."""
        return self._sums(self._there)

    def timeline_of(self, category: Category) -> Rows:
        """Bytes of one category at each moment."""
        return self._sums(self._there & (self._column("category") == CATEGORIES.index(category)))

    @property
    def at_peak(self) -> dict[Category, int]:
        """Bytes of each category at the peak, those that there were any of."""
        return self.at(self.peak_moment)

    def at(self, moment: int) -> dict[Category, int]:
        """Bytes of each category at a moment, those that there were any of."""
        rows = self._alive_at(moment)
        sums = self._grouped(rows, "category", len(CATEGORIES))
        return {category: sums[place] for place, category in enumerate(CATEGORIES) if sums[place]}

    @property
    def at_peak_by_module(self) -> dict[str, int]:
        """Bytes at the peak by the path of the module that made them, the most first."""
        return self._by_path(self._alive_at(self.peak_moment))

    def largest(self, most: int = 10) -> tuple[Held, ...]:
        """The largest storages at the peak."""
        rows = self._alive_at(self.peak_moment).tolist()
        return tuple(map(self._held, sorted(rows, key=lambda row: (-self._nbytes[row], row))[:most]))

    def largest_of(self, *categories: Category) -> int:
        """Bytes of the largest storage of some categories at any moment; 0 where there is none."""
        chosen = self._there & np.isin(self._column("category"), [CATEGORIES.index(each) for each in categories])
        return int(self._nbytes[chosen].max(initial=0))

    @property
    def kept(self) -> dict[str, int]:
        """Bytes that a backward found of forward, by the path of the module that made them, the most first.

        Of several backwards it is that which found most.
        """
        return self._by_path(np.flatnonzero(self._kept))

    def checkpointing_saves(self, path: str) -> int:
        """Bytes that a module keeps for backward and would not if it were checkpointed: all but what it gives."""
        inside = np.array([_is_below(name, path) for name in self.history.paths], dtype=bool)
        strictly = inside & (np.array(self.history.paths) != path)
        given_by = self._column("given_by")
        dropped = self._kept & inside[self._column("path")] & ((given_by == NOT_GIVEN) | strictly[given_by])
        return int(self._nbytes[dropped].sum())

    # --- rows --------------------------------------------------------------------------------------------------------

    def _column(self, name: str) -> Rows:
        return np.asarray(getattr(self.history, name), dtype=np.int64)

    @cached_property
    def _kept(self) -> NDArray[np.bool_]:
        """Which storages backward found of forward, at the moment when there was most of them."""
        kept: NDArray[np.bool_] = self._there & self._column("kept").astype(bool)
        most = self._mark.first + int(np.argmax(self._sums(kept)))
        born, last = self._lives
        kept &= (born <= most) & (last >= most)
        return kept

    @cached_property
    def _nbytes(self) -> Rows:
        """Bytes of each storage as its device's allocator gives them."""
        nbytes = self._column("nbytes")
        return -(-nbytes // BLOCK) * BLOCK if self._is_cuda else nbytes

    @property
    def _is_cuda(self) -> bool:
        return self.device.startswith("cuda")

    def _first_products(self) -> Rows:
        """The moments of the first product in forward and of the first in backward."""
        history = self.history
        products = [place for place, name in enumerate(history.targets) if name.removeprefix("aten.") in _PRODUCTS]
        made = self._column("born")[self._there & np.isin(self._column("target"), products)]
        made = np.sort(made[made <= history.moments])
        phases = np.asarray(history.phases)[self._column("phase")[made - 1]]
        in_backward = np.isin(phases, ("backward", "recompute"))
        return np.concatenate((made[~in_backward][:1], made[in_backward][:1]))

    @cached_property
    def _workspace(self) -> Rows | None:
        """Bytes of scratch at each moment, before the run none; it is measured of kernels on the CPU, which take it."""
        if not self.history.workspace or self.device != "cpu":
            return None
        scratch = np.concatenate(([0], np.maximum(self._column("workspace"), 0)))
        return scratch[self._mark.first : self._mark.last + 1]

    @cached_property
    def _there(self) -> NDArray[np.bool_]:
        """Which storages are on the device."""
        place = self.history.devices.index(self.device) if self.device in self.history.devices else -1
        there: NDArray[np.bool_] = self._column("device") == place
        return there

    @cached_property
    def _lives(self) -> tuple[Rows, Rows]:
        """The first and the last moment of each storage."""
        died = self._column("died")
        return self._column("born"), np.where(died == ALIVE, self.history.moments, died)

    def _alive_at(self, moment: int) -> NDArray[np.intp]:
        born, last = self._lives
        return np.flatnonzero(self._there & (born <= moment) & (last >= moment))

    def _sums(self, chosen: NDArray[np.bool_]) -> Rows:
        """Bytes of the chosen storages at each moment."""
        born, last = self._lives
        rows = np.flatnonzero(chosen & (last >= born))
        changes = np.zeros(self.history.moments + 2, dtype=np.int64)
        np.add.at(changes, born[rows], self._nbytes[rows])
        np.subtract.at(changes, last[rows] + 1, self._nbytes[rows])
        return changes.cumsum()[self._mark.first : self._mark.last + 1]

    def _grouped(self, rows: NDArray[np.intp], column: str, groups: int) -> list[int]:
        """Bytes of rows by the value of a column."""
        sums = np.zeros(groups, dtype=np.int64)
        np.add.at(sums, self._column(column)[rows], self._nbytes[rows])
        return [int(each) for each in sums]

    def _by_path(self, rows: NDArray[np.intp]) -> dict[str, int]:
        sums = zip(self.history.paths, self._grouped(rows, "path", len(self.history.paths)), strict=True)
        return dict(sorted(((path, nbytes) for path, nbytes in sums if nbytes), key=lambda pair: -pair[1]))

    def _held(self, row: int) -> Held:
        history = self.history
        return Held(
            path=history.paths[history.path[row]],
            category=CATEGORIES[history.category[row]],
            nbytes=int(self._nbytes[row]),
            tensor=history.tensors[history.tensor[row]],
            target=history.targets[history.target[row]],
        )


def _fullest(history: MemoryHistory) -> str:
    """The device that held most bytes, all of them together."""
    sums = [0] * len(history.devices)
    for device, nbytes in zip(history.device, history.nbytes, strict=True):
        sums[device] += nbytes
    return max(zip(sums, history.devices, strict=True), default=(0, "cpu"), key=lambda pair: pair[0])[1]


def _is_below(path: str, above: str) -> bool:
    return not above or path == above or path.startswith(f"{above}.")
