"""What torch's caching allocator reserves on a CUDA device: its rules, replayed over what a run asked for and freed.

- A request is rounded up to blocks of 512 bytes; one for nothing takes nothing.
- Requests up to 1 MiB and larger ones have a pool each. A request gets the smallest free block of its pool that holds
  it, of equal ones that of the lowest address.
- Where there is none, the device is asked for a segment: of 2 MiB for the small pool, of 20 MiB for less than 10 MiB,
  else of the request rounded up to 2 MiB.
- What a block has beyond its request is split off and free: all of it in the small pool, in the large one if it is more
  than 1 MiB. What is not split off counts as allocated.
- A freed block becomes one with its free neighbours in its segment. Segments are kept.

Of one stream and torch's default settings, with `expandable_segments` as the one other: each pool then has one segment
that grows by pages of 2 or 20 MiB, everything is split, and the block that can grow is taken last. Addresses are
assumed to rise from segment to segment. Where memory runs out torch gives cached segments back: nothing does so here.
Source: c10/cuda/CUDACachingAllocator.cpp and c10/core/AllocatorConfig.h of torch 2.14.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "CONTEXT_BYTES",
    "CUBLAS_WORKSPACE_BYTES",
    "CUBLAS_WORKSPACE_BYTES_HOPPER",
    "Block",
    "CachingAllocator",
    "Replay",
    "replay",
]

Rows = NDArray[np.int64]

BLOCK = 512
"""kMinBlockSize: every block is of so many bytes, or a multiple."""

_SMALL = 2**20
"""kSmallSize: the largest request of the small pool, and the most that a block of the large one has too much."""

_SMALL_SEGMENT = 2 * 2**20
"""kSmallBuffer."""

_LARGE_SEGMENT = 20 * 2**20
"""large_segment_size, its default."""

_LARGE = 10 * 2**20
"""kMinLargeAlloc: the least request that gets a segment of its own size."""

_ROUND_LARGE = 2 * 2**20
"""kRoundLarge: such a segment is a multiple of it."""

CONTEXT_BYTES = (300 * 10**6, 600 * 10**6)
"""What a CUDA context itself takes, by device and driver: recalled, not measured, and in no figure here."""

CUBLAS_WORKSPACE_BYTES = 8_519_680
"""What torch allocates for cuBLAS at the first product of a thread, below compute capability 9.0.

