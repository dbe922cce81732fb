"""Work in a process of its own, with a limit on its time and its memory."""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

__all__ = ["Limits", "StoppedError", "Workshop"]

GIB = 2**30


class StoppedError(Exception):
    """Why work gave no answer: what it raised, that it died, or that it took too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    seconds: float = 300
    gib: float = 12

    def set_here(self) -> None:
        """Where the system can: private memory of this process, so that greed raises MemoryError and kills nobody."""
        if sys.platform == "linux" and self.gib:
            import resource

            resource.setrlimit(resource.RLIMIT_DATA, (int(self.gib * GIB),) * 2)


class Workshop:
    """Runs `work(name)` in a new process each; where the system can fork, `preload` is imported once for all."""

    def __init__(self, work: Callable[[str], Any], limits: Limits, preload: Sequence[str] = ()) -> None:
        self._work = work
        self._limits = limits
        known = multiprocessing.get_all_start_methods()
        self._context: Any = multiprocessing.get_context("forkserver" if "forkserver" in known else "spawn")
        if "forkserver" in known:
            self._context.set_forkserver_preload(list(preload))

    def run(self, name: str) -> Any:
        """What `work` returned, which can be pickled; raises StoppedError where it returned nothing."""
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(target=deliver, args=(self._work, name, self._limits, there))
        process.start()
        there.close()
        try:
            return self._received(here, process)
        finally:
            process.kill()
            process.join()
            here.close()

    def _received(self, here: Connection, process: BaseProcess) -> Any:
        if not here.poll(self._limits.seconds):
            raise StoppedError(f"took longer than {self._limits.seconds:g} s")
        try:
            answer, failure = here.recv()
        except EOFError:
            process.join()
            raise StoppedError(f"its process died with exit code {process.exitcode}") from None
        if failure:
            raise StoppedError(failure)
        return answer


def deliver(work: Callable[[str], Any], name: str, limits: Limits, there: Connection) -> None:
    """Sends what the work returned, or what it raised in a sentence: other people's models may raise anything."""
    limits.set_here()
    warnings.simplefilter("ignore")  # what libraries warn of is about values
    try:
        answer, failure = work(name), ""
    except Exception as error:
        answer, failure = None, f"{type(error).__name__}: {error}".splitlines()[0][:300]
    there.send((answer, failure))
