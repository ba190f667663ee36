"""Demonstrations with a disturbed hand: what is carried out strays as described, what is kept was meant."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.tasks.assembly.disturbed import Disturbed
from embodkd.envs.tasks.assembly.expert import Expert

from embodkd.evaluation.record import Attempts, record


class Still:
    """Asks for the same all the time."""

    reads = ()

    def __init__(self, task):
        self.task = task

    def begin(self, ids=None):
        pass

    def act(self, obs, ids):
        return np.full((len(ids), 10), 0.25, np.float32)


def noise(task, most, steps):
    """What Disturbed adds in so many steps, (T, N, 10)."""
    session, ids = Disturbed(Still(task), task, most), np.arange(task.num_envs)
    task.reset(ids)
    session.begin()
    found = []
    for step in range(steps):
        task.steps[:] = step
        found.append(session.act({}, ids) - session.meant)
    return np.array(found)


def test_the_noise_follows_its_law_and_spares_rotation_and_fingers():
    task = make_task("peg_assembly", 400)
    found = noise(task, 0.004, 60)
    assert not found[..., 3:].any()
    later = found[20:, :, :3]
    # a size drawn between 0 and most has a mean square of a third of most's
    assert np.sqrt((later**2).mean()) == pytest.approx(0.004 / np.sqrt(3), rel=0.1)
    kept = (later[1:] * later[:-1]).mean() / (later**2).mean()
    assert kept == pytest.approx(0.8, abs=0.03)
    size = np.sqrt((later**2).mean(axis=(0, 2)))
    assert size.min() < 0.0004 and size.max() < 0.007


def test_an_episodes_noise_is_its_own():
    one, many = (noise(make_task("peg_assembly", count), 0.004, 30) for count in (1, 5))
    np.testing.assert_array_equal(one[:, 0], many[:, 0])
    assert np.abs(many[:, 0] - many[:, 1]).max() > 0.0001


def test_what_is_recorded_is_what_the_expert_meant():
    task = make_task("peg_assembly", 16)
    attempts = Attempts()
    kept = list(record(task, Expert(task), 20, ("proprio",), disturb=0.01, attempts=attempts, quiet=True))
    assert len(kept) == 20 and attempts.successes >= 20 and attempts.episodes % 16 == 0
    assert f"{attempts.successes} of {attempts.episodes}" in str(attempts)
    for recording in kept[:4]:
        # the expert asks for at most a step from where the tool is, straight; the hand strays from that
        asked = recording.action[:-1, :3] - recording.groups["proprio"][:-1, :3]
        came = recording.groups["proprio"][1:, :3] - recording.groups["proprio"][:-1, :3]
        assert np.abs(asked).max() < 0.04
        assert np.abs(asked - came).max() > 0.002
    plain = list(record(task, Expert(task), 3, ("proprio",), quiet=True))
    again = list(record(task, Expert(task), 3, ("proprio",), disturb=0.0, quiet=True))
    np.testing.assert_array_equal(plain[2].action, again[2].action)


def test_positions_are_disturbed_where_actions_are_positions():
    task = make_task("pick_lift", 2)
    with pytest.raises(ValueError, match="disturb"):
        next(record(task, Still(task), 1, (), disturb=0.01, quiet=True))
