"""Communication between ranks: what this rank sends and receives. Reductions are done on the way, by nobody's count."""

from __future__ import annotations

from torchcost.handlers.call import Call
from torchcost.handlers.registry import free, handles
from torchcost.handlers.work import Work

__all__: list[str] = []

_C10D = (
    *("_allgather_base_", "allgather_", "allgather_coalesced_", "allgather_into_tensor_coalesced_", "allreduce_"),
    *("allreduce_coalesced_", "alltoall_", "alltoall_base_", "broadcast_", "gather_", "reduce_", "reduce_scatter_"),
    *("_reduce_scatter_base_", "reduce_scatter_tensor_coalesced_", "recv_", "recv_any_source_", "scatter_", "send"),
)
"""The collectives that torch.distributed calls; the functional ones are in `movement`."""

_FSDP = ("all_gather_copy_in", "chunk_cat", "copy_", "split_with_sizes_copy")
"""Copies of a shard into and out of the buffers that FSDP communicates."""

free("c10d::barrier", "c10d::monitored_barrier_", "c10d::check_for_nan")


@handles(*(f"c10d::{name}" for name in _C10D), *(f"fsdp::{name}" for name in _FSDP))
def _(call: Call) -> Work:
    """Nothing is computed on this rank: the operands are read, the results written."""
    return Work()
