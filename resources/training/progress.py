"""How far a run is: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import rich.console
import rich.progress

LINE_EVERY = 50
"""Steps a line where there is no terminal."""


LINE_EVERY_S = 30.0
"""Between lines about something that takes a while, where there is no terminal."""

T = TypeVar("T")


def tracked(items: Sequence[T], what: str, quiet: bool) -> Iterator[T]:
    """The items, with progress and time left: a bar in a terminal, else lines."""
    console = rich.console.Console(stderr=True)
    if quiet or console.is_terminal:
        yield from rich.progress.track(items, what, console=console, transient=True, disable=quiet)
        return
    started = printed = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - printed >= LINE_EVERY_S:
            left_s = (now - started) / done * (len(items) - done)
            print(f"{what} {done}/{len(items)}, {left_s:.0f} s left", flush=True)
            printed = now


class Progress:
    """Of one process; others, quiet, say nothing. what: is counted, from `done` to `total`."""

    def __init__(self, what: str, done: int, total: int, quiet: bool):
        self._what, self._total, self._first, self._quiet = what, total, done, quiet
        self._started = time.monotonic()
        self._bar: rich.progress.Progress | None = None
        if not quiet and sys.stderr.isatty():
            columns = [
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TimeRemainingColumn(),
                rich.progress.TextColumn("{task.fields[text]}"),
            ]
            self._bar = rich.progress.Progress(*columns, console=rich.console.Console(stderr=True))
            self._task = self._bar.add_task(what, total=total, completed=done, text="")
            self._bar.start()

    def step(self, done: int, losses: dict[str, float], waiting: float | None) -> None:
        """done: steps. waiting: share of the time since the last line that went into waiting for data."""
        text = ", ".join(f"{name} {value:z.3f}" for name, value in losses.items())
        if waiting is not None:
            text = f"{text}; {waiting:.1%} waiting for data"
        if self._bar is not None:
            self._bar.update(self._task, completed=done, text=text)
        elif not self._quiet and (done % LINE_EVERY == 0 or done == self._total):
            self.say(f"{self._what} {done}/{self._total}: {text}; {self._left(done)} left")

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False)
        elif not self._quiet:
            print(text, flush=True)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Others show how far they are."""
        if self._bar is not None:
            self._bar.stop()
        yield
        if self._bar is not None:
            self._bar.start()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _left(self, done: int) -> str:
        spent_s = time.monotonic() - self._started
        seconds = spent_s / max(1, done - self._first) * (self._total - done)
        return str(datetime.timedelta(seconds=round(seconds)))
