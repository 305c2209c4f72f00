"""SIGTERM and SIGINT: a step is finished first, long reading is left at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):
    """A signal ended the run; what was to be kept is on the disk. The shell's exit code is 128 + number."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


PATIENCE_S = 180
"""Time in which a step is finished and its checkpoint written; what takes longer hangs."""


class Signals:
    """As a context: the signal that came is kept in `number` until someone asks.

    Where nobody has asked for `PATIENCE_S`, it raises Interrupted anyway.
    """

    def __init__(self) -> None:
        self.number = 0
        self._at_once = False
        self._before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def __enter__(self) -> Signals:
        self._before[signal.SIGALRM] = signal.getsignal(signal.SIGALRM)
        for number in self._before:
            signal.signal(number, self._came)
        return self

    def __exit__(self, *_: object) -> None:
        signal.alarm(0)
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _came(self, number: int, _: FrameType | None) -> None:
        if number != signal.SIGALRM:
            self.number = number
            signal.alarm(PATIENCE_S)
        if self._at_once or number == signal.SIGALRM:
            raise Interrupted(self.number)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it a signal raises Interrupted where it comes: for what can be taken up again."""
        if self.number:
            raise Interrupted(self.number)
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False
