"""A fake kernel that fails logs the traceback of what it then raises, which whoever gets the exception has already."""

from __future__ import annotations

import logging

from torchcost.trace.patch import Patch

__all__ = ["FAKES_UNLOGGED"]

FAKES_UNLOGGED = Patch(lambda: logging.getLogger("torch._subclasses.fake_tensor"), "disabled", True)
"""The patch that keeps it out of the log."""
