"""Progress prints lines in a log, knows the time left, and stays silent when told."""

import pytest

from embodkd.core.runs.progress import duration, progress


def test_lines_carry_percent_time_left_and_scalars(capsys):
    with progress(4, "distil", every_s=0.0) as shown:
        shown.advance(1, loss=0.25)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("distil:  25% in") and "left" in lines[0] and lines[0].endswith("loss 0.25")


def test_lines_are_rare_and_the_last_one_comes(capsys):
    with progress(100, "distil", every_s=60.0) as shown:
        for _ in range(100):
            shown.advance()
    assert capsys.readouterr().err.splitlines() == ["distil: 100% in 0s"]


def test_more_than_was_asked_for_is_a_hundred_percent(capsys):
    with progress(3, "distil", every_s=0.0) as shown:
        shown.advance(4)
    assert capsys.readouterr().err.splitlines() == 2 * ["distil: 100% in 0s"]


def test_quiet_prints_nothing(capsys):
    with progress(1, "distil", quiet=True, every_s=0.0) as shown:
        shown.advance()
    assert capsys.readouterr().err == ""


def test_work_done_before_a_resume_does_not_count_for_the_pace():
    with progress(100, "distil", done=50, quiet=True) as shown:
        assert shown.eta_s() is None
        shown.advance(25)
        assert shown.eta_s() < 1.0


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (75.2, "1m15s"), (3700, "1h01m"), (-3, "0s")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
