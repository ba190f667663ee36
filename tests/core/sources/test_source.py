"""Data sets gather by index, buffers keep every row through growth and disk, rollouts visit the states they should."""

import numpy as np
import pytest
import torch
from toy import Student, Teacher, ToyTask

from embodkd.core import Buffer, Rollout, TensorData, balanced_batch, constant, item_seeds, mixture, shuffled, staircase


def test_a_data_set_gathers_rows_with_their_ids():
    data = TensorData({"input": np.arange(10, dtype=np.float32), "label": torch.arange(10)})
    batch = data.gather(np.array([7, 2]), epoch=0)
    assert batch.input_N.tolist() == [7.0, 2.0] and batch.label_N.tolist() == [7, 2] == batch.sample_id_N.tolist()


def test_fields_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"one length.*'a': 2, 'b': 3"):
        TensorData({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(ValueError, match="at least 1 row"):
        TensorData({"a": np.zeros(0)})


def test_augmentation_seeds_depend_on_seed_epoch_and_sample_only():
    data = TensorData({"x": np.zeros(100)}, replay="augment_seed", seed=3)
    some = data.gather(np.array([5, 9]), epoch=2).augment_seed_N
    assert torch.equal(some, data.gather(np.array([1, 9, 5]), epoch=2).augment_seed_N[[2, 1]])
    assert some.tolist() != data.gather(np.array([5, 9]), epoch=3).augment_seed_N.tolist()
    seeds = item_seeds(0, 0, np.arange(10_000))
    assert (seeds >= 0).all() and len(np.unique(seeds)) == 10_000


def test_a_pass_visits_each_item_once_in_an_order_that_its_key_decides():
    batches = list(shuffled(103, 10, 1, 2, 3))
    assert sorted(np.concatenate(batches)) == list(range(103)) and [len(b) for b in batches] == [10] * 10 + [3]
    assert all((a == b).all() for a, b in zip(batches, shuffled(103, 10, 1, 2, 3), strict=True))
    assert (np.concatenate(list(shuffled(103, 10, 1, 2, 4))) != np.concatenate(batches)).any()


COLUMNS = {"image": ((1, 2), "uint8"), "target": ((3,), "float32")}


def append(buffer, count, value):
    rows = buffer.extend(count, COLUMNS)
    rows["image"][:], rows["target"][:] = value, value * 10.0


def test_a_buffer_keeps_all_rows_while_it_grows():
    buffer = Buffer()
    for k in range(6):
        append(buffer, 3 + k, k)
    batch = buffer.gather(np.arange(buffer.rows))
    expected = np.repeat(np.arange(6), [3, 4, 5, 6, 7, 8])
    assert (batch.image_NHW[:, 0, 0].numpy() == expected).all() and batch.image.dtype == torch.uint8
    assert (batch.target_NA[:, 2].numpy() == expected * 10.0).all()


@pytest.mark.parametrize("aggregate", [True, False])
def test_a_buffer_comes_back_from_its_shards(tmp_path, aggregate):
    buffer = Buffer(aggregate)
    for k in range(4):
        append(buffer, 2, k)
        buffer.save(tmp_path)
    again = Buffer(aggregate)
    again.restore(tmp_path, 3)
    assert again.shards == 3 and again.rows == (6 if aggregate else 2)
    assert again.gather(np.arange(again.rows)).image_NHW[-1].unique().tolist() == [2]
    again.tidy(tmp_path)
    assert not (tmp_path / "shard_3").exists(), "work after the checkpoint will be repeated"
    append(again, 2, 9)
    again.save(tmp_path)
    again.tidy(tmp_path)
    # the last, and without aggregation the one before it, which the former checkpoint may need
    assert len(list(tmp_path.glob("shard_*"))) == (4 if aggregate else 2)


def test_a_missing_or_damaged_shard_is_named(tmp_path):
    with pytest.raises(ValueError, match="shard_0.*no such file"):
        Buffer().restore(tmp_path, 1)
    buffer = Buffer()
    append(buffer, 100, 1)
    buffer.save(tmp_path)
    file = tmp_path / "shard_0" / "rows.safetensors"
    file.write_bytes(file.read_bytes()[:80])
    with pytest.raises(ValueError, match="shard_0.*damaged"):
        Buffer().restore(tmp_path, 1)


def test_columns_cannot_change():
    buffer = Buffer()
    append(buffer, 1, 1)
    with pytest.raises(ValueError, match="columns cannot change"):
        buffer.extend(1, {"image": ((1, 2), "uint8")})


class Constant:
    """An actor that always says the same."""

    def __init__(self, value, reads=("privileged",)):
        self.value, self.reads = value, reads

    def act(self, obs):
        assert set(obs) == set(self.reads)
        count = len(next(iter(obs.values())))
        return np.full((count, 2), self.value, np.float32)


def rollout(task, beta, **options):
    teacher, student = Constant(0.5), Constant(-0.25, ("proprio",))
    source = Rollout(task, mixture(teacher, student, beta), label=teacher, groups=("proprio",), **options)
    return source, teacher, student


def test_rows_hold_the_states_that_were_visited_and_the_teachers_labels():
    task = ToyTask(4)
    source, _, _ = rollout(task, constant(0.5), seed=7)
    source.refill(0)
    batch = source.gather(np.arange(source.size()), 0)
    starts = np.stack([np.random.default_rng(s).uniform(-1, 1, (2, 2))[0] for s in task.seeds_used[:4]])
    moves = np.array([0.5, 0.5, -0.25, -0.25])[:, None] * 0.5
    for step in range(5):
        visited = batch.proprio_ND[step * 4 : step * 4 + 4].numpy()
        np.testing.assert_allclose(visited, starts + step * moves, atol=1e-6)
    assert (batch.target_NA == 0.5).all() and source.size() == 20 == source.planned_size(0)


def test_beta_divides_whole_environments_round_by_round():
    source, _, _ = rollout(ToyTask(8), staircase(1.0, 0.5, 0.0))
    for refill, (teachers, students) in enumerate([(8, 0), (4, 4), (0, 8)]):
        scalars = source.refill(refill)
        assert scalars["rollout/beta"] == teachers / 8
        visited = source.gather(np.arange(40 * refill, 40 * refill + 40), 0).proprio_ND.numpy().reshape(5, 8, 2)
        moves = np.array([0.25] * teachers + [-0.125] * students)[None, :, None]
        np.testing.assert_allclose(np.diff(visited, axis=0), np.broadcast_to(moves, (4, 8, 2)), atol=1e-6)
        assert source.size() == (refill + 1) * 40 == source.planned_size(refill)


def test_episode_seeds_are_fresh_each_round_and_repeatable():
    first, second = ToyTask(4), ToyTask(4)
    for task in (first, second):
        source, _, _ = rollout(task, constant(1.0), seed=1, steps=12)
        source.refill(0)
        source.refill(1)
    assert first.seeds_used == second.seeds_used and len(set(first.seeds_used)) == len(first.seeds_used) == 2 * 4 * 3
    assert min(first.seeds_used) >= 2**32, "evaluations use small seeds: none of them may be trained on"
    other = ToyTask(4)
    rollout(other, constant(1.0), seed=2)[0].refill(0)
    assert not set(other.seeds_used) & set(first.seeds_used)


class Hazard(ToyTask):
    """Every other environment fails in its second step."""

    def step(self, actions):
        result = super().step(actions)
        return result._replace(terminated=(np.arange(self.num_envs) % 2 == 1) & (self.clock == 2))


def test_an_episode_that_ends_early_is_followed_by_another_while_the_others_go_on():
    task = Hazard(4)
    source, _, _ = rollout(task, constant(1.0))
    source.refill(0)
    # Four at the start; the two failing ones start anew after steps 2 and 4.
    assert len(task.seeds_used) == 4 + 2 + 2 == len(set(task.seeds_used))
    visited = source.gather(np.arange(20), 0).proprio_ND.numpy().reshape(5, 4, 2)
    moves = np.diff(visited, axis=0)
    np.testing.assert_allclose(moves[:, ::2], 0.25, atol=1e-6)
    jumps = np.abs(moves[:, 1::2] - 0.25).max(axis=2) > 1e-3
    assert jumps.tolist() == [[False] * 2, [True] * 2, [False] * 2, [True] * 2]


class Planner(Constant):
    """Remembers: the k-th action of an episode is k / 8, so a driver that is not told of a new episode shows."""

    def session(self, copies):
        planner = self

        class Counting:
            def __init__(self):
                self.clock = np.zeros(copies, np.float32)

            def begin(self, ids):
                self.clock[ids] = 0

            def act(self, obs):
                assert set(obs) == set(planner.reads)
                self.clock += 1
                return np.stack([self.clock / 8, 0 * self.clock], axis=1)

        return Counting()


def test_an_actor_with_a_session_is_told_where_episodes_begin():
    task = Hazard(4)
    actor = mixture(Planner(0.0), Planner(0.0, ("proprio",)), constant(0.5))
    source = Rollout(task, actor, label=Constant(0.0), groups=("proprio",))
    for refill in range(2):
        source.refill(refill)
    visited = source.gather(np.arange(20, 40), 0).proprio_ND.numpy().reshape(5, 4, 2)
    moves = np.diff(visited[..., 0], axis=0)
    expected = np.array([1, 2, 3, 4]) / 16
    np.testing.assert_allclose(moves[:, ::2], np.stack([expected] * 2, axis=1), atol=1e-6)
    # The others fail in their second step and begin anew: the first move of each of their episodes is seen.
    np.testing.assert_allclose(moves[::2, 1::2], 1 / 16, atol=1e-6)


def test_without_aggregation_only_the_newest_round_is_kept():
    source, _, _ = rollout(ToyTask(4), constant(1.0), keep=Buffer(aggregate=False))
    source.refill(0)
    source.refill(1)
    assert source.size() == 20 == source.planned_size(1)


def test_the_first_rows_are_shown_once_for_statistics():
    shown = []
    source, _, _ = rollout(ToyTask(4), constant(1.0), first_rows=shown.append)
    source.refill(0)
    source.refill(1)
    assert len(shown) == 1 and set(shown[0]) == {"proprio", "target"} and shown[0]["proprio"].shape == (20, 2)


def test_success_is_counted_by_driver():
    teacher = Teacher()
    source = Rollout(ToyTask(16), mixture(teacher, Student(), constant(0.5)), teacher, ("proprio",))
    scalars = source.refill(0)
    assert scalars["rollout/teacher_success"] == 1.0 and scalars["rollout/student_success"] < 1.0


class Lucky(ToyTask):
    """An episode of an even seed succeeds, and ends at once; others fail at the end of the time."""

    def step(self, actions):
        result = super().step(actions)
        lucky = np.array(self.running) % 2 == 0
        return result._replace(terminated=lucky, info={"is_success": lucky})

    def reset(self, seeds, ids=None):
        super().reset(seeds, ids)
        if ids is None:
            self.first = self.running = list(seeds)
        else:
            self.running = [dict(zip(ids, seeds, strict=True)).get(k, seed) for k, seed in enumerate(self.running)]


def test_success_is_that_of_the_episodes_that_were_started_together():
    teacher, task = Constant(0.0), Lucky(100)
    source = Rollout(task, mixture(teacher, Constant(0.0, ("proprio",)), constant(0.0)), teacher, ("proprio",))
    won = source.refill(0)["rollout/student_success"]
    assert won == np.mean(np.array(task.first) % 2 == 0)
    short = Rollout(task, source.actor, teacher, ("proprio",), steps=3)
    assert "rollout/student_success" not in short.refill(0), "some of them have not ended"


def test_a_privileged_group_for_the_student_is_an_error_unless_said_aloud():
    teacher = Constant(0.0)
    actor = mixture(teacher, Constant(0.0, ("proprio",)), constant(1.0))
    with pytest.raises(ValueError, match=r"student reads \['privileged'\].*allow_privileged"):
        Rollout(ToyTask(2), actor, teacher, ("privileged",))
    Rollout(ToyTask(2), actor, teacher, ("privileged",), allow_privileged=True)


def test_mistakes_are_named():
    teacher = Constant(0.0)
    actor = mixture(teacher, Constant(0.0, ("proprio",)), constant(2.0))
    with pytest.raises(ValueError, match=r"task 'toy' has no observation group \['points'\]; it has"):
        Rollout(ToyTask(2), actor, teacher, ("points",))
    with pytest.raises(ValueError, match="at least one step"):
        Rollout(ToyTask(2), actor, teacher, ("proprio",), steps=0)
    with pytest.raises(ValueError, match=r"beta must lie in \[0, 1\]"):
        Rollout(ToyTask(2), actor, teacher, ("proprio",)).refill(0)


def test_a_balanced_batch_has_all_classes_and_does_not_depend_on_the_order():
    label, ids = (
        torch.tensor([0] * 20 + [1] * 3 + [2] * 9),
        torch.randperm(32, generator=torch.Generator().manual_seed(0)),
    )
    order = torch.randperm(32, generator=torch.Generator().manual_seed(1))
    batch = balanced_batch(TensorData({"label": label, "sample_id": ids}), 12, 5)
    moved = balanced_batch(TensorData({"label": label[order], "sample_id": ids[order]}), 12, 5)
    assert torch.bincount(batch["label"]).tolist() in ([5, 3, 4], [4, 3, 5])
    assert torch.equal(batch["sample_id"].sort().values, moved["sample_id"].sort().values)
    other = balanced_batch(TensorData({"label": label, "sample_id": ids}), 12, 6)
    assert not torch.equal(batch["sample_id"].sort().values, other["sample_id"].sort().values)
    assert len(balanced_batch(TensorData({"label": label, "sample_id": ids}), 99, 5)["label"]) == 32
