"""What a file says of itself, and that nothing in it is a pickle."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest
from embodkd.policies import make_policy
from small_policies import ACTIONS, GROUPS, META, SMALL, episode, small

from embodkd.core.sources.group import GroupFacts
from embodkd.evaluation.export.graph import policy_graph


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what a zip holds, and of the zips in it."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        for name in opened.namelist():
            data = opened.read(name)
            yield name, data
            if zipfile.is_zipfile(io.BytesIO(data)):
                yield from members(data)


def is_pickle(data: bytes) -> bool:
    """Whether `data` can be read as a pickle: with its header (protocol 2 and later), or to the last byte (any)."""
    with warnings.catch_warnings():
        # Weights are any bytes; some of them begin like a pickle and go on with a wrong escape sequence.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            *_, (_, _, end) = pickletools.genops(data)
        except ValueError:
            return False
    return data[0] == 0x80 or end == len(data) - 1


def test_no_part_of_a_torch_file_is_a_pickle(every_policy, file) -> None:
    parts = dict(members(file(every_policy, "torch")[1].read_bytes()))
    assert any("/weights/" in part for part in parts), sorted(parts)
    assert not [part for part, data in parts.items() if is_pickle(data)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_would_be_seen(protocol: int) -> None:
    assert is_pickle(pickle.dumps({"a": [1.5, None]}, protocol))


def test_a_torch_file_carries_its_contract_for_whoever_opens_the_zip(file) -> None:
    parts = dict(members(file("depth_cnn", "torch")[1].read_bytes()))
    [facts] = [json.loads(data) for part, data in parts.items() if part.endswith("embodkd.json")]
    assert {name: i["unit"] for name, i in facts["inputs"].items()} == {"proprio": "rad", "wrist_depth": "0..255"}
    assert facts["control_hz"] == 20.0 and facts["action"] == META["action"]


CONTRACTS = {
    # name: what is remembered between calls, what comes out, how many of how many actions are carried out
    "depth_cnn": ([], ["action"], 1, 1),
    "mlp_chunk": ([], ["action"], 3, 3),
    "diffusion": (["plan", "begins", "noise"], ["action", "next_plan"], 2, 4),
    "residual": (["base"], ["chunk", "action"], 4, 4),
}


@pytest.mark.parametrize("name", CONTRACTS)
@pytest.mark.parametrize("format", ["onnx", "torch"])
def test_what_is_needed_to_act_is_declared(name: str, format: str, robot) -> None:
    policy, acts = robot(name, format)
    remembered, outputs, execute, horizon = CONTRACTS[name]
    facts = acts.facts
    assert list(facts["inputs"]) == [*policy.reads, *remembered] and facts["outputs"] == outputs
    assert facts["execute"] == execute and facts["chunk"] == [horizon, 3]
    assert all(facts["inputs"][history]["doc"] for history in remembered)
    assert [facts["inputs"][group]["privileged"] for group in policy.reads] == [
        policy.inputs[group].privileged for group in policy.reads
    ]
    if format == "onnx":
        assert [i.name for i in acts.net.get_inputs()] == list(facts["inputs"])
        assert [o.name for o in acts.net.get_outputs()] == outputs
        ports = (*acts.net.get_inputs(), *acts.net.get_outputs())
        assert all(isinstance(port.shape[0], str) for port in ports), "as many robots as one likes"


def test_a_file_answers_for_many_robots_at_once_as_for_each(robot) -> None:
    policy, acts = robot("diffusion")
    seen, count = episode(policy), 3
    rng = np.random.default_rng(0)
    rows = {name: values[:count] for name, values in seen.items()}
    rows |= {n: rng.uniform(-1, 1, (count, *acts.facts["chunk"])).astype(np.float32) for n in ("plan", "noise")}
    rows["begins"] = np.array([True, False, True])
    together = acts.net.run(["action"], rows)[0]
    alone = [acts.net.run(["action"], {n: v[i : i + 1] for n, v in rows.items()})[0] for i in range(count)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-3)


def test_a_policy_of_demonstrations_says_where_its_groups_lay_and_what_it_was_told() -> None:
    told, places = ["put it down", "lift it"], {"proprio": ["observation.state", 2]}
    groups = {**GROUPS, "task": GroupFacts("task", (1,), False, "int64")}
    policy = make_policy("mlp_chunk", groups, ACTIONS, **SMALL["mlp_chunk"], sentences=told)
    facts = policy_graph(policy, {**META, "extra": {"places": places}}).facts
    assert facts["places"] == places and facts["sentences"] == told and "task" in facts["inputs"]
    for name in ("mlp", "mlp_chunk", "residual"):
        facts = policy_graph(small(name), META).facts
        assert facts["places"] == {} and facts["sentences"] == []
