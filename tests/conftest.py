"""What holds for every test: one thread, one seed, and nothing of torchcost left in the process afterwards."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import settings
from torch.nn.attention import flex_attention as flex
from torch.nn.modules import module as hooks
from torch.utils.hooks import RemovableHandle

from torchcost.handlers import registry
from torchcost.trace import families  # noqa: F401  (registers every counting rule)

torch.set_num_threads(1)
settings.register_profile("torchcost", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("torchcost")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test starts from one seed and must leave no mode, flag or hook behind; the rules it adds are forgotten."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    before, rules = process_state(), dict(registry._RULES)
    with pytest.MonkeyPatch.context() as patch:
        made = record_hooks(patch)
        yield
    registry._RULES.clear()
    registry._RULES.update(rules)
    assert process_state() == before
    assert not [hook for hook in map(hook_in_place, made) if getattr(hook, "__module__", "").startswith("torchcost")]


def process_state() -> dict[str, object]:
    """Everything of torch that is global to the process or thread and that a measurement might change."""
    return {
        "dispatch modes": torch._C._len_torch_dispatch_stack(),
        "function modes": torch._C._len_torch_function_stack(),
        "global hooks": [len(value) for name, value in vars(hooks).items() if name.endswith("_hooks")],
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch._C._is_any_autocast_enabled(),
        "multithreading": torch.autograd.is_multithreading_enabled(),
        "saved tensor hooks": torch._C._autograd._top_saved_tensors_default_hooks(True),
        "attention fast path": torch.backends.mha.get_fastpath_enabled(),
        "flex attention uncompiled": flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG,
        "threads": (threading.Thread.start, ThreadPoolExecutor.submit),
        "default dtype": torch.get_default_dtype(),
        "default device": torch.get_default_device(),
        "bmm": torch.bmm,
        "scaled_dot_product_attention": torch.nn.functional.scaled_dot_product_attention,
    }


def record_hooks(patch: pytest.MonkeyPatch) -> list[RemovableHandle]:
    """The handle of every hook that is registered from now on."""
    made: list[RemovableHandle] = []
    original = RemovableHandle.__init__

    def recorded(handle: RemovableHandle, *args: object, **kwargs: object) -> None:
        original(handle, *args, **kwargs)
        made.append(handle)

    patch.setattr(RemovableHandle, "__init__", recorded)
    return made


def hook_in_place(handle: RemovableHandle) -> object:
    """The hook that a handle stands for, if it is still on a live module."""
    return (handle.hooks_dict_ref() or {}).get(handle.id)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names for parameters whose repr holds an address or numbers: every xdist worker must see the same."""
    if isinstance(val, torch.Tensor):
        return f"{argname}{list(val.shape)}"
    if isinstance(val, str | int | float | type | None):
        return None
    text = repr(val)
    return argname if " at 0x" in text or "tensor(" in text or "\n" in text else text[:60]
