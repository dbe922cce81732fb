"""Communication between ranks: what this rank sends and receives. Reductions are done on the way, by nobody's count."""

from __future__ import annotations

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.registry import free, handles
from torchcost.handlers.traffic import Access, Traffic, access, overwrites
from torchcost.handlers.work import Work

__all__: list[str] = []

_EXCHANGES = (
    *("_allgather_base_", "allgather_", "allgather_coalesced_", "allgather_into_tensor_coalesced_", "alltoall_"),
    *("alltoall_base_", "gather_", "gather_into_tensor_", "reduce_scatter_", "_reduce_scatter_base_"),
    *("reduce_scatter_tensor_coalesced_", "scatter_"),
)
"""torch.distributed's operators over (received, sent); the functional ones are in `movement`."""

_IN_PLACE = ("allreduce_", "allreduce_coalesced_", "broadcast_", "reduce_")

_FSDP_COPIES = ("chunk_cat", "copy_", "split_with_sizes_copy")
"""Copies of a shard into and out of the buffers that FSDP communicates."""

free("c10d::barrier", "c10d::monitored_barrier_", "c10d::check_for_nan", "_c10d_functional::_wrap_tensor_autograd")
free("_dtensor::mesh_get_process_group", "profiler::_call_end_callbacks_on_jit_fut")


def _accesses(call: Call, position: int) -> tuple[Access, ...]:
    return tuple(access(call, tensor) for tensor in tensors_in(call.args[position]))


def _exchanged(call: Call) -> Traffic:
    return Traffic(reads=_accesses(call, 1), writes=_accesses(call, 0))


def _updated(call: Call) -> Traffic:
    return Traffic(reads=_accesses(call, 0), writes=_accesses(call, 0))


def _sent(call: Call) -> Traffic:
    return Traffic(reads=_accesses(call, 0))


def _received(call: Call) -> Traffic:
    return Traffic(writes=_accesses(call, 0))


def _copied_in(call: Call) -> Traffic:
    """The shards that are copied to their place in the gathered buffer."""
    shards = _accesses(call, 0)
    return Traffic(reads=shards, writes=tuple(shard._replace(weight=False) for shard in shards))


def communicates(call: Call) -> Work:
    """Nothing is computed on this rank: what it sends is read, what it receives is written."""
    return Work()


handles(*(f"c10d::{name}" for name in _EXCHANGES), traffic=_exchanged)(communicates)
handles(*(f"c10d::{name}" for name in _IN_PLACE), traffic=_updated)(communicates)
handles("c10d::send", traffic=_sent)(communicates)
handles("c10d::recv_", "c10d::recv_any_source_", traffic=_received)(communicates)
handles(*(f"fsdp::{name}" for name in _FSDP_COPIES), traffic=overwrites)(communicates)
handles("fsdp::all_gather_copy_in", traffic=_copied_in)(communicates)
handles("_c10d_functional::isend", traffic=_sent)(communicates)
handles("_c10d_functional::irecv", traffic=_received)(communicates)
handles("_dtensor::shard_dim_alltoall")(communicates)
