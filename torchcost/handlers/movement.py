"""Movement: what copies, picks, fills, allocates or only renames elements, and computes nothing but sums of repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import FunctionSchema, nn

from torchcost.handlers.call import Call, tensors_in
from torchcost.handlers.pointwise import Operations, argument, operators, prims, real_flops
from torchcost.handlers.registry import free, handles
from torchcost.handlers.sizes import least, most
from torchcost.handlers.traffic import (
    Access,
    Traffic,
    access,
    accesses,
    computed_elements,
    every_operand_once,
    nothing_moves,
    overwrites,
    reads_of,
    reads_only,
    stored_elements,
)
from torchcost.handlers.work import Work, formula

__all__ = ["accumulate", "is_in_place", "moves", "picks", "schema_of", "sources_only"]

aten = torch.ops.aten


@formula
def accumulate(*, elements: int, each: int) -> Work:
    """y[index[i]] += alpha x[i]: `each` operations an element that lands, an addition and, with a factor, a product.

    Additions onto a freshly zeroed y count too: how many elements meet is known only to the indices.

    other_flops = elements * each
    """
    return Work(other_flops=elements * each)


@formula
def scatter_mean(*, elements: int, outputs: int, each: int) -> Work:
    """The mean of what lands on an output: an addition an element that lands, a division an output.

    other_flops = (elements + outputs) * each
    """
    return Work(other_flops=(elements + outputs) * each)


def moves(call: Call) -> Work:
    """Nothing is computed; the bytes are the cost."""
    return Work()


# --- traffic special to movement -------------------------------------------------------------------------------------


def picks(call: Call) -> Traffic:
    """The first operand is read only where it is picked, and no element twice; the others (indices) in full."""
    picked = sum(map(computed_elements, tensors_in(call.output)))
    return replace(every_operand_once(call), reads=_read_up_to(call, reads_of(call), {id(call.input): picked}))


def sources_only(call: Call) -> Traffic:
    """The first argument gives only a shape, or is overwritten unseen: it is not read."""
    return replace(every_operand_once(call), reads=_read_up_to(call, _sources(call), {}))


def moves_if_copied(call: Call) -> Traffic:
    """Where the output shares its operand's storage (a view) nothing moves."""
    traffic = every_operand_once(call)
    return traffic if traffic.writes else Traffic()


def _read_up_to(call: Call, tensors: Iterable[torch.Tensor], limits: Mapping[int, int]) -> tuple[Access, ...]:
    """Tensors read whole, but for those (by id) of which so many elements are picked, none twice."""
    return tuple(part for tensor in tensors for part in _up_to(call, tensor, limits.get(id(tensor))))


def _up_to(call: Call, tensor: torch.Tensor, picked: int | None) -> tuple[Access, ...]:
    if picked is None:
        return accesses(call, tensor)
    return (access(call, tensor, least(stored_elements(tensor), picked)),)


def _sources(call: Call) -> Iterator[torch.Tensor]:
    """What is read beside the first argument, a tensor or a list of them."""
    first = {id(tensor) for tensor in tensors_in(call.input)} if call.args or call.kwargs else set()
    return (tensor for tensor in reads_of(call) if id(tensor) not in first)


def touches(count: Callable[[Call], int], *, reads_target: bool = False) -> Callable[[Call], Traffic]:
    """In place, only the touched elements are written, and read where something is added to them; else all are.

    What is scattered is read only as far as it has an index, and no element twice.
    """

    def traffic(call: Call) -> Traffic:
        sources = _read_up_to(call, _sources(call), {id(argument(call, "src")): count(call)})
        if not is_in_place(call):
            return replace(every_operand_once(call), reads=(access(call, call.input), *sources))
        touched = (access(call, call.input, least(count(call), stored_elements(call.input))),)
        added_to = touched if reads_target or _accumulates(call) else ()
        return Traffic(reads=(*sources, *added_to), writes=touched)

    return traffic


def is_in_place(call: Call) -> bool:
    """Whether the first argument is written, and not another that `out=` gives."""
    target = schema_of(call).arguments[0]
    return target.alias_info is not None and target.alias_info.is_write


