"""Objects: the same ones every time, apart in splits, at rest where they are said to lie, fit for a hand."""

import numpy as np
import pytest
from embodkd.envs import make_task
from embodkd.envs.geometry import matrix_from_quat
from embodkd.envs.sim.batch_sim import BatchSim
from embodkd.envs.tasks.grasp import codes, kinds
from embodkd.envs.tasks.grasp.extents import Extents
from embodkd.envs.tasks.grasp.library import primitives
from embodkd.envs.tasks.grasp.resting import DROPS, Resting, settled
from embodkd.envs.tasks.grasp.slots import Slots, add_slots
from embodkd.envs.tasks.grasp.solids import Solid, Thing, box, sphere
from embodkd.envs.tasks.grasp.table import compiled
from embodkd.envs.tasks.hand_scene import hand_table
from scipy.spatial.transform import Rotation

LIBRARY = primitives()
NAMES = np.array([thing.name for thing in LIBRARY.things])
KINDS = np.array([thing.kind for thing in LIBRARY.things])


def test_the_splits_are_apart_and_hold_everything():
    pools = [LIBRARY.pool(split, ()) for split in ("seen", "unseen_size", "unseen_class")]
    assert [len(pool) for pool in pools] == [240, 60, 60]
    np.testing.assert_array_equal(np.sort(np.concatenate(pools)), LIBRARY.pool("all", ()))
    seen, size, unseen = ({*KINDS[pool]} for pool in pools)
    assert seen == size == {*kinds.SEEN} and unseen == {*kinds.UNSEEN} and not seen & unseen
    assert len({*NAMES}) == len(NAMES)


def test_no_two_objects_are_alike():
    rows = np.concatenate([LIBRARY.table["geom_size"].reshape(len(NAMES), -1), LIBRARY.code], axis=1)
    away = np.linalg.norm(rows[:, None] - rows[None], axis=2)[~np.eye(len(rows), dtype=bool)]
    assert away.min() > 0


def test_held_out_sizes_lie_as_high_as_the_others():
    height = LIBRARY.resting.height.mean(axis=1)
    for kind in kinds.SEEN:
        mine = [height[(kind == KINDS) & (LIBRARY.split == split)] for split in ("seen", "unseen_size")]
        assert abs(np.median(mine[0]) - np.median(mine[1])) < 0.15 * np.median(mine[0]), kind


def test_objects_are_drawn_by_their_class_and_number_alone():
    few = kinds.members({"mug": kinds.SEEN["mug"]}, 3)
    for thing in few:
        (other,) = (t for t in LIBRARY.things if t.name == thing.name)
        assert thing.mass == other.mass
        for mine, theirs in zip(thing.solids, other.solids, strict=True):
            assert (mine.size, mine.position, mine.quat) == (theirs.size, theirs.position, theirs.quat)


def test_some_classes_have_parts_to_leave_alone_and_all_have_others():
    forbidden = {kind for thing in LIBRARY.things for kind in [thing.kind] if any(s.forbidden for s in thing.solids)}
    assert forbidden == {"mug", "pan", "bottle", "hammer", "camera", "dipper"}
    for thing in LIBRARY.things:
        assert not all(solid.forbidden for solid in thing.solids)
        assert all(solid.name for solid in thing.solids)


def test_what_has_a_forbidden_part_is_thick_elsewhere():
    for thing in LIBRARY.things:
        if any(solid.forbidden for solid in thing.solids):
            free = [solid for solid in thing.solids if not solid.forbidden]
            table = compiled([Thing.of("free", "free", free, 0.1)])
            span = Extents([Thing.of("free", "free", free, 0.1)], table)
            width = span.along(np.zeros(1, int), np.eye(3)[None]) + span.along(np.zeros(1, int), -np.eye(3)[None])
            assert width.min() >= 0.0299, thing.name


def poses():
    """A simulation with every object in one of its poses or two."""
    pose = np.arange(0, len(NAMES) * DROPS, 5)  # a fifth of them, of every object at least one
    which = pose // DROPS
    spec = hand_table()
    add_slots(spec, LIBRARY.things)
    sim = BatchSim(spec.compile(), len(which), threads=1)
    Slots(sim, LIBRARY.table).take(np.arange(len(which)), which)
    qpos = sim.view("qpos")
    qpos[:, :3] = 0.0
    qpos[:, 2], qpos[:, 3:] = LIBRARY.resting.height.ravel()[pose], LIBRARY.resting.quat.reshape(-1, 4)[pose]
    sim.forward()
    return sim, which


def test_poses_rest():
    """A second later everything is where it was; what rolls may have rolled by half a centimetre."""
    sim, which = poses()
    before = sim.view("qpos").copy()
    assert sim.penetration(np.arange(0, len(which), 7)).max() < 0.001
    sim.step(200)
    after = sim.view("qpos")
    assert np.abs(after[:, 2] - before[:, 2]).max() < 0.002
    assert np.abs(after[:, :2] - before[:, :2]).max() < 0.005
    # up stays up, whatever has turned about the vertical
    up = [matrix_from_quat(q[:, 3:])[:, 2] for q in (before, after)]
    assert np.sum(up[0] * up[1], axis=1).min() > np.cos(np.radians(12))


