"""Names are unique, and a wrong one is answered with the nearest right ones."""

import pytest

from embodkd.core.config.registry import Registry, near


def filled() -> Registry:
    registry = Registry("task")
    for name in ("peg_hole", "pick_lift", "hand_lift"):
        registry.register(name, engine="mujoco", title=name.title())(type(name, (), {}))
    return registry


def test_get_returns_the_member_and_metadata_its_facts():
    registry = Registry("task")

    @registry.register("peg_hole", engine="mujoco")
    class PegHole:
        pass

    assert registry.get("peg_hole") is PegHole
    assert registry.metadata("peg_hole")["engine"] == "mujoco"
    assert registry.name_of(PegHole) == "peg_hole"


def test_names_are_sorted_and_iterable():
    assert filled().names() == ("hand_lift", "peg_hole", "pick_lift") == tuple(filled())
    assert "peg_hole" in filled() and len(filled()) == 3


def test_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown task 'peghole': did you mean 'peg_hole'"):
        filled().get("peghole")
    with pytest.raises(ValueError, match="unknown task"):
        filled().metadata("x")


def test_a_name_is_given_once():
    registry = filled()
    with pytest.raises(ValueError, match="'peg_hole' is registered twice"):
        registry.register("peg_hole")(object())


def test_metadata_cannot_be_changed_from_outside():
    with pytest.raises(TypeError):
        filled().metadata("peg_hole")["engine"] = "bullet"


def test_near_says_so_when_there_is_nothing():
    assert near("a", []) == "there are none"