def _accumulates(call: Call) -> bool:
    """Whether an index_put or a put adds to what is there."""
    return bool(argument(call, "accumulate", absent=False))


def schema_of(call: Call) -> FunctionSchema:
    schema: FunctionSchema = call.target._schema
    return schema


# --- views and metadata: free ----------------------------------------------------------------------------------------

VIEWS = operators(
    "_conj _fw_primal _make_dual _neg_view _reshape_alias _unsafe_view alias as_strided detach diagonal expand "
    "lift lift_fresh permute select slice slice_inverse split split_with_sizes squeeze unsafe_split "
    "unsafe_split_with_sizes t transpose unbind unfold unsqueeze view view_as_complex view_as_real "
    "_mkldnn_reshape _nested_get_values _nested_view_from_buffer _nested_view_from_jagged indices _indices values "
    "_values crow_indices col_indices ccol_indices row_indices"
)
"""Operators whose outputs share the storage of their operand."""

METADATA = (
    *operators(
        "size stride dim numel storage_offset is_contiguous is_same_size sym_size sym_stride sym_numel "
        "sym_storage_offset sym_is_contiguous is_pinned is_set_to is_coalesced _has_same_storage_numel "
        "_local_scalar_dense _nested_get_jagged_dummy _nested_get_lengths _nested_get_max_seqlen "
        "_nested_get_min_seqlen _nested_get_offsets _nested_get_ragged_idx _nested_tensor_size _nested_tensor_strides "
        "_nested_tensor_storage_offsets _assert_async _assert_scalar _assert_tensor_metadata _functional_assert_async "
        "_functional_assert_scalar sym_constrain_range sym_constrain_range_for_size _functional_sym_constrain_range "
        "_functional_sym_constrain_range_for_size _make_dep_token _fused_sdp_choice _print"
    ),
    *(f"prim::{name}" for name in ("device", "dtype", "layout", "itemsize", "nbytes", "requires_grad", "data")),
    *(f"mempool::{name}" for name in ("begin", "end")),
    *(f"streams::{name}_{what}" for name in ("wait", "synchronize") for what in ("event", "stream")),
    *(f"streams::{name}" for name in ("fork", "join", "record_event", "record_stream", "sync_dealloc")),
    "streams::synchronize_device",
    *("profiler::_record_function_enter", "profiler::_record_function_enter_new", "profiler::_record_function_exit"),
)
"""What only looks at a tensor's form, or waits for one scalar."""

free(*VIEWS, *METADATA)
free(*prims("broadcast_in_dim collapse_view squeeze transpose view_of view_of_dtype split_dim real imag conj item"))
# These change which memory a tensor means, and move none of it.
free(aten.set_, aten.resize_, aten.resize_as_, aten._resize_output_, aten.record_stream, aten._pin_memory)
free(*operators("set resize resize_as _resize_output"), *prims("as_strided resize"), "aten::shallow_copy_data_")
free(aten._efficientzerotensor)  # zeros that have no storage
free("_c10d_functional::wait_tensor", "_c10d_functional_autograd::wait_tensor")
free(nn.Identity)


# --- allocation, fills, random draws ---------------------------------------------------------------------------------

handles(aten.empty, aten.empty_like, aten.empty_strided, aten.empty_permuted, traffic=nothing_moves)(moves)
handles(aten.new_empty, aten.new_empty_strided, traffic=nothing_moves)(moves)
handles(*prims("empty empty_strided empty_permuted"), traffic=nothing_moves)(moves)

FILLS = operators(
    "zeros ones full scalar_tensor eye arange range linspace logspace tril_indices triu_indices fft_fftfreq "
    "fft_rfftfreq bartlett_window blackman_window hamming_window hann_window kaiser_window zeros_like ones_like "
    "full_like new_zeros new_ones new_full _new_zeros_with_same_feature_meta fill zero _foreach_zero"
)
RANDOM_FILLS = (
    *operators(
        "rand randn randint randperm rand_like randn_like randint_like uniform exponential geometric cauchy "
        "log_normal random normal_functional _philox_normal _philox_uniform _cudnn_init_dropout_state "
        "_fill_mem_eff_dropout_mask_"
    ),
    aten.bernoulli.p,
    *prims("full full_like fill scalar_tensor iota normal uniform"),
)
handles(*FILLS, *RANDOM_FILLS, traffic=sources_only)(moves)
# Draws whose parameters are tensors read them; the in-place forms only write.
handles(aten.normal, aten.bernoulli, aten.poisson, aten.binomial, aten.multinomial, traffic=overwrites)(moves)
handles(aten._standard_gamma, aten._sample_dirichlet, traffic=overwrites)(moves)


