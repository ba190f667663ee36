"""Meshes as objects: read whole, decomposed once, kept, refused where they are none; and they are what a copy holds."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.tasks.grasp import hulls as hulls_file
from embodkd.envs.tasks.grasp import library as library_file
from embodkd.envs.tasks.grasp.hulls import hulls, kept_at, read_mesh, work_out
from embodkd.envs.tasks.grasp.meshes import prepare, prepared

pytest.importorskip("gymnasium_robotics")
trimesh = pytest.importorskip("trimesh")
pytest.importorskip("coacd")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBODKD_CACHE", str(tmp_path / "cache"))
    quick = {
        "resolution": 200,
        "mcts_iterations": 10,
        "mcts_nodes": 5,
        "mcts_max_depth": 1,
        "preprocess_resolution": 20,
    }
    monkeypatch.setattr(hulls_file, "HOW", {**hulls_file.HOW, **quick})
    library_file.meshes.cache_clear()
    yield tmp_path / "cache"
    library_file.meshes.cache_clear()


def corner():
    """An L of two boxes in one mesh, which is half of its hull."""
    parts = [trimesh.creation.box((0.03, 0.09, 0.03)), trimesh.creation.box((0.09, 0.03, 0.03))]
    parts[1].apply_translation((0.03, 0.03, 0))
    return trimesh.util.concatenate(parts)


def folder(tmp_path, **made):
    where = tmp_path / "shapes"
    where.mkdir()
    for name, mesh in made.items():
        mesh.export(where / f"{name}.obj")
    return where


def test_an_l_is_two_hulls_or_more_and_not_its_own_hull(tmp_path):
    where = folder(tmp_path, corner=corner())
    parts = work_out(where / "corner.obj", 1.0)
    assert 2 <= len(parts) <= 6
    volume = sum(trimesh.PointCloud(part.corners).convex_hull.volume for part in parts)
    own = 0.03 * 0.09 * 0.03 * 2 - 0.03**3
    assert volume == pytest.approx(own, rel=0.15)
    assert corner().convex_hull.volume > 1.3 * own


def test_every_face_of_a_file_is_read(tmp_path):
    """Polygons, negative indices, textures: OBJ as people write it."""
    text = "v 0 0 0\nv .05 0 0\nv .05 .05 0\nv 0 .05 0\nv 0 0 .05\nv .05 0 .05\nv .05 .05 .05\nv 0 .05 .05\n"
    quads = "f 4 3 2 1\nf 5//1 6//1 7//1 8//1\nf 1 2 6 5\nf 2 3 7 6\nf -6 -5 -1 -2\nf 4 1 5 8\n"
    (tmp_path / "cube.obj").write_text(text + "vn 0 0 1\n" + quads)
    corners, faces = read_mesh(tmp_path / "cube.obj", 2.0)
    a, b, c = (corners[faces[:, k]] for k in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6 == pytest.approx(0.1**3)


def test_it_is_worked_out_once(tmp_path, monkeypatch):
    where = folder(tmp_path, corner=corner())
    first = work_out(where / "corner.obj", 1.0)
    monkeypatch.setattr(hulls_file, "read_mesh", lambda *_: pytest.fail("it is there already"))
    for mine, theirs in zip(work_out(where / "corner.obj", 1.0), first, strict=True):
        np.testing.assert_array_equal(mine.corners, theirs.corners)
    assert hulls(where / "corner.obj", 0.9) is None, "another scale is another shape"


def test_a_folder_must_be_prepared_and_then_stays_so(tmp_path, cache):
    where = folder(tmp_path, corner=corner(), ball=trimesh.creation.icosphere(2, 0.03))
    with pytest.raises(ValueError, match=f"not prepared; do it once: embodkd data get {where}"):
        make_task("grasp", objects=str(where))
    assert list(prepare(str(where)))[-1] == "2 objects, 0 left out"
    things, resting = prepared(str(where))
    assert [thing.name for thing in things] == ["ball", "corner"] and resting.quat.shape == (2, 6, 4)
    (where / "corner.obj").write_text((where / "corner.obj").read_text() + "# another file\n")
    with pytest.raises(ValueError, match="not prepared"):
        prepared(str(where))


def test_bad_files_are_left_out_and_said(tmp_path):
    huge = trimesh.creation.box((2.0, 2.0, 2.0))
    where = folder(tmp_path, corner=corner(), huge=huge)
    (where / "empty.obj").write_text("")
    (where / "junk.stl").write_bytes(b"\0\1\2 no mesh at all")
    (where / "flat.obj").write_text("v 0 0 0\nv .05 0 0\nv 0 .05 0\nf 1 2 3\n")
    (where / "notes.txt").write_text("not a mesh, and not looked at")
    said = "\n".join(prepare(str(where)))
    assert "huge.obj is 2 m long" in said and "1 objects, 4 left out" in said
    for name in ("empty.obj", "junk.stl", "flat.obj"):
        assert name in said
    assert [thing.name for thing in prepared(str(where))[0]] == ["corner"]


def test_a_folder_without_meshes_and_one_without_any_that_can_be_used(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="no meshes"):
        list(prepare(str(tmp_path / "none")))
    where = folder(tmp_path, huge=trimesh.creation.box((2.0, 2.0, 2.0)))
    with pytest.raises(ValueError, match="none of the 1 meshes can be used"):
        list(prepare(str(where)))


def test_damaged_hulls_are_said_and_gone_ones_too(tmp_path):
    where = folder(tmp_path, corner=corner())
    list(prepare(str(where)))
    kept = kept_at(where / "corner.obj", 1.0) / "hulls.safetensors"
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"hulls\.safetensors"):
        prepared(str(where))
    kept.unlink()
    with pytest.raises(ValueError, match="hulls of corner are gone"):
        prepared(str(where))


def test_a_task_of_meshes_steps_and_goes_on_bit_for_bit(tmp_path):
    """The radius of a mesh is part of a copy: without it contacts would be missed after a resume."""
    shapes = {f"corner{k}": corner().apply_scale(1 + 0.03 * k) for k in range(5)}
    where = folder(tmp_path, **shapes, ball=trimesh.creation.icosphere(2, 0.03))
    list(prepare(str(where)))
    task, other = (make_task("grasp", 3, threads=1, objects=str(where), split="all", image_size=6) for _ in range(2))
    task.reset(np.arange(3))
    other.reset(np.arange(3) + 50)
    for k in range(5):
        task.step(np.random.default_rng(k).uniform(-1, 1, (3, 26)))
    other.load_state_dict(task.state_dict())
    np.testing.assert_array_equal(*(t.world.sim.parameter("geom_rbound") for t in (task, other)))
    for k in range(8):
        mine, theirs = (t.step(np.random.default_rng(k).uniform(-1, 1, (3, 26))) for t in (task, other))
        np.testing.assert_array_equal(mine.reward, theirs.reward)
    for group, values in task.observe(list(task.spec.groups)).items():
        np.testing.assert_array_equal(values, other.observe([group])[group])
    rows = {split: task.library.pool(split, ()).tolist() for split in ("seen", "unseen_class")}
    assert len(rows["seen"]) == 5 and len(rows["unseen_class"]) == 1
    with pytest.raises(ValueError, match="unseen_size; choose seen or unseen_class"):
        task.library.pool("unseen_size", ())


def test_the_command_that_errors_name_prepares_a_folder(tmp_path, capsys):
    from embodkd.cli.data import get

    where = folder(tmp_path, ball=trimesh.creation.icosphere(2, 0.03))
    assert get([str(where)]) == 0
    assert "1 objects, 0 left out" in capsys.readouterr().out
    assert make_task("grasp", objects=str(where), image_size=6).pool.tolist() == [0]
