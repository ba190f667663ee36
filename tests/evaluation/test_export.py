"""An exported torch program: nothing in it is a pickle, and it says what a robot must know."""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from embodkd.envs import Group
from embodkd.policies import POLICIES, Policy, make_policy

from embodkd.evaluation.export import export_policy

GROUPS = {
    group.name: group
    for group in (
        Group("proprio", (7,), False, "rad", "joints"),
        Group("privileged", (5,), True, "m", "the truth"),
        Group("robot", (16,), False, "m", "the tool"),
        Group("parts", (14,), True, "m", "poses of the parts"),
        Group("wrist_depth", (1, 32, 32), False, "0..255", "depth", "uint8"),
        Group("wrist_rgb", (3, 32, 32), False, "0..255", "colour", "uint8"),
        Group("front_rgb", (3, 32, 32), False, "0..255", "colour", "uint8"),
        Group("points", (256, 3), False, "m", "cloud"),
    )
}
META = {"policy": "any", "task": {"name": "toy"}, "control_hz": 20.0, "action": {"low": -1, "high": 1}}


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


def exported(policy: Policy, folder: Path) -> dict[str, bytes]:
    path = folder / "policy.pt2"
    assert export_policy(policy, META, path, "torch").worst <= 1e-5
    return dict(members(path.read_bytes()))


@pytest.mark.parametrize("name", POLICIES.names())
def test_no_part_of_a_torch_file_is_a_pickle(name: str, tmp_path: Path) -> None:
    parts = exported(make_policy(name, GROUPS, 4), tmp_path)
    assert any("/weights/" in part for part in parts), sorted(parts)
    assert not [part for part, data in parts.items() if is_pickle(data)]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_would_be_seen(protocol: int) -> None:
    assert is_pickle(pickle.dumps({"a": [1.5, None]}, protocol))


def test_a_torch_file_carries_its_contract(tmp_path: Path) -> None:
    parts = exported(make_policy("depth_cnn", GROUPS, 4), tmp_path)
    [facts] = [json.loads(data) for part, data in parts.items() if part.endswith("embodkd.json")]
    assert [(i["name"], i["unit"]) for i in facts["inputs"]] == [("proprio", "rad"), ("wrist_depth", "0..255")]
    assert facts["control_hz"] == 20.0 and facts["output"] == {"name": "action", "shape": ["N", 4], **META["action"]}
