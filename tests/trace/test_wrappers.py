"""However a model is wrapped, compiled, traced or pruned, its paths and MACs are those of the plain model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.utils import prune

import torchcost
from torchcost.errors import FakeExecutionError

ROWS = 4
MACS = ROWS * (16 * 8 + 8 * 8 + 8 * 4)
PARAMS = (16 * 8 + 8) + (8 * 8 + 8) + (8 * 4 + 4)
PATHS = ["", "stem", "block", "block.0", "block.1", "head"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`torch.distributed:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True:UserWarning"),
]


class Net(nn.Module):
    """Three Linear layers, 16 to 8 to 8 to 4, the middle one in a block of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(16, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.stem(x)))  # type: ignore[no-any-return]


def x() -> torch.Tensor:
    return torch.randn(ROWS, 16)


def paths(report: torchcost.Report) -> list[str]:
    return [node.path for node in report.nodes()]


def macs_by_path(report: torchcost.Report) -> dict[str, int]:
    return {node.path: node.own.macs for node in report.nodes() if node.own.macs}


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A real process group of one."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def four_ranks() -> Iterator[None]:
    """Rank 0 of a group of four, whose collectives move nothing."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield
    dist.destroy_process_group()


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "DataParallel": nn.DataParallel,
    "torch.compile": lambda net: torch.compile(net, backend="eager"),
    "DataParallel of torch.compile": lambda net: nn.DataParallel(torch.compile(net, backend="eager")),
    "CheckpointWrapper, reentrant": lambda net: checkpoint_wrapper(net, checkpoint_impl=CheckpointImpl.REENTRANT),
    "CheckpointWrapper": lambda net: checkpoint_wrapper(net, checkpoint_impl=CheckpointImpl.NO_REENTRANT),
}
wrappers = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


@wrappers
def test_a_wrapped_model_has_the_plain_models_paths_and_costs(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = Net()
    plain, report = torchcost.count(net, x()), torchcost.count(wrap(net), x())
    assert paths(report) == paths(plain) == PATHS
    assert (report.macs, report.params, report.total) == (MACS, PARAMS, plain.total)
    assert macs_by_path(report) == {"stem": ROWS * 128, "block.0": ROWS * 64, "head": ROWS * 32}


@wrappers
def test_a_wrapped_child_has_the_plain_childs_paths_and_costs(wrap: Callable[[nn.Module], nn.Module]) -> None:
    net = Net()
    plain = torchcost.count(net, x())
    net.block = wrap(net.block)
    net.head = wrap(net.head)
    report = torchcost.count(net, x())
    assert paths(report) == PATHS
    assert (report.total, report.params) == (plain.total, PARAMS)
    assert macs_by_path(report) == macs_by_path(plain)


@pytest.mark.parametrize("name", ["CheckpointWrapper, reentrant", "CheckpointWrapper"])
def test_a_checkpoint_wrapper_recomputes_its_module_in_backward(name: str) -> None:
    net = Net()
    net.block = WRAPPERS[name](net.block)
    report = torchcost.count(net, x(), backward=True)
    assert report.recompute.macs == report["block.0"].phase("recompute").macs == ROWS * 8 * 8
    assert report.macs == 3 * MACS - ROWS * 16 * 8 + ROWS * 8 * 8  # no gradient of x; the block once more


def test_a_wrapped_models_training_is_the_plain_models() -> None:
    net = Net()
    plain = torchcost.count(net, x(), backward=True)
    for wrap in (nn.DataParallel, WRAPPERS["torch.compile"]):
        assert torchcost.count(wrap(net), x(), backward=True).total == plain.total


def test_a_compiled_functions_forward_counts_under_its_module() -> None:
    net = Net()
    net.block.compile(backend="eager")
    report = torchcost.count(net, x())
    assert (paths(report), report.macs, report["block.0"].total.macs) == (PATHS, MACS, ROWS * 8 * 8)


@pytest.mark.usefixtures("one_process")
def test_a_distributed_model_has_the_plain_models_paths_and_costs() -> None:
    net = Net()
    plain = torchcost.count(net, x())
    wrapped = nn.parallel.DistributedDataParallel(net)
    report = torchcost.count(wrapped, x())
    assert (paths(report), report.macs, report.params) == (PATHS, MACS, PARAMS)
    assert (report.total, report.uncounted) == (plain.total, {})
    assert report.context["ranks"] == "work of rank 0 of 1, parameters of one"


@pytest.mark.usefixtures("one_process")
def test_training_a_distributed_model_adds_no_macs() -> None:
    report = torchcost.count(nn.parallel.DistributedDataParallel(Net()), x(), mode="train", backward=True)
    assert (report.forward.macs, report.backward.macs) == (MACS, 2 * MACS - ROWS * 16 * 8)
    assert report.uncounted == {}


@pytest.mark.usefixtures("four_ranks")
def test_a_sharded_model_counts_the_whole_products_of_one_rank() -> None:
    net = sharded(Net())
    report = torchcost.count(net, x(), backward=True)
    assert (paths(report), report.params, report.uncounted) == (PATHS, PARAMS, {})
    assert (report.forward.macs, report.backward.macs) == (MACS, 2 * MACS - ROWS * 16 * 8)
    assert macs_by_path(report)["block.0"] == 3 * ROWS * 8 * 8
    assert report.context["ranks"] == "work of rank 0 of 4, parameters of all ranks"


@pytest.mark.usefixtures("four_ranks")
def test_a_sharded_model_can_be_counted_twice() -> None:
    net = sharded(Net())
    first, second = torchcost.count(net, x()), torchcost.count(net, x())  # its root stays gathered after the first
    assert macs_by_path(first) == macs_by_path(second) == macs_by_path(torchcost.count(Net(), x()))


def sharded(net: Net) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (4,))
    for module in (net.block, net):
        fully_shard(module, mesh=mesh)
    return net


def test_without_a_process_group_no_ranks_are_named() -> None:
    assert "ranks" not in torchcost.count(Net(), x()).context


SCRIPTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "torch.jit.script": torch.jit.script,
    "torch.jit.trace": lambda net: torch.jit.trace(net, torch.ones(ROWS, next(net.parameters()).shape[1])),
    "torch.fx": torch.fx.symbolic_trace,
    "torch.export": lambda net: torch.export.export(net, (torch.ones(ROWS, next(net.parameters()).shape[1]),)).module(),
}
scripts = pytest.mark.parametrize("made", SCRIPTS.values(), ids=SCRIPTS)


@scripts
def test_a_scripted_or_traced_model_costs_what_the_plain_one_does(made: Callable[[nn.Module], nn.Module]) -> None:
    net = Net().eval()
    plain, report = torchcost.count(net, x()), torchcost.count(made(net), x())
    assert (report.macs, report.flops, report.params) == (MACS, plain.flops, PARAMS)
    assert report.uncounted == {}
    assert set(PATHS) - set(paths(report)) <= {"block.1"}  # export drops what holds no weight


@scripts
def test_a_scripted_or_traced_child_costs_what_the_plain_one_does(made: Callable[[nn.Module], nn.Module]) -> None:
    net = Net().eval()
    plain = torchcost.count(net, x())
    net.block = made(net.block)
    report = torchcost.count(net, x())
    assert (report.macs, report.flops, report.params) == (MACS, plain.flops, PARAMS)
    assert report["block"].total.macs == ROWS * 8 * 8


@pytest.mark.parametrize("name", ["torch.fx", "torch.export"])
def test_a_traced_graph_runs_on_fakes(name: str) -> None:
    made = SCRIPTS[name](Net().eval())
    assert torchcost.count(made, x(), execution="fake").total == torchcost.count(made, x()).total


def test_a_functional_call_counts_under_the_modules_it_runs() -> None:
    net = Net()
    weights = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    with torchcost.CostCounter(net) as counter:
        functional_call(net, weights, (x(),))
    assert macs_by_path(counter.report) == macs_by_path(torchcost.count(net, x()))


def test_an_ensemble_under_vmap_counts_every_member() -> None:
    nets = [Net() for _ in range(3)]
    weights, buffers = stack_module_state(nets)
    base = copy.deepcopy(nets[0])
    with torchcost.CostCounter(base) as counter:
        vmap(lambda w, b, v: functional_call(base, (w, b), (v,)), in_dims=(0, 0, None))(weights, buffers, x())
    assert counter.report.macs == 3 * MACS
    assert counter.report["head"].total.macs == 3 * ROWS * 8 * 4


def test_per_sample_gradients_count_forward_and_both_products_of_backward() -> None:
    net = nn.Linear(16, 8, bias=False)
    weights = {name: p.detach() for name, p in net.named_parameters()}

    def loss(w: dict[str, torch.Tensor], row: torch.Tensor) -> torch.Tensor:
        return functional_call(net, w, (row[None],)).sum()  # type: ignore[no-any-return]

    with torchcost.CostCounter(net) as counter:
        vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x())
    assert counter.report.macs == 2 * ROWS * 16 * 8  # the rows need no gradient


def test_a_lazy_model_is_counted_on_a_copy_and_stays_lazy() -> None:
    net = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(4))
    report = torchcost.count(net, x())
    assert (report.macs, report.params) == (ROWS * (16 * 8 + 8 * 4), 16 * 8 + 8 + 2 * 8 + 8 * 4 + 4)
    assert paths(report) == ["", "0", "1", "2", "3"]
    assert isinstance(net[0], nn.LazyLinear)
    assert net[0].has_uninitialized_params()


def test_a_lazy_model_costs_what_its_materialised_self_does() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    image = torch.randn(2, 3, 6, 6)
    lazy = torchcost.count(net, image)
    net(image)
    assert lazy.total == torchcost.count(net, image).total


def test_a_pruned_layer_runs_the_whole_product_and_its_mask() -> None:
    net = Net()
    prune.l1_unstructured(net.stem, "weight", amount=0.5)
    report = torchcost.count(net, x())
    assert (paths(report), report.macs, report.params) == (PATHS, MACS, PARAMS)
    assert report.other_flops == 16 * 8 + ROWS * 8  # weight_orig * mask, then the block's ReLU
    prune.remove(net.stem, "weight")
    assert torchcost.count(net, x()).other_flops == ROWS * 8  # the block's ReLU


def test_the_old_weight_norm_adds_no_macs() -> None:
    net = Net()
    nn.utils.weight_norm(net.stem)
    report = torchcost.count(net, x())
    assert (paths(report), report["stem"].total.macs, report.macs) == (PATHS, ROWS * 16 * 8, MACS)
    assert (report.params, report.uncounted) == (PARAMS + 8, {})  # a magnitude for each output


def test_the_old_spectral_norm_adds_the_products_of_its_sigma() -> None:
    net = Net()
    nn.utils.spectral_norm(net.stem)
    report = torchcost.count(net, x())
    assert (paths(report), report["stem"].total.macs, report.uncounted) == (PATHS, ROWS * 16 * 8, {})
    assert report.macs == MACS + 8 * 16 + 8  # u . (W v)


def test_the_new_norms_count_their_own_work_under_their_own_path() -> None:
    net = Net()
    nn.utils.parametrizations.weight_norm(net.stem)
    report = torchcost.count(net, x())
    assert report.macs == MACS
    assert "stem.parametrizations.weight.0" in paths(report)


def test_wrapping_leaves_nothing_on_the_model() -> None:
    net: Any = Net()
    torchcost.count(nn.DataParallel(net), x())
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()] == [0] * len(PATHS)


def test_a_profilers_mark_costs_nothing() -> None:
    class Marked(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.profiler.record_function("marked"):
                return super().forward(x)

    report = torchcost.count(Marked(), x(), backward=True)
    assert (report.forward.macs, report.uncounted) == (MACS, {})


@pytest.mark.usefixtures("four_ranks")
def test_a_tensor_parallel_model_counts_its_ranks_share() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    net = nn.Sequential(nn.Linear(16, 8, bias=False), nn.ReLU(), nn.Linear(8, 16, bias=False))
    plan = {"0": ColwiseParallel(), "2": RowwiseParallel()}
    parallelize_module(net, init_device_mesh("cpu", (4,)), plan)
    report = torchcost.count(net, x(), backward=True)
    share = ROWS * 16 * 8 // 4
    assert [report[path].phase("forward").macs for path in ("", "0", "2")] == [2 * share, share, share]
    assert (report.params, report.uncounted) == (2 * 16 * 8, {})
    assert report.context["ranks"] == "work of rank 0 of 4, parameters of all ranks"


COLLECTIVES: dict[str, tuple[Callable[[torch.Tensor], object], int, int]] = {
    "all_reduce": (dist.all_reduce, 8, 8),
    "broadcast": (lambda t: dist.broadcast(t, 0), 8, 8),
    "all_gather_into_tensor": (lambda t: dist.all_gather_into_tensor(torch.zeros(32), t), 8, 32),
    "all_gather": (lambda t: dist.all_gather([torch.zeros(8) for _ in range(4)], t), 8, 32),
    "reduce_scatter_tensor": (lambda t: dist.reduce_scatter_tensor(torch.zeros(2), t), 8, 2),
    "all_to_all_single": (lambda t: dist.all_to_all_single(torch.zeros(8), t), 8, 8),
}


@pytest.mark.usefixtures("four_ranks")
@pytest.mark.parametrize("name", COLLECTIVES)
def test_a_collective_reads_its_operand_and_writes_its_result(name: str) -> None:
    run, reads, writes = COLLECTIVES[name]
    with torchcost.CostCounter() as counter:
        run(torch.ones(8))
    cost = sum((c for target, c in counter.report.by_operator().items() if target.startswith("c10d")), torchcost.Cost())
    assert (counter.report.flops, counter.report.uncounted) == (0, {})
    assert (cost.bytes_read, cost.bytes_written) == (4 * reads, 4 * writes)


# --- what has no fake ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_process")
def test_a_distributed_models_backward_on_fakes_is_refused_with_the_cure() -> None:
    wrapped = nn.Sequential(nn.parallel.DistributedDataParallel(Net()))
    assert torchcost.count(wrapped, x(), execution="fake").macs == MACS
    with pytest.raises(FakeExecutionError, match=r"'0' is a DistributedDataParallel.*execution='real'"):
        torchcost.count(wrapped, x(), execution="fake", backward=True)


@pytest.mark.usefixtures("four_ranks")
def test_a_sharded_model_has_no_twin_and_says_so() -> None:
    with pytest.raises(FakeExecutionError, match=r"'block' \(FSDPSequential\) cannot be copied.*execution='real'"):
        torchcost.count(sharded(Net()), x(), execution="fake")
