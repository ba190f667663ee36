"""BC and DAgger: what is planned, who drives, what is learned, and that every method says what it is."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from toy import Student, Teacher, ToyTask, fingerprint

from embodkd.core import Budget, Optimiser, RunFolder, distill, schedule
from embodkd.core.config.schema import build
from embodkd.core.method import NEEDS
from embodkd.methods import METHODS, get_method, make_method, method_names, needs_of


def train(name, student=None, teacher=None, task=None, run=None, finetune=None, **options):
    student = Student() if student is None else student
    method = get_method(name)(**options)
    summary = distill(
        method,
        student,
        teacher or Teacher(),
        task or ToyTask(32),
        run=run,
        trainer={"quiet": True},
        then=() if finetune is None else (finetune,),
    )
    return student, summary


def success(policy, episodes=200):
    task = ToyTask(episodes)
    task.reset(np.arange(episodes))
    for _ in range(task.spec.max_steps):
        result = task.step(policy.act(task.observe(policy.reads)))
    return result.info["is_success"].mean()


@pytest.mark.parametrize("name", method_names())
def test_every_method_is_registered_under_its_file_name_with_its_facts(name):
    method = get_method(name)
    assert METHODS.name_of(method) == name
    assert {"domain", "needs", "family", "paper", "title"} <= set(METHODS.metadata(name))
    assert dataclasses.is_dataclass(method) and method.__dataclass_params__.frozen and method.__doc__
    assert dataclasses.asdict(method())


@pytest.mark.parametrize("name", method_names())
def test_every_method_has_one_interface_and_says_what_it_needs(name):
    found = inspect.signature(get_method(name).recipe).parameters
    kinds = {key: parameter.kind.name for key, parameter in found.items()}
    positional = dict.fromkeys(("self", "student", "teachers", "data"), "POSITIONAL_OR_KEYWORD")
    assert kinds == positional | dict.fromkeys(("seed", "budget"), "KEYWORD_ONLY")
    assert needs_of(name) and set(needs_of(name)) <= set(NEEDS)


@pytest.mark.parametrize(("name", "needs"), [("dagger", "splits"), ("kd", "task"), ("nkd", "demonstrations")])
def test_a_method_for_data_of_another_kind_is_refused_with_those_that_fit(name, needs):
    with pytest.raises(ValueError, match=f"'{name}' learns .*; these do: ") as error:
        make_method({"name": name}, needs)
    named = str(error.value).partition("these do: ")[2].split(", ")
    assert named == [n for n in method_names() if needs in needs_of(n)]


def test_a_budget_that_is_given_takes_the_place_of_the_method_s_own():
    budget = Budget(epochs=2, batch_size=8, optimiser=Optimiser("sgd", 0.5))
    for name, rounds in (("dagger", 8), ("bc", 1)):
        given, own = (
            get_method(name)().recipe(Student(), Teacher(), ToyTask(4), budget=b).stages[0] for b in (budget, None)
        )
        assert (given.rounds, given.epochs, given.batch_size) == (rounds, 2, 8)
        assert given.players[0].optimiser is budget.optimiser and own.players[0].optimiser.name == "adam"


def test_an_unknown_method_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown method 'daggr': did you mean 'dagger'"):
        get_method("daggr")


def test_a_wrong_hyper_parameter_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"method: unknown key 'round' for DAgger; did you mean 'rounds'"):
        build(get_method("dagger"), {"round": 3}, "method")
    built = build(get_method("dagger"), {"beta": {"shape": "step", "values": [1.0, 0.0]}}, "method")
    assert schedule(built.beta).at(1) == 0.0


def test_dagger_defaults_are_the_measured_recipe():
    stage = get_method("dagger")().recipe(Student(), Teacher(), ToyTask(128)).stages[0]
    rows = 128 * 5
    assert stage.updates() == sum(3 * -(-rows * (r + 1) // 256) for r in range(8))
    rate = stage.players[0].optimiser.rate()
    assert rate.at(99, stage.updates() + 900) == 1e-3 and stage.players[0].optimiser.max_grad_norm == 1.0
    assert [stage.source.actor.beta.at(r) for r in range(4)] == [1.0, 0.5, 0.0, 0.0]


def test_bc_has_the_budget_of_dagger_by_default():
    task = ToyTask(128)
    updates = [get_method(name)().recipe(Student(), Teacher(), task).stages[0].updates() for name in ("bc", "dagger")]
    assert updates[0] == pytest.approx(updates[1], rel=0.1)


def test_dagger_student_solves_the_task_from_its_camera_alone():
    student, summary = train("dagger", task=ToyTask(64), rounds=4, epochs=10, batch_size=64, warmup=10)
    assert success(Teacher()) == 1.0 and success(student) > 0.9
    assert summary.last["rollout/student_success"] > 0.9


def test_a_student_without_camera_cannot_solve_it():
    class Blind(Student):
        reads = ("proprio",)

        def forward(self, obs):
            image = torch.zeros(len(obs["proprio"]), 1, 8, 8)
            return super().forward({**obs, "wrist_depth": image})

    blind, _ = train("dagger", Blind(), task=ToyTask(64), rounds=4, epochs=10, batch_size=64, warmup=10)
    assert success(blind) < 0.3


def test_bc_collects_once_and_the_student_never_drives():
    task = ToyTask(32)
    student, summary = train("bc", task=task, episodes=100, epochs=2)
    # 100 episodes in 32 environments: 4 each.
    assert len(task.seeds_used) == 128 and summary.last["rollout/beta"] == 1.0
    assert "rollout/student_success" not in summary.last and fingerprint(student) != fingerprint(Student())


def test_the_teacher_is_byte_identical_afterwards():
    teacher = Teacher()
    before = fingerprint(teacher)
    train("dagger", teacher=teacher, rounds=2)
    assert fingerprint(teacher) == before and teacher.gain.grad is None


def test_a_student_on_privileged_groups_is_refused_unless_said_aloud():
    for name in ("bc", "dagger"):
        with pytest.raises(ValueError, match="privileged"):
            train(name, student=Teacher())
    student, _ = train("dagger", student=Teacher(), rounds=1, allow_privileged=True)
    assert isinstance(student, Teacher)


def test_finetuning_follows_distillation_and_a_killed_one_is_repeated(tmp_path):
    calls = []

    def finetune(context):
        calls.append(context.folder)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return {"ppo/success": 1.0}

    with RunFolder.open(tmp_path / "run", {}) as run, pytest.raises(KeyboardInterrupt):
        train("dagger", run=run, finetune=finetune, rounds=1)
    with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
        _, summary = train("dagger", run=run, finetune=finetune, rounds=1)
    assert calls == [tmp_path / "run"] * 2 and summary.last["ppo/success"] == 1.0


@pytest.mark.parametrize("name", ["bc", "dagger"])
def test_same_seed_same_student_other_seed_another(name):
    def run_with(seed):
        student = Student(seed=0)
        distill(get_method(name)(), student, Teacher(), ToyTask(16), run=None, seed=seed, trainer={"quiet": True})
        return fingerprint(student)

    assert run_with(1) == run_with(1) != run_with(2)


def test_a_student_with_a_loss_of_its_own_is_judged_by_it_and_takes_the_teachers_range():
    class Own(Student):
        seen = None

        def update_statistics(self, obs):
            self.seen = obs["target"].copy()

        def loss(self, obs, actions_NHA):
            assert actions_NHA.shape[1:] == (1, self(obs).shape[1])
            return (self(obs) - actions_NHA[:, 0]).abs().mean(1)

    student = Own(dropout=0.0)
    stage = get_method("dagger")().recipe(student, Teacher(), ToyTask(4)).stages[0]
    (player,) = stage.players
    stage.source.refill(0)
    batch = stage.source.gather(np.arange(5), 0)
    assert student.seen.shape == (4 * ToyTask(4).spec.max_steps, batch["target"].shape[1])
    expected = student.loss(batch, batch["target"].unsqueeze(1))
    torch.testing.assert_close(player.terms(batch, player.train.signals(batch))["imitate"], expected)


def test_a_loaded_student_with_a_loss_of_its_own_learns_in_training_mode_and_is_put_back():
    class Own(Student):
        def loss(self, obs, actions_NHA):
            return (self(obs) - actions_NHA[:, 0]).abs().mean(1)

    student = Own(dropout=0.5).eval()
    stage = get_method("dagger")().recipe(student, Teacher(), ToyTask(4)).stages[0]
    stage.source.refill(0)
    batch, role = stage.source.gather(np.arange(5), 0), stage.players[0].train
    assert not torch.equal(role.signals(batch)["imitate"], role.signals(batch)["imitate"])
    assert not any(module.training for module in student.modules())


@pytest.mark.parametrize("name", ["bc", "dagger"])
@pytest.mark.parametrize("own_loss", [False, True])
def test_what_comes_out_is_the_student_itself_whatever_it_learned_by(name, own_loss):
    class Own(Student):
        def loss(self, obs, actions_NHA):
            return (self(obs) - actions_NHA[:, 0]).abs().mean(1)

    student = (Own if own_loss else Student)(dropout=0.0)
    assert get_method(name)().recipe(student, Teacher(), ToyTask(4)).product is student


@pytest.mark.parametrize("name", ["dagger", "bc"])
def test_a_student_that_plans_chunks_is_refused_before_anything_is_collected(name: str) -> None:
    class Planner:
        horizon = 4

    with pytest.raises(ValueError, match=f"method={name}.*plans 4 actions at once"):
        get_method(name)().recipe(Planner(), None, None)
