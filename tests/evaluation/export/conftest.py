"""Files of every registered policy, each made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from embodkd.policies import POLICIES, Policy
from embodkd.policies.runner import Robot
from small_policies import META, small

from embodkd.evaluation.export.formats import written
from embodkd.evaluation.export.graph import policy_graph
from embodkd.evaluation.export.program import Program


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Policy, Path]]:
    """`file(name, format)`: the policy and its exported file, not checked yet."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def make(name: str, format: str) -> tuple[Policy, Path]:
        if (name, format) not in made:
            policy = small(name)
            path = folder / f"{name}.{format}"
            with written(policy_graph(policy, META), path, format):
                pass
            made[name, format] = policy, path
        return made[name, format]

    return make


@pytest.fixture
def robot(file: Callable[[str, str], tuple[Policy, Path]]) -> Callable[[str, str], tuple[Policy, Robot]]:
    """`robot(name, format)`: the policy and what acts by its file."""

    def make(name: str, format: str = "onnx") -> tuple[Policy, Robot]:
        policy, path = file(name, format)
        return policy, Robot(path.read_bytes()) if format == "onnx" else Program(path)

    return make


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`name` is every registered policy."""
    if "every_policy" in metafunc.fixturenames:
        metafunc.parametrize("every_policy", POLICIES.names())
