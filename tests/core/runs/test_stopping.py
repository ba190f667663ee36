"""A first signal is heard at the next place for a checkpoint, a second one at once."""

import os
import signal
import threading

import pytest

from embodkd.core.runs.stopping import SIGNALS, Stopped, stoppable

every_signal = pytest.mark.parametrize("number", SIGNALS)


def send(number):
    os.kill(os.getpid(), number)


@every_signal
def test_a_first_signal_is_noted_and_what_was_set_before_comes_back(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with pytest.raises(Stopped, match=r"runs/a, update 7: stopped, .*resume=true") as caught, stoppable() as stop:
        assert not stop.asked
        send(number)
        assert stop.asked
        stop.leave("runs/a, update 7")
    assert caught.value.number == number and [signal.getsignal(n) for n in SIGNALS] == before


@every_signal
def test_a_second_signal_leaves_at_once(number):
    reached = []
    with pytest.raises(Stopped, match="at once") as caught, stoppable():
        send(signal.SIGTERM)
        reached.append(1)
        send(number)
        reached.append(2)
    assert reached == [1] and caught.value.number == number


def test_a_signal_that_nobody_looked_at_is_not_lost():
    with pytest.raises(Stopped), stoppable():
        send(signal.SIGTERM)


def test_an_ignored_signal_stays_ignored():
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable() as stop:
            send(signal.SIGINT)
            assert not stop.asked and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, former)


def test_in_another_thread_and_where_nobody_wants_it_nothing_changes():
    before, seen = [signal.getsignal(n) for n in SIGNALS], []

    def look():
        with stoppable(False):
            seen.append([signal.getsignal(n) for n in SIGNALS])
        if threading.current_thread() is not threading.main_thread():
            with stoppable():
                seen.append([signal.getsignal(n) for n in SIGNALS])

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before] * 3
