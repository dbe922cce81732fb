"""The journal of a summary: each call has records of its own, in whichever thread it runs."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from torch import nn

from torchcost.torchinfo import calls
from torchcost.torchinfo.structure import structure


def test_two_threads_that_enter_at_once_share_no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second enters while the first is making its call, and must wait until that is done."""
    model = nn.Sequential(nn.ReLU(), nn.Tanh())
    journal, make, others = calls.Calls(structure(model), learns=False), calls.Call, list[Thread]()

    def interrupted(**fields: Any) -> calls.Call:
        if not others:
            others.append(Thread(target=journal.entered, args=("1", model[1], (), {})))
            others[0].start()
            others[0].join(timeout=0.2)
        return make(**fields)

    monkeypatch.setattr(calls, "Call", interrupted)
    journal.entered("0", model[0], (), {})
    others[0].join()
    first, second = journal.calls
    assert first.records is not second.records
