"""Signals end a run: after its step, at once where it only reads, and after a while where it hangs."""

import os
import signal
import threading
import time

import pytest

from resources import interrupt
from resources.interrupt import Interrupted, Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_step(number: int) -> None:
    with Signals() as signals:
        os.kill(os.getpid(), number)
        time.sleep(0.05)
        assert signals.number == number
        with pytest.raises(Interrupted), signals.at_once():
            raise AssertionError
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_within_long_reading_ends_it_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
        with pytest.raises(Interrupted, match="SIGTERM") as caught, signals.at_once():
            threading.Event().wait(30)
        assert caught.value.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_step_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE_S", 1)
    with Signals():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            time.sleep(60)


def test_no_alarm_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with Signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.alarm(0) == 0
