"""The tree of modules: its law, its parameters, and where a record belongs."""

from __future__ import annotations

import pytest

from tests.tree.builders import attention, module, parameter, record, report, samples, stack
from torchcost.cost import Cost


@pytest.mark.parametrize("name", samples())
def test_a_total_is_its_own_and_its_childrens(name: str) -> None:
    for node in samples()[name].nodes():
        assert node.total == sum((child.total for child in node.children), node.own)


@pytest.mark.parametrize("name", samples())
def test_the_whole_is_every_record_once(name: str) -> None:
    summary = samples()[name]
    assert summary.macs == sum(call.cost.macs * call.times for call in summary.records if call.cost is not None)


def test_equal_calls_count_as_often_as_they_ran() -> None:
    assert report(records=[record("", macs=3, times=5)]).macs == 15


def test_a_tied_weight_counts_once_above_and_in_each_place() -> None:
    net = stack(3, shared=True)
    assert (net.params, net["blocks"].params) == (16, 16)
    assert [net[f"blocks.{place}"].params for place in range(3)] == [16, 16, 16]


def test_trainable_frozen_and_buffers_are_apart() -> None:
    kinds = ["trainable", "frozen", "buffer", "unsaved buffer"]
    held = tuple(parameter(10**key, key=key, kind=kind) for key, kind in enumerate(kinds))
    count = report([module("", parameters=held)]).parameters
    assert (count.total, count.trainable, count.frozen, count.buffers) == (11, 1, 10, 1100)
    assert (count.bytes, count.buffer_bytes, count.checkpoint_bytes) == (44, 4400, 444)


def test_a_record_of_an_unknown_path_belongs_to_the_nearest_module() -> None:
    net = report([module(""), module("a"), module("a.b.c")], [record("a.b.x", macs=1), record("z.y", macs=2)])
    assert (net["a"].own.macs, net["a.b.c"].own.macs, net.root.own.macs) == (1, 0, 2)
    assert [child.path for child in net["a"].children] == ["a.b.c"]


def test_without_modules_the_root_has_it_all() -> None:
    net = report(records=[record("somewhere", macs=7)])
    assert [node.path for node in net.nodes()] == [""]
    assert net.root.own.macs == 7


def test_phases_share_the_total() -> None:
    phases = ("forward", "backward", "recompute")
    net = report([module("a")], [record("a", phase=phase, macs=10**place) for place, phase in enumerate(phases)])
    assert [net["a"].phase(phase).macs for phase in phases] == [1, 10, 100]
    assert [cost.macs for cost in (net.forward, net.backward, net.recompute)] == [1, 10, 100]
    assert net.root.total.macs == 111


def test_unknown_work_is_named_and_in_no_sum() -> None:
    net = stack()
    assert [call.target for call in net["rope"].uncounted] == ["mylib.rotate"]
    assert net["rope"].total == Cost()
    assert net.uncounted == {"mylib.rotate": ["rope"]}


def test_nodes_come_parents_first_in_the_models_order() -> None:
    assert [node.path for node in attention().nodes()] == ["", "attn", "attn.out_proj", "spare"]


def test_a_wrong_path_is_answered_with_a_close_one() -> None:
    with pytest.raises(KeyError, match=r"No module 'blocks\.1\.f'\. Did you mean 'blocks\.1\.fc'"):
        stack()["blocks.1.f"]


def test_a_name_from_elsewhere_is_answered_by_its_last_part() -> None:
    with pytest.raises(KeyError, match=r"Did you mean 'blocks\.0\.fc' or 'blocks\.1\.fc' or 'blocks\.2\.fc'"):
        stack()["transformer.encoder.layers.7.attention.fc"]


def test_a_report_is_a_mapping_of_paths() -> None:
    assert list(attention()) == ["", "attn", "attn.out_proj", "spare"]
    assert "attn" in attention()
    assert "x" not in attention()
    with pytest.raises(TypeError, match=r"found by its path, report\['layer1\.0'\], not by 0"):
        attention()[0]


def test_coverage_is_counted_calls_over_all() -> None:
    assert stack(3).coverage == 9 / 11  # three calls a block, and two of an unknown operator
    assert attention().coverage == 1.0


def test_accesses_weigh_as_much_as_is_asked() -> None:
    """Seed 001's MobileNet V1: 254,761,472 MACs and 282,612,864 accesses, at 100 MACs an access."""
    first = Cost(macs=254_761_472, uncached_inputs=282_000_000, uncached_weights=612_000, uncached_outputs=864)
    assert first.weighed() == 28_516_047_872
    assert Cost(macs=3, uncached_outputs=4).weighed(10) == 43
