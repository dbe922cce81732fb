"""A patched attribute: set while anyone needs it, given back after the last, whatever others did meanwhile."""

from __future__ import annotations

from types import SimpleNamespace

from torchcost.trace.patch import Patch


def test_it_stays_until_the_last_of_overlapping_blocks_ends() -> None:
    owner = SimpleNamespace(flag=False)
    patch = Patch(lambda: owner, "flag", True)
    first, second = patch.applied(), patch.applied()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert owner.flag is True
    second.__exit__(None, None, None)
    assert owner.flag is False


def test_an_owner_that_is_not_loaded_is_let_be_and_one_loaded_later_is_patched_by_the_next() -> None:
    loaded: list[SimpleNamespace] = []
    patch = Patch(lambda: loaded[0] if loaded else None, "flag", True)
    with patch.applied():
        loaded.append(SimpleNamespace(flag=False))
        with patch.applied():
            assert loaded[0].flag is True
    assert loaded[0].flag is False


def test_what_somebody_else_set_meanwhile_stays() -> None:
    owner = SimpleNamespace(flag="original")
    patch = Patch(lambda: owner, "flag", "ours")
    with patch.applied():
        owner.flag = "theirs"
    with patch.applied():
        assert (owner.flag, patch.original) == ("theirs", "original")
    assert owner.flag == "theirs"
