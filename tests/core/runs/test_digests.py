"""No bit of a stored tensor can change unnoticed: whatever is written has its digest beside it, checked when read."""

import subprocess

import numpy as np
import pytest
import torch
from embodkd.policies import load_policy, make_policy, save_policy
from every_network import GROUPS
from safetensors.torch import load_file, save_file
from torch import nn

from embodkd.core import Bank, Buffer, Context, Role, RunFolder, Table, TensorData
from embodkd.core.runs.digests import SUFFIX, digest_of_folder
from embodkd.core.sources.provenance import Provenance
from embodkd.models import load_model, make_model, save_model

DATA = TensorData({"input": torch.rand(6, 3, generator=torch.Generator().manual_seed(0))})


def policy(folder):
    torch.manual_seed(0)
    save_policy(folder, make_policy("mlp", GROUPS, 4, hidden=(8,)), task={"name": "toy", "control_hz": 20.0})
    return lambda: load_policy(folder)


def model(folder):
    made = make_model("mlp", (1, 8, 8), 4, hidden=[8])
    made.provenance = Provenance(items={"train": {"toy": torch.arange(300)}})
    save_model(folder, made)
    return lambda: load_model(folder)


def bank(folder):
    torch.manual_seed(0)
    teacher = Role(nn.Linear(3, 2), "frozen")
    Bank(teacher, DATA, folder=folder)(Context(None, 0, torch.device("cpu")))
    return lambda: Bank(teacher, DATA).read(folder)


def table(folder):
    context = Context(folder.parent, 0, torch.device("cpu"))
    made = Table(lambda context: {"means": torch.rand(9, 9)})
    made(context)
    (folder.parent / "banks" / "table").rename(folder)
    folder.parent.joinpath("banks", "table").symlink_to(folder)
    return lambda: made.restore(context)


def rollouts(folder):
    buffer = Buffer()
    buffer.extend(9, {"seen": ((40,), np.float32)})["seen"][:] = 1.0
    buffer.save(folder)
    return lambda: Buffer().restore(folder, 1)


KINDS = {made.__name__: made for made in (policy, model, bank, table, rollouts)}
every_kind = pytest.mark.parametrize("kind", KINDS)


def tensor_files(folder):
    return sorted(f for kind in ("*.safetensors", "*.npy") for f in folder.rglob(kind))


def flip(file, place):
    content = bytearray(file.read_bytes())
    content[place // 8] ^= 1 << place % 8
    file.write_bytes(content)


@every_kind
def test_a_flipped_bit_anywhere_in_a_tensor_file_is_refused_by_name(kind, tmp_path):
    load = KINDS[kind](tmp_path / "folder")
    load()
    files = tensor_files(tmp_path / "folder")
    assert files
    for file in files:
        content, places = file.read_bytes(), np.random.default_rng(0).integers(8 * file.stat().st_size, size=30)
        for place in places:
            flip(file, place)
            with pytest.raises(ValueError, match=rf"{file.name}: damaged or changed"):
                load()
            file.write_bytes(content)
    load()


@every_kind
def test_a_folder_of_a_version_without_digests_still_loads(kind, tmp_path):
    load = KINDS[kind](tmp_path / "folder")
    for file in tensor_files(tmp_path / "folder"):
        file.with_name(file.name + SUFFIX).unlink()
    load()


@every_kind
def test_every_tensor_file_has_a_digest_that_sha256sum_understands(kind, tmp_path):
    KINDS[kind](tmp_path / "folder")
    for file in tensor_files(tmp_path / "folder"):
        note = file.name + SUFFIX
        assert subprocess.run(["sha256sum", "--check", "--quiet", note], cwd=file.parent, check=True).returncode == 0


def test_weights_of_another_training_in_the_same_folder_are_refused(tmp_path):
    load = policy(tmp_path / "policy")
    file = tmp_path / "policy" / "model.safetensors"
    tensors = load_file(file)
    # nothing that the golden action could tell
    save_file({name: value.clone() for name, value in tensors.items()}, file, metadata={"arrays": "[]", "by": "me"})
    with pytest.raises(ValueError, match=r"remove model\.safetensors\.sha256 if it was changed on purpose"):
        load()


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json"])
def test_a_flipped_bit_in_a_checkpoint_is_said_and_the_former_one_is_taken(name, tmp_path):
    with RunFolder.open(tmp_path / "run", {}) as run:
        run.save_checkpoint(1, {"x": torch.zeros(20)}, {"at": 1})
        file = run.save_checkpoint(2, {"x": torch.ones(20)}, {"at": 123456789}) / name
        content, generator = file.read_bytes(), np.random.default_rng(0)
        for place in generator.integers(8 * len(content), size=30):
            flip(file, place)
            with pytest.warns(UserWarning, match=rf"step_2.{name}: damaged.*step_1 is taken instead"):
                assert run.latest_checkpoint().state == {"at": 1}
            file.write_bytes(content)
        assert run.latest_checkpoint().state == {"at": 123456789}


def test_the_digest_of_a_folder_knows_names_and_contents_but_not_what_is_hidden(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a").write_text("1")
    seen = {digest_of_folder(tmp_path)}
    (tmp_path / ".lock").write_text("1")
    assert digest_of_folder(tmp_path) in seen and digest_of_folder(tmp_path, ["a"]) in seen
    for change in (lambda f: f.write_text("2"), lambda f: f.rename(f.with_name("b"))):
        change(tmp_path / "in" / "a")
        seen.add(digest_of_folder(tmp_path))
    assert len(seen) == 3
