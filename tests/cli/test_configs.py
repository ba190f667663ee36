"""The YAML files and the code that they configure say the same: every key, every default, every choice."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any

import pytest
from embodkd.envs import TASKS, task_names
from embodkd.policies import POLICIES

from embodkd.cli.keys import Config, options
from embodkd.cli.verbs import VERBS
from embodkd.core import Schedule
from embodkd.core.config.schema import build, parameters
from embodkd.core.sources.kinds import FACTS
from embodkd.data import DATA, data_names
from embodkd.methods import get_method, method_names
from embodkd.models import MODELS, model_names
from embodkd.rl.config import STOCK, PPOConfig
from embodkd.rl.residual.config import ResidualPPOConfig, TD3Config

ANY = Config("train_teacher")


def content(group: str, option: str) -> dict[str, Any]:
    found = dict(ANY.option(group, option))
    assert found.pop("name", option) == option
    return found


def plain(value: Any) -> Any:
    if hasattr(value, "to_config"):
        usual = Schedule().to_config()
        return {k: v for k, v in value.to_config().items() if k == "shape" or v != usual[k]}
    return list(value) if isinstance(value, tuple) else value


def test_there_is_one_file_per_member() -> None:
    assert options("task") == tuple(sorted(task_names()))
    assert options("method") == method_names()
    # A residual needs a trained base: `train residual` makes it.
    assert {*options("student"), "residual"} == set(POLICIES.names())
    assert set(options("ppo")) == {*task_names(), "stock"}
    assert options("data") == data_names()
    assert options("model") == model_names()


@pytest.mark.parametrize("name", method_names())
def test_method_files_hold_the_dataclass_and_its_defaults(name: str) -> None:
    fields = {f.name: plain(f.default) for f in dataclasses.fields(get_method(name))}
    assert content("method", name) == fields


@pytest.mark.parametrize("name", options("student"))
def test_student_files_hold_the_constructor_and_its_defaults(name: str) -> None:
    known = parameters(POLICIES.get(name))
    defaults = {k: plain(p.default) for k, p in known.items() if k not in ("groups", "action_size")}
    given = content("student", name)
    if name == "mlp":
        # As a student it reads what a robot has; its own default is the teacher's.
        assert given.pop("vectors") == ["proprio"] and defaults.pop("vectors") == ["proprio", "privileged"]
    assert given == defaults


@pytest.mark.parametrize("name", task_names())
def test_task_files_hold_the_constructor_and_its_defaults(name: str) -> None:
    module, attribute = TASKS[name]
    known = parameters(getattr(importlib.import_module(module), attribute))
    own = ("num_envs", "engine", "threads", "randomise")
    assert content("task", name) == {k: plain(p.default) for k, p in known.items() if k not in own}


@pytest.mark.parametrize("name", data_names())
def test_data_files_hold_the_factory_and_its_defaults(name: str) -> None:
    known = parameters(DATA.get(name))
    assert content("data", name) == {k: plain(p.default) for k, p in known.items() if k != "seed"}


@pytest.mark.parametrize("name", model_names())
def test_model_files_hold_the_constructor_and_its_defaults(name: str) -> None:
    known = parameters(MODELS.get(name))
    assert content("model", name) == {k: plain(p.default) for k, p in known.items() if k not in FACTS}


def test_budget_files_hold_the_dataclass_and_the_default_is_the_default() -> None:
    from embodkd.core import Budget, Optimiser

    for option in options("budget"):
        given = content("budget", option)
        assert Budget.of(given, option).updates is None
        # An optimiser's file leaves out what belongs to other optimisers.
        assert set(given["optimiser"]) <= {f.name for f in dataclasses.fields(Optimiser)}
    assert Budget.of(content("budget", "default"), "default") == Budget()


def test_randomise_files_hold_the_dataclass() -> None:
    from embodkd.envs.randomise import Randomise

    for option in options("randomise"):
        build(Randomise, content("randomise", option), option)
        assert set(content("randomise", option)) == {f.name for f in dataclasses.fields(Randomise)}
    assert build(Randomise, content("randomise", "none"), "none") == Randomise()


def test_no_range_of_the_held_out_looks_meets_that_of_the_training_looks() -> None:
    ours, theirs = content("randomise", "looks"), content("randomise", "strange")
    ranges = {key for key, value in ours.items() if isinstance(value, list)}
    assert ranges == {key for key, value in theirs.items() if isinstance(value, list)} and len(ranges) == 13
    for key in ranges - {"textures"}:
        (low, high), (other_low, other_high) = ours[key], theirs[key]
        assert low < high < other_low < other_high or other_low < other_high < low < high, key
    assert ours["textures"] and theirs["textures"] and not set(ours["textures"]) & set(theirs["textures"])
    # and what is no look is the same in both
    assert all(ours[key] == theirs[key] for key in ours.keys() - ranges)


def test_ppo_files_hold_the_dataclass_and_stock_is_stock() -> None:
    fields = {f.name: f.default for f in dataclasses.fields(PPOConfig)}
    for option in options("ppo"):
        given = content("ppo", option)
        assert given.pop("steps") > 0
        assert set(given) == set(fields)
        PPOConfig(**given)
        if option == "stock":
            assert given == {**fields, **STOCK}


def test_the_residual_file_holds_the_defaults_of_policy_and_learners() -> None:
    top = Config("train_residual").top()
    known = parameters(POLICIES.get("residual"))
    own = ("groups", "action_size", "base", "base_arguments", "bounded")
    assert top["residual"] == {k: plain(p.default) for k, p in known.items() if k not in own}
    assert top["ppo"] == dataclasses.asdict(ResidualPPOConfig())
    assert top["td3"] == {name: plain(value) for name, value in dataclasses.asdict(TD3Config()).items()}


@pytest.mark.parametrize("verb", [v for v in VERBS if v.config], ids=lambda v: v.title)
def test_a_verb_takes_exactly_the_keys_of_its_file(verb) -> None:
    module, _, name = verb.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    config = Config(verb.config)
    assert set(inspect.signature(function).parameters) == {*config.top(), *config.groups()}
    assert verb.positional is None or verb.positional in config.top()
    assert set(verb.needs) <= set(config.top())


@pytest.mark.parametrize("verb", [v for v in VERBS if v.config], ids=lambda v: v.title)
def test_hydra_composes_what_completion_reads(verb) -> None:
    from hydra import compose, initialize_config_module
    from omegaconf import OmegaConf

    with initialize_config_module("embodkd.configs", version_base="1.3"):
        composed = OmegaConf.to_container(compose(verb.config), resolve=False)
    config = Config(verb.config)
    chosen = {g: o for g, o in config.groups().items() if o is not None}
    assert composed == {**config.top(), **{g: dict(config.option(g, o)) for g, o in chosen.items()}}
