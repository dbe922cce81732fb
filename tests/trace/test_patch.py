"""A patched attribute: set while anyone needs it, given back after the last, whatever others did meanwhile."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from torchcost.trace.patch import Patch, applied


def test_it_stays_until_the_last_of_overlapping_blocks_ends() -> None:
    owner = SimpleNamespace(flag=False)
    patch = Patch(lambda: owner, "flag", True)
    first, second = applied(patch), applied(patch)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert owner.flag is True
    second.__exit__(None, None, None)
    assert owner.flag is False


def test_an_owner_that_is_not_loaded_is_let_be_and_one_loaded_later_is_patched_by_the_next() -> None:
    loaded: list[SimpleNamespace] = []
    patch = Patch(lambda: loaded[0] if loaded else None, "flag", True)
    with applied(patch):
        loaded.append(SimpleNamespace(flag=False))
        with applied(patch):
            assert loaded[0].flag is True
    assert loaded[0].flag is False


def test_what_somebody_else_set_meanwhile_stays() -> None:
    owner = SimpleNamespace(flag="original")
    patch = Patch(lambda: owner, "flag", "ours")
    with applied(patch):
        owner.flag = "theirs"
    with applied(patch):
        assert (owner.flag, patch.original) == ("theirs", "original")
    assert owner.flag == "theirs"


@pytest.mark.parametrize("flags", [(True,), (False, True), (True, False)])
def test_a_flag_that_is_set_already_stays_set(flags: tuple[bool, ...]) -> None:
    owner = SimpleNamespace()
    patch = Patch(lambda: owner, "flag", True)
    for owner.flag in flags:
        before = owner.flag
        with applied(patch):
            assert owner.flag is True
        assert owner.flag is before


def test_an_inherited_attribute_is_patched_on_the_owner_alone_and_inherited_again_after() -> None:
    class Base:
        flag = "base"

    class Owner(Base):
        pass

    patch = Patch(lambda: Owner, "flag", "ours")
    with applied(patch):
        assert (Owner.flag, Base.flag, patch.original) == ("ours", "base", "base")
    Base.flag = "later"
    assert Owner.flag == "later"


def test_a_static_method_is_given_back_as_one() -> None:
    class Owner:
        @staticmethod
        def answer() -> str:
            return "original"

    patch = Patch(lambda: Owner, "answer", staticmethod(lambda: f"not {patch.original()}"))
    with applied(patch):
        assert Owner().answer() == "not original"
    assert Owner().answer() == "original"


@pytest.fixture(name="module")
def module_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "torchcost_arrives.py").write_text("flag = False\nseen = flag\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchcost_arrives", raising=False)
    return "torchcost_arrives"


def test_a_module_that_is_loaded_while_it_is_to_be_patched_is_patched(module: str) -> None:
    with applied(Patch(module, "flag", True)):
        arrived = __import__(module)
        assert (arrived.flag, arrived.seen) == (True, False)
    assert arrived.flag is False


def test_a_module_that_is_loaded_after_the_block_is_as_it_is(module: str) -> None:
    finders = [*sys.meta_path]
    with applied(Patch(module, "flag", True)):
        assert len(sys.meta_path) == len(finders) + 1
    assert sys.meta_path == finders
    assert __import__(module).flag is False


def test_what_loaded_it_is_as_without_us(module: str) -> None:
    with applied(Patch(module, "flag", True)):
        arrived = __import__(module)
    assert arrived.__spec__.loader is arrived.__loader__
    assert "exec_module" not in vars(arrived.__loader__)
