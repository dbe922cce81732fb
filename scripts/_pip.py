"""What pip is not told by the environment's settings, and what it said where it refused."""

from __future__ import annotations

import re
from collections.abc import Mapping

ELSEWHERE = {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON"}

# The first that pip's log matches. A conflict and a full disk are certain; an index that was out of reach may be one of
# several, and a package that was not found is often a consequence of that.
CURES = (
    (
        r"ResolutionImpossible",
        "Loosen what it names: a constraint is pip's (pip config list, PIP_CONSTRAINT) or scripts/constraints.txt's.",
    ),
    (
        r"No space left on device|Errno 28\b|Errno 122\b|WinError 112\b",
        "A disk is full: that of the checkout, of pip's cache (pip cache purge) or of TMPDIR. Make room there.",
    ),
    (
        r"externally-managed-environment",
        "The pip it used serves a Python that its system manages. Give this one its own: apt-get install python3-venv.",
    ),
    (
        r"Can ?not perform a '--user' install|Can not combine '--user'",
        "pip is told to install for the user, which .venv cannot do: pip config unset global.user (or install.user).",
    ),
    (
        r"Max retries exceeded|NewConnectionError|name resolution|Timeout|timed out|ProxyError|SSL|connection error",
        "An index was out of reach: look at the network, and at pip's index, proxy and cert (pip config list).",
    ),
    (r"Permission ?denied|PermissionError|Errno 13\b|WinError 5\b", "Look who may write in the place that it names."),
    (
        r"No matching distribution found",
        "pip's index has none for this Python and machine: look at index-url, no-index, find-links (pip config list).",
    ),
)
ANY_CURE = "Look at the network and at pip's own settings (pip config list)."


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip: its index, proxies and constraints stay, what leads past `.venv` does not."""
    kept = {name: value for name, value in environment.items() if name.upper() not in ELSEWHERE}
    return {**kept, "PIP_USER": "0"}


def messages(log: str) -> str:
    """A `pip --log` without the times that each line begins with."""
    return re.sub(r"^\d{4}-\d\d-\d\dT[\d:,]+ ", "", log, flags=re.MULTILINE)


def conflict(log: str) -> str:
    """The lines that name who wants what, which pip says one level below its errors; '' if nothing conflicts."""
    found = re.search(r"^The conflict is caused by:\n(?:[ \t]+.*\n)+", messages(log), re.MULTILINE)
    return found[0] if found else ""


def cure(log: str) -> str:
    """What to do about the cause that pip named."""
    return next((cure for words, cure in CURES if re.search(words, log)), ANY_CURE)
