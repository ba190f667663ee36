"""What a sweep says of a run that fails, where a launcher of Hydra's carries it out in another process."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from embodkd.cli.compose import _Stop
from embodkd.cli.errors import show
from embodkd.cli.over_studies import Elsewhere, Several


def raised(function) -> Exception:
    try:
        function()
    except Exception as error:
        return error
    raise AssertionError("it was to fail")


def refused() -> None:
    from embodkd.core.config.schema import build

    build(refused, {"lerning_rate": 1}, "method")


class Own(ValueError):
    """Cannot be rebuilt from its text alone."""

    def __init__(self, what: str, where: str) -> None:
        super().__init__(f"{where}: {what}")


def elsewhere(error: Exception) -> Exception:
    return pickle.loads(pickle.dumps(_Stop(error))).error


def again(error: Exception) -> None:
    """Raise it where `compose` does."""
    exec(compile("raise error", "compose.py", "exec"), {"__name__": "embodkd.cli.compose", "error": error})


def test_an_error_said_on_purpose_comes_with_message_notes_and_exit_code_through_a_pickle(capsys) -> None:
    error = raised(refused)
    error.add_note("while training 'kd' with seed 3")
    here = show(error), capsys.readouterr().err
    there = show(raised(lambda: again(elsewhere(error)))), capsys.readouterr().err
    assert here == there and here[0] == 2 and "while training 'kd' with seed 3" in here[1]


def test_an_error_that_cannot_be_rebuilt_keeps_its_words(capsys) -> None:
    def own() -> None:
        exec("raise Own('broken', 'here')", {"__name__": "embodkd.somewhere", "Own": Own})

    error = raised(own)
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(error))
    assert show(raised(lambda: again(elsewhere(error)))) == 2
    assert capsys.readouterr().err == "embodkd: here: broken\n"


def test_a_fault_of_ours_keeps_its_trace(capsys) -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as caught:
        show(raised(lambda: again(elsewhere(raised(lambda: 1 / 0)))))
    assert "test_launchers.py" in str(caught.value)


def test_a_run_that_fails_in_another_process_is_brought_home_with_its_words_and_code(capsys) -> None:
    several = Several()
    there = replace(several, home=("another machine", 1))
    several.carry_out("seed=0", lambda: 0)
    with several.launched():
        there.carry_out("seed=1", lambda: 0)
        try:
            there.carry_out("seed=2", refused)
        except Elsewhere as error:
            raise pickle.loads(pickle.dumps(error)) from None
    assert several.end() == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "seed=2" in said and "'lerning_rate'" in said
    with several.launched():
        there.carry_out("seed=3", lambda: 3)
    assert several.end() == 3