Backward runs in a thread of its own, so a training holds it twice. cuBLASLt shares it.
Source: aten/src/ATen/cuda/CublasHandlePool.cpp, and `torch.backends.cuda.cublas_workspace_size()`.
"""

CUBLAS_WORKSPACE_BYTES_HOPPER = 33_554_432
"""The same from compute capability 9.0 (Hopper) on."""


@dataclass(slots=True, eq=False)
class Block:
    """Some bytes of a segment, between its neighbours there."""

    address: int
    nbytes: int
    pool: _Pool
    before: Block | None = None
    after: Block | None = None
    is_free: bool = True

    def split(self, nbytes: int) -> Block:
        """Cuts the block to so many bytes; what is left of it is another."""
        rest = Block(self.address + nbytes, self.nbytes - nbytes, self.pool, before=self, after=self.after)
        if self.after is not None:
            self.after.before = rest
        self.nbytes, self.after = nbytes, rest
        return rest

    def absorb(self, neighbour: Block) -> None:
        """Becomes one with a block before or after it."""
        if neighbour is self.before:
            self.address, self.before = neighbour.address, neighbour.before
            if self.before is not None:
                self.before.after = self
        else:
            self.after = neighbour.after
            if self.after is not None:
                self.after.before = self
        self.nbytes += neighbour.nbytes


@dataclass(slots=True, eq=False)
class _Pool:
    """The segments for small or for large requests; its free blocks in the order of their size, then their address."""

    is_small: bool
    segments: list[int] = field(default_factory=list)
    last: Block | None = None
    _free: dict[tuple[int, int], Block] = field(default_factory=dict)
    _order: list[tuple[int, int]] = field(default_factory=list)

    def put(self, block: Block) -> None:
        block.is_free = True
        place = (block.nbytes, block.address)
        self._free[place] = block
        insort(self._order, place)

    def take(self, block: Block) -> Block:
        block.is_free = False
        place = (block.nbytes, block.address)
        del self._order[bisect_left(self._order, place)]
        return self._free.pop(place)

    def fitting(self, nbytes: int) -> list[Block]:
        """The best free block of at least so many bytes and the next best, if there are any."""
        first = bisect_left(self._order, (nbytes, 0))
        return [self._free[place] for place in self._order[first : first + 2]]


class CachingAllocator:
    """The allocator of one device and one stream: what it has reserved and allocated, in bytes."""

    def __init__(self, *, expandable_segments: bool = False) -> None:
        self._small, self._large = _Pool(is_small=True), _Pool(is_small=False)
        self._expandable = expandable_segments
        self.reserved_bytes = 0
        self.allocated_bytes = 0

    @property
    def segments(self) -> tuple[int, ...]:
        """Bytes of each segment, the small ones first."""
        return (*self._small.segments, *self._large.segments)

    def allocate(self, nbytes: int) -> Block:
        """The block for a request: rounded up, and more where the rest of it would be too small to split off."""
        nbytes = _rounded(nbytes, BLOCK)
        pool = self._small if nbytes <= _SMALL else self._large
        if not nbytes:
            return Block(0, 0, pool, is_free=False)
        block = pool.take(self._best(pool, nbytes) or self._made(pool, nbytes))
        if self._is_split(pool, block.nbytes - nbytes):
            rest = block.split(nbytes)
            pool.put(rest)
            if block is pool.last:
                pool.last = rest
        self.allocated_bytes += block.nbytes
        return block

    def free(self, block: Block) -> None:
        """Takes a block back."""
        if not block.nbytes:
            return
        self.allocated_bytes -= block.nbytes
        self._merged(block)

    def _merged(self, block: Block) -> Block:
        """The free block that a block becomes with its free neighbours."""
        pool = block.pool
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.is_free:
                block.absorb(pool.take(neighbour))
                if neighbour is pool.last:
                    pool.last = block
        pool.put(block)
        return block

    def _best(self, pool: _Pool, nbytes: int) -> Block | None:
        """The free block that a request gets; one that can grow counts as endless, so it comes last."""
        fitting = pool.fitting(nbytes)
        if self._expandable and len(fitting) > 1 and fitting[0] is pool.last:
            return fitting[1]
        return fitting[0] if fitting else None

    def _is_split(self, pool: _Pool, rest: int) -> bool:
        return rest >= BLOCK if pool.is_small or self._expandable else rest > _SMALL

    def _made(self, pool: _Pool, nbytes: int) -> Block:
        """A free block of a new segment, or of the one that grows."""
        return self._grown(pool, nbytes) if self._expandable else self._added(pool, _segment_of(nbytes))

    def _added(self, pool: _Pool, nbytes: int) -> Block:
        block = Block(sum(pool.segments), nbytes, pool)
        pool.segments.append(nbytes)
        pool.last = block
        self.reserved_bytes += nbytes
        pool.put(block)
        return block

    def _grown(self, pool: _Pool, nbytes: int) -> Block:
        end, page = pool.last, _SMALL_SEGMENT if pool.is_small else _LARGE_SEGMENT
        more = _rounded(nbytes - (end.nbytes if end is not None and end.is_free else 0), page)
        if end is None:
            return self._added(pool, more)
        block = Block(end.address + end.nbytes, more, pool, before=end, is_free=False)
        end.after = pool.last = block
        pool.segments[-1] += more
        self.reserved_bytes += more
        return self._merged(block)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Bytes that an allocator had reserved and bytes that it had allocated, at the end of each moment."""

    reserved: Rows
    allocated: Rows

    @property
    def reserved_bytes(self) -> int:
        """The most that was reserved, as torch.cuda.max_memory_reserved says it."""
        return int(self.reserved.max())

    @property
    def allocated_bytes(self) -> int:
        """The most that was allocated, as torch.cuda.max_memory_allocated says it: with what was not split off."""
        return int(self.allocated.max())


def replay(nbytes: Rows, born: Rows, last: Rows, *, moments: int, expandable_segments: bool = False) -> Replay:
    """What an allocator holds of storages that were there from one moment to another, both included.

    In each moment what is gone is freed first, then what is born is allocated, in the order of the rows; one whose last
    moment is before its first was never there.
    """
    allocator = CachingAllocator(expandable_segments=expandable_segments)
    there = np.flatnonzero(last >= born)
    births, deaths = _ByMoment(there, born[there], moments), _ByMoment(there, last[there] + 1, moments)
    requests, blocks = array("q", nbytes.astype(np.int64).tobytes()), dict[int, Block]()
    reserved, allocated = np.zeros(moments + 1, dtype=np.int64), np.zeros(moments + 1, dtype=np.int64)
    for moment in range(moments + 1):
        for row in deaths[moment]:
            allocator.free(blocks.pop(row))
        for row in births[moment]:
            blocks[row] = allocator.allocate(requests[row])
        reserved[moment], allocated[moment] = allocator.reserved_bytes, allocator.allocated_bytes
    return Replay(reserved=reserved, allocated=allocated)


class _ByMoment:
    """The rows of each moment, in their order."""

    def __init__(self, rows: NDArray[np.intp], when: Rows, moments: int) -> None:
        order = np.argsort(when, kind="stable")
        self._rows = array("q", rows[order].astype(np.int64).tobytes())
        self._ends = array("q", np.searchsorted(when[order], np.arange(moments + 2)).astype(np.int64).tobytes())

    def __getitem__(self, moment: int) -> array[int]:
        return self._rows[self._ends[moment] : self._ends[moment + 1]]


def _segment_of(nbytes: int) -> int:
    """Bytes of the segment that is made for a request."""
    if nbytes <= _SMALL:
        return _SMALL_SEGMENT
    return _LARGE_SEGMENT if nbytes < _LARGE else _rounded(nbytes, _ROUND_LARGE)


def _rounded(nbytes: int, to: int) -> int:
    return -(-nbytes // to) * to
