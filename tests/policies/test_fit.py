"""Whose world it is: every fact that sets two apart is named, and marks of privilege are the task's alone."""

from dataclasses import replace

import pytest
from embodkd.envs import TaskSpec
from embodkd.policies import check_task, make_policy, task_record

from embodkd.core.sources.action import ActionFacts
from embodkd.core.sources.group import GroupFacts


@pytest.fixture
def spec(groups) -> TaskSpec:
    return TaskSpec("toy", "mujoco", groups, 4, 20.0, 30, ("none",), {"robot": "panda", "randomness": "low"})


@pytest.fixture
def made(spec):
    """(policy, its config.json as far as it counts), made in the world of `spec`."""
    policy = make_policy("mlp", spec.groups, 4, hidden=(8,))
    task = task_record(spec)
    return policy, {"task": task, "control_hz": task.pop("control_hz")}


def regrouped(spec: TaskSpec, **facts: object) -> TaskSpec:
    return replace(spec, groups={**spec.groups, "proprio": replace(spec.groups["proprio"], **facts)})


ELSEWHERE = {
    "task: toy, here hand": lambda spec: replace(spec, name="hand"),
    "robot: panda, here gripper": lambda spec: replace(spec, options={"robot": "gripper"}),
    "version of the task: 1, here 2 (since then: the table is higher)": lambda spec: replace(
        spec, changes=("the table is higher",)
    ),
    "engine: mujoco, here bullet": lambda spec: replace(spec, engine="bullet"),
    "control rate: 20 Hz, here 50 Hz": lambda spec: replace(spec, control_hz=50.0),
    "group 'proprio': 'm', here 'mm'": lambda spec: regrouped(spec, unit="mm"),
    "group 'proprio': 'joints', here 'joints in another order'": lambda spec: regrouped(
        spec, doc="joints in another order"
    ),
}


def test_its_own_world_is_its_own_and_another_difficulty_is_no_other_world(made, spec):
    assert check_task(*made, spec) == ()
    assert check_task(*made, replace(spec, options={"robot": "panda", "randomness": "high"})) == ()


@pytest.mark.parametrize("said", ELSEWHERE)
def test_another_world_is_refused_by_name_unless_it_is_asked_for(made, spec, said):
    other = ELSEWHERE[said](spec)
    with pytest.raises(ValueError) as refused:
        check_task(*made, other, "policy=x")
    assert str(refused.value).startswith(f"policy=x: was made for another world ({said}); say transfer=true")
    assert check_task(*made, other, transfer=True) == (said,)


def test_actions_in_other_numbers_are_another_world_too(made, spec):
    policy, meta = made
    policy.acts(ActionFacts.of(4, units="degree", low=-90.0, high=90.0))
    with pytest.raises(ValueError, match="actions: from -90 to 90, here from -1 to 1"):
        check_task(policy, meta, spec)


def test_what_an_earlier_version_did_not_say_is_not_held_against_it(made, spec):
    policy, meta = made
    policy.inputs = {n: GroupFacts(n, seen.shape, seen.privileged, seen.dtype) for n, seen in policy.inputs.items()}
    meta["task"] = {"name": "toy", "engine": "mujoco"}
    assert check_task(policy, {**meta, "control_hz": None}, spec) == ()


IMPOSSIBLE = {
    "lacks it": lambda spec: replace(spec, groups={"privileged": spec.groups["privileged"]}),
    r"of shape \(7,\) float32, task 'toy' gives \(8,\) float32": lambda spec: regrouped(spec, shape=(8,)),
    r"gives \(7,\) uint8": lambda spec: regrouped(spec, dtype="uint8"),
    "gives 4 actions, task 'toy' needs 5": lambda spec: replace(spec, action_size=5),
}


def test_in_another_task_it_is_enough_to_name_the_groups_of_another_meaning(made, spec):
    other = replace(regrouped(spec, doc="something else"), name="hand")
    assert check_task(*made, other, transfer=True) == ("task: toy, here hand", "another meaning of group 'proprio'")


@pytest.mark.parametrize("transfer", [False, True])
@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_where_it_cannot_act_asking_does_not_help(made, spec, said, transfer):
    with pytest.raises(ValueError, match=said):
        check_task(*made, IMPOSSIBLE[said](spec), transfer=transfer)


@pytest.mark.parametrize("transfer", [False, True])
def test_a_folder_that_contradicts_the_task_about_privilege_is_an_error(made, spec, transfer):
    policy, meta = made
    for name, seen in list(policy.inputs.items()):
        changed = {**policy.inputs, name: replace(seen, privileged=not seen.privileged)}
        policy.inputs, before = changed, policy.inputs
        with pytest.raises(ValueError, match=f"calls group '{name}' (privileged|deployable)"):
            check_task(policy, meta, spec, transfer=transfer)
        policy.inputs = before