def test_every_pose_leaves_room_below_the_hand():
    which = np.repeat(np.arange(len(NAMES)), DROPS)
    up = matrix_from_quat(LIBRARY.resting.quat.reshape(-1, 4))[:, 2]
    span = Extents(LIBRARY.things, LIBRARY.table).along(which, np.stack([up, -up], axis=1))
    height = LIBRARY.resting.height.ravel()
    assert (height + span[:, 0]).max() < 0.145
    np.testing.assert_allclose(height, span[:, 1], atol=0.001)  # they stand on the table, not above or in it


def test_settling_does_not_depend_on_the_company():
    things = [thing for thing in LIBRARY.things if thing.name in ("mug_2", "bar_1", "can_0")]
    together = settled(things, compiled(things), threads=1)
    alone = settled(things[1:2], compiled(things[1:2]), threads=1)
    for mine, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(mine[1:2], theirs)


def test_what_never_rests_is_refused():
    steep = Thing.of("roller", "roller", [sphere(0.05)], 0.1)
    table = compiled([steep])
    table["geom_contype"][:] = table["geom_conaffinity"][:] = 0  # it falls through the table
    with pytest.raises(ValueError, match="roller does not come to rest"):
        settled([steep], table, threads=1)


def test_reach_is_that_of_the_corners():
    """Against points on the surfaces, by hand: boxes' corners, spheres' ends."""
    turn = Rotation.random(random_state=1)
    quat = tuple(turn.as_quat(scalar_first=True).tolist())
    lump = Solid("box", (0.01, 0.02, 0.03), (0.01, 0.0, 0.02), quat)
    thing = Thing.of("lump", "lump", [lump, sphere(0.03).at(-0.02, 0.01, 0)], 0.1)
    table = compiled([thing])
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    corners = turn.apply(signs * lump.size) + lump.position - table["centre"][0]
    towards = Rotation.random(20, random_state=2).as_matrix()[:, 0]
    expected = np.maximum(corners @ towards.T, (np.array([-0.02, 0.01, 0]) - table["centre"][0]) @ towards.T + 0.015)
    np.testing.assert_allclose(Extents([thing], table).along(np.zeros(1, int), towards[None])[0], expected.max(axis=0))


def test_a_hull_of_a_boxs_corners_is_the_box():
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    solid = box(0.04, 0.05, 0.06)
    hull = Solid("hull", corners=signs * solid.size)
    pair = [Thing.of("box", "box", [solid], 0.1), Thing.of("hull", "hull", [hull], 0.1)]
    table = compiled(pair)
    np.testing.assert_allclose(table["body_inertia"][0], table["body_inertia"][1], rtol=1e-6)
    towards = Rotation.random(20, random_state=2).as_matrix()[:, 0]
    reach = Extents(pair, table).along(np.arange(2), np.tile(towards, (2, 1, 1)))
    np.testing.assert_allclose(reach[0], reach[1], atol=1e-9)
    code = codes.codes(pair, table)
    over = np.abs(codes.points()) - solid.size
    faced = (over > 0).sum(axis=1) <= 1  # inside, or before a face: beside edges a hull's is a lower bound
    np.testing.assert_allclose(code[0, faced], code[1, faced], atol=1e-9)
    assert (code[1] <= code[0] + 1e-9).all() and 5 < faced.sum() < codes.SIZE


def test_a_code_does_not_depend_on_the_order_of_solids():
    thing = LIBRARY.things[int(np.flatnonzero(KINDS == "mug")[0])]
    turned = Thing.of("turned", "mug", thing.solids[::-1], thing.mass)
    code = codes.codes([thing, turned], compiled([thing, turned]))
    np.testing.assert_allclose(code[0], code[1], atol=1e-12)


def test_only_names_classes_and_objects():
    assert {*KINDS[LIBRARY.pool("seen", ("mug", "can"))]} == {"mug", "can"}
    assert NAMES[LIBRARY.pool("all", ("can_3",))].tolist() == ["can_3"]
    for words, match in {
        ("mugs",): "mugs.*mug",
        ("ring",): "seen; choose unseen_class",
    }.items():
        with pytest.raises(ValueError, match=match):
            LIBRARY.pool("seen", words)
    with pytest.raises(ValueError, match=r"task.grasp.only|grasp.only"):
        make_task("grasp", only=("teapot",))
    with pytest.raises(ValueError, match="grasp.objects.*primitives"):
        make_task("grasp", objects="rocks")


def test_one_in_five_is_held_out_however_few_there_are():
    from embodkd.envs.tasks.grasp.library import held_out

    resting = Resting(np.arange(7.0)[:, None], np.zeros((7, 1, 4)))
    assert held_out(resting, np.arange(7)).tolist() == [2]
    assert held_out(resting, np.array([3, 1])).tolist() == []
