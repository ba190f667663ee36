"""Recordings: successful episodes only, ended where they end, on seeds of their own, the same every time."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.seeds import recorded
from embodkd.envs.tasks.assembly.expert import Expert

from embodkd.evaluation.record import record


class Idle:
    """Leaves the tool where it is."""

    reads = ("proprio",)

    def act(self, obs):
        action = np.zeros((len(obs["proprio"]), 10), np.float32)
        action[:, :9] = obs["proprio"][:, :9]
        return action


@pytest.fixture(scope="module")
def task():
    return make_task("peg_assembly", 8)


def test_an_experts_recordings_end_in_success_and_hold_what_was_seen(task):
    kept = list(record(task, Expert(task), 11, ("proprio",), quiet=True))
    own = recorded(0, 0, 1000)
    assert len(kept) == 11 and len({r.seed for r in kept}) == 11
    for recording in kept:
        assert recording.success and recording.seed in own
        assert recording.reward.sum() == recording.reward[-1] == 1.0
        steps = len(recording.action)
        assert recording.action.shape == (steps, 10) and recording.groups["proprio"].shape == (steps, 16)
        # the tool goes towards where the action says
        gap = [np.linalg.norm(recording.groups["proprio"][k + 1, :3] - recording.action[k, :3]) for k in range(5)]
        assert max(gap) < 0.02
    again = list(record(task, Expert(task), 3, ("proprio",), quiet=True))
    np.testing.assert_array_equal(again[2].action, kept[2].action)


def test_steps_after_success_are_kept_when_asked_for(task):
    (plain,) = record(task, Expert(task), 1, (), quiet=True)
    (longer,) = record(task, Expert(task), 1, (), after=5, quiet=True)
    assert len(longer.action) == len(plain.action) + 5


def test_an_actor_that_never_succeeds_is_said_so_or_kept_when_asked_for(task):
    with pytest.raises(ValueError, match="none of 24 episodes"):
        list(record(task, Idle(), 1, (), quiet=True))
    (failed,) = record(task, Idle(), 1, ("proprio",), only_success=False, quiet=True)
    assert not failed.success and len(failed.action) == task.spec.max_steps


def test_episodes_in_several_looks_differ_in_their_pictures_alone():
    looks = {"hue": (0.0, 1.0), "light_azimuth": (-3.0, 3.0)}
    task, groups = make_task("peg_assembly", 4, image_size=24, randomise=looks), ("proprio", "wrist_rgb")
    plain = list(record(task, Expert(task), 3, groups, quiet=True))
    kept = list(record(task, Expert(task), 3, groups, looks=3, quiet=True))
    assert [recording.seed for recording in kept] == [recording.seed for recording in plain for _ in range(3)]
    for k, recording in enumerate(kept):
        first = plain[k // 3]
        np.testing.assert_array_equal(recording.groups["proprio"], first.groups["proprio"])
        np.testing.assert_array_equal(recording.action, first.action)
        np.testing.assert_array_equal(recording.reward, first.reward)
        changed = (recording.groups["wrist_rgb"] != first.groups["wrist_rgb"]).mean()
        assert changed == 0 if k % 3 == 0 else changed > 0.5
    with pytest.raises(ValueError, match="choose randomise=looks"):
        list(record(make_task("peg_assembly", 4), Expert(task), 1, ("proprio",), looks=2, quiet=True))