# --- copies: every element read and written --------------------------------------------------------------------------

COPIES = (
    *operators(
        "clone _to_copy lift_fresh_copy _lazy_clone _reshape_copy _copy_from repeat cat stack _stack _chunk_cat "
        "block_diag diag_embed roll flip rot90 tril triu complex pixel_shuffle pixel_unshuffle channel_shuffle "
        "native_channel_shuffle select_scatter slice_scatter diagonal_scatter as_strided_scatter nonzero "
        "nonzero_static equal _foreach_clone _mkldnn_transpose mkldnn_reorder_conv2d_weight "
        "mkldnn_reorder_conv3d_weight to_mkldnn _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned "
        "to_padded_tensor _nested_tensor_from_tensor_list _nested_from_padded _nested_from_padded_and_nested_example "
        "_jagged_to_padded_dense_forward _padded_dense_to_jagged_forward _nested_select_backward select_backward "
        "slice_backward diagonal_backward masked_scatter_backward _copy_from_and_resize"
    ),
    *(aten.repeat_interleave.Tensor, aten.repeat_interleave.Tensor_out),
    *prims("clone cat collapse convert_element_type copy_strided device_put reshape rev as_strided_scatter"),
)
handles(*COPIES)(moves)
handles(aten.copy, aten._foreach_copy, traffic=sources_only)(moves)
handles(aten.masked_scatter, "prims::copy_to", traffic=overwrites)(moves)
handles(nn.Flatten, nn.Unflatten, nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, traffic=moves_if_copied)(moves)

VIEW_COPIES = operators(
    "alias_copy as_strided_copy detach_copy diagonal_copy expand_copy narrow_copy permute_copy "
    "_reshape_alias_copy select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy "
    "transpose_copy unbind_copy unfold_copy unsqueeze_copy view_copy view_as_complex_copy view_as_real_copy "
    "_fw_primal_copy _make_dual_copy indices_copy values_copy _indices_copy _values_copy crow_indices_copy "
    "col_indices_copy ccol_indices_copy row_indices_copy _nested_get_values_copy _nested_view_from_buffer_copy "
    "_nested_view_from_jagged_copy _conj_copy _neg_view_copy"
)
LOOKUPS = operators("index _unsafe_index _unsafe_masked_index index_select gather take masked_select")
handles(*VIEW_COPIES, *LOOKUPS, traffic=picks)(moves)


# --- padding ---------------------------------------------------------------------------------------------------------

PADDING = (
    *operators(
        "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
        "replication_pad3d"
    ),
    *(nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d),
    *(nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d),
)
handles(*PADDING, traffic=picks)(moves)


@handles(aten.reflection_pad1d_backward, aten.reflection_pad2d_backward, traffic=reads_only("grad_output"))
@handles(aten.reflection_pad3d_backward, aten.replication_pad1d_backward, traffic=reads_only("grad_output"))
@handles(aten.replication_pad2d_backward, aten.replication_pad3d_backward, traffic=reads_only("grad_output"))
@handles(aten.unfold_backward)
def _(call: Call) -> Work:
    return _accumulate(call, call.input.numel())


# --- scattering ------------------------------------------------------------------------------------------------------


def _index_elements(call: Call) -> int:
    index: torch.Tensor = call["index"]
    return index.numel()


def _source_elements(call: Call) -> int:
    source: torch.Tensor = call["source"]
    return source.numel()


def _filled_slices(call: Call) -> int:
    """Elements of the slices that an index along one dimension names."""
    target: torch.Tensor = call.input
    return target.numel() // target.shape[call["dim"]] * _index_elements(call) if target.dim() else 1


def _indexed_elements(call: Call) -> int:
    """Elements that `target[indices]` names; a mask counts as if all of it were set (its dense bound)."""
    sizes: list[int] = list(call.input.shape)
    kept, plain, masked = 1, [], 1
    for index in call["indices"]:
        if index is None:
            kept *= sizes.pop(0)
        elif index.dtype in (torch.bool, torch.uint8):
            del sizes[: index.dim()]
            masked = most(masked, index.numel())
        else:
            del sizes[0]
            plain.append(index.shape)
    broadcast = prod(torch.broadcast_shapes(*plain))
    return kept * prod(sizes) * most(masked, broadcast)


def _accumulate(call: Call, elements: int) -> Work:
    return accumulate(elements=elements, each=real_flops(call.out))


handles(aten.scatter.src, aten.scatter.value, traffic=touches(_index_elements))(moves)
handles(aten.scatter_.src, aten.scatter_.value, traffic=touches(_index_elements))(moves)
handles(aten.scatter.src_out, aten.scatter.value_out, traffic=touches(_index_elements))(moves)
handles(aten.index_copy, traffic=touches(_source_elements))(moves)
handles(aten.index_fill, traffic=touches(_filled_slices))(moves)


@handles(aten.index_put, aten._unsafe_index_put, aten._index_put_impl, traffic=touches(_indexed_elements))
def _(call: Call) -> Work:
    return _accumulate(call, _indexed_elements(call) if call["accumulate"] else 0)


@handles(aten.put, traffic=touches(_index_elements))
def _(call: Call) -> Work:
    return _accumulate(call, _index_elements(call) if call["accumulate"] else 0)


@handles(aten._unsafe_masked_index_put_accumulate)
def _(call: Call) -> Work:
    return _accumulate(call, call["values"].numel())


@handles(aten.scatter_add, traffic=touches(_index_elements, reads_target=True))
@handles(aten.scatter.reduce, aten.scatter.value_reduce, traffic=touches(_index_elements, reads_target=True))
@handles(aten.scatter_.reduce, aten.scatter_.value_reduce, traffic=touches(_index_elements, reads_target=True))
@handles(aten.scatter.reduce_out, aten.scatter.value_reduce_out, traffic=touches(_index_elements, reads_target=True))
def _(call: Call) -> Work:
    return _accumulate(call, _index_elements(call))


@handles(aten.index_add, traffic=touches(_source_elements, reads_target=True))
def _(call: Call) -> Work:
    each = Operations(sums=1, products=int(call["alpha"] != 1))
    return accumulate(elements=_source_elements(call), each=each.flops(call.out.dtype))


@handles(aten.scatter_reduce, traffic=touches(_index_elements, reads_target=True))
def _(call: Call) -> Work:
    return _reduced(call, _index_elements(call))


@handles(aten.index_reduce, traffic=touches(_source_elements, reads_target=True))
def _(call: Call) -> Work:
    return _reduced(call, _source_elements(call))


def _reduced(call: Call, landing: int) -> Work:
    if call["reduce"] != "mean":
        return _accumulate(call, landing)
    return scatter_mean(elements=landing, outputs=call.elements, each=real_flops(call.out))


# --- collectives: what a rank hands in and receives; the sums of a reduction are done on the way ---------------------

COLLECTIVES = (
    *("all_reduce", "all_reduce_", "all_reduce_coalesced", "all_reduce_coalesced_", "broadcast", "broadcast_"),
    *("all_gather_into_tensor", "all_gather_into_tensor_out", "all_gather_into_tensor_coalesced"),
    *("reduce_scatter_tensor", "reduce_scatter_tensor_out", "reduce_scatter_tensor_coalesced", "all_to_all_single"),
)
DIFFERENTIABLE_COLLECTIVES = ("all_gather_into_tensor", "reduce_scatter_tensor", "all_to_all_single")
handles(*(f"_c10d_functional::{name}" for name in COLLECTIVES))(moves)
handles(*(f"_c10d_functional_autograd::{name}" for name in DIFFERENTIABLE_COLLECTIVES))(moves)
