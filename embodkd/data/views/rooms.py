"""Furnished rooms that open to each other, seen by cameras that walk through them: made from a seed alone."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch

from embodkd.core import TensorData
from embodkd.core.config.ranges import Count, Positive, Seed, Within
from embodkd.core.sources.dataset import Items
from embodkd.core.sources.views import Views, cell_of
from embodkd.data.registry import DATA
from embodkd.data.views.rays import PATTERNS, Scene, cast, rays_of

SIDE, TALL, WALL, DOOR = 3.0, 2.5, 0.1, 1.8  # of a room, of its walls and of the openings between two; metres
FURNITURE, BALLS = 5, 2  # per room
FINE = 3  # rays per pixel along each side; odd, so that one is its centre's
_KEY, _FEW = 0x4003, 16
_CLEAR, _OPEN = 0.45, 1.5  # between a camera and the nearest thing, and the one straight ahead; metres

Rooms = Annotated[int, Within(1, 4)]
Side = Annotated[int, Within(16, 512)]
Field = Annotated[float, Within(20.0, 120.0)]


@DATA.register("rooms", title="posed views of furnished rooms, drawn here", licence="made here", kind="views")
def rooms(
    *,
    seed: Seed = 0,
    along: Rooms = 2,
    across: Rooms = 2,
    size: Side = 48,
    field_of_view: Field = 75.0,
    train: Count = 40,
    validation: Count = 12,
    test: Count = 16,
    band: Positive = 0.25,
    points: Count = 4096,
    blank: bool = False,
) -> Views:
    """Rooms of 3 x 3 x 2.5 m, `along` x `across` of them, each a cell of the scene, with wide openings between them.

    Cameras stand in the rooms in turn and look any way, so that many see into the next room. size: of a picture's
    sides, pixels; field_of_view: degrees from side to side. band: pixels that show a place less than this many metres
    from a border of two cells are the seam's. points: how many places are kept of those that training views see.
    blank: a few black pictures, which show as much of each room, and places anywhere, to try a large config at once.
    """
    rng = np.random.default_rng((seed, _KEY))
    cells = (along, across, 1)
    shell = np.array([[0.0, 0.0, 0.0], [along * SIDE, across * SIDE, TALL]])
    scene = _furnished(rng, shell, along, across)
    sizes = {"train": train, "validation": validation, "test": test}
    if blank:
        sizes = {name: min(count, _FEW) for name, count in sizes.items()}
    parts, seen = {}, {}
    for number, (name, count) in enumerate(sizes.items()):
        own = np.random.default_rng((seed, _KEY, number))
        poses = np.stack([_camera(own, scene, k % (along * across), across) for k in range(count)])
        parts[name], seen[name] = (
            _blank(own, poses, size, shell, along * across, points)
            if blank
            else _taken(scene, poses, size, field_of_view, band, cells)
        )
    ids = np.cumsum([0, *sizes.values()])
    rows = {name: torch.arange(ids[k], ids[k + 1]) + seed * 1_000_000 for k, name in enumerate(sizes)}
    data = {name: TensorData({**fields, "sample_id": rows[name]}) for name, fields in parts.items()}
    chosen = rng.permutation(len(seen["train"]))[:points]
    return Views(
        train=data["train"],
        validation=data["validation"],
        test=data["test"],
        shape=(3, size, size),
        box=(tuple(shell[0].tolist()), tuple(shell[1].tolist())),
        cells=cells,
        points=torch.from_numpy(seen["train"][chosen].astype(np.float32)),
        items=Items(f"{'blank ' if blank else ''}rooms {along} x {across}", rows),
    )


def _furnished(rng: np.random.Generator, shell: np.ndarray, along: int, across: int) -> Scene:
    boxes, balls = [], []
    for i in range(along):
        for j in range(across):
            corner = np.array([i * SIDE, j * SIDE])
            for _ in range(FURNITURE):
                wide, tall = rng.uniform(0.3, 0.9, 2), rng.uniform(0.3, 1.5)
                # along the walls: the middle stays free to walk
                at = corner + rng.uniform(0.1, SIDE - 0.1 - wide)
                side = rng.integers(4)
                at[side % 2] = corner[side % 2] + (0.1 if side < 2 else SIDE - 0.1 - wide[side % 2])
                boxes.append([[*at, 0.0], [*(at + wide), tall]])
            for _ in range(BALLS):
                radius = rng.uniform(0.15, 0.35)
                balls.append([*(corner + rng.uniform(0.4, SIDE - 0.4, 2)), rng.uniform(radius, TALL - radius), radius])
    half, stub = WALL / 2, (SIDE - DOOR) / 2
    for axis, (count, others) in enumerate(((along, across), (across, along))):
        for border in range(1, count):
            for other in range(others):
                for first in (other * SIDE, (other + 1) * SIDE - stub):
                    low, high = np.zeros(3), np.array([0.0, 0.0, TALL])
                    low[axis], high[axis] = border * SIDE - half, border * SIDE + half
                    low[1 - axis], high[1 - axis] = first, first + stub
                    boxes.append([low.tolist(), high.tolist()])
    surfaces = 6 + len(boxes) + len(balls)
    hue = rng.uniform(0.05, 0.95, (surfaces, 2, 3))
    return Scene(
        shell, np.array(boxes), np.array(balls), rng.integers(len(PATTERNS), size=surfaces), hue,
        rng.uniform(0.6, 1.6, surfaces),
    )  # fmt: skip


def _camera(rng: np.random.Generator, scene: Scene, room: int, across: int) -> np.ndarray:
    """A pose (4, 4) in this room, clear of all things, that looks any way and a little down."""
    corner = np.array([room // across * SIDE, room % across * SIDE, 0.0])
    for _ in range(1000):
        at = corner + np.array([*rng.uniform(_CLEAR, SIDE - _CLEAR, 2), rng.uniform(1.1, 1.8)])
        off_boxes = np.maximum(np.maximum(scene.boxes[:, 0] - at, at - scene.boxes[:, 1]), 0.0)
        clear = np.linalg.norm(off_boxes, axis=1).min(initial=np.inf)
        clear = min(clear, (np.linalg.norm(scene.balls[:, :3] - at, axis=1) - scene.balls[:, 3]).min(initial=np.inf))
        yaw, pitch = rng.uniform(0, 2 * np.pi), rng.uniform(-0.45, 0.1)
        ahead = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
        if clear > _CLEAR and np.linalg.norm(cast(scene, at, ahead[None])[1][0] - at) > _OPEN:
            break
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(ahead, right), ahead, at
    return pose


def _blank(
    rng: np.random.Generator, poses: np.ndarray, size: int, shell: np.ndarray, rooms: int, points: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """What `_taken` gives, without looking."""
    count = len(poses)
    fields = {
        "image": np.zeros((count, 3, size, size), np.float32),
        "pose": poses.astype(np.float32),
        "intrinsics": np.full((count, 4), size / 2, np.float32),
        "share": np.full((count, rooms), 1 / rooms, np.float32),
        "seam": np.zeros((count, size, size), bool),
    }
    return fields, rng.uniform(shell[0], shell[1], (points, 3))


def _taken(
    scene: Scene, poses: np.ndarray, size: int, degrees: float, band: float, cells: tuple[int, int, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The fields of a part, and the place of every pixel of it, (N * H * W, 3)."""
    focal = size / 2 / np.tan(np.radians(degrees) / 2)
    intrinsics = np.array([focal, focal, size / 2, size / 2])
    images, places = [], []
    for pose in poses:
        found = cast(scene, pose[:3, 3], rays_of(pose, intrinsics, size, size, FINE))
        colour, place = (each.reshape(size, FINE, size, FINE, 3) for each in found)
        images.append(colour.mean((1, 3)).transpose(2, 0, 1))
        places.append(place[:, FINE // 2, :, FINE // 2].reshape(-1, 3))  # at the pixels' centres
    place_NP3 = np.stack(places)
    number = cell_of(torch.from_numpy(place_NP3.reshape(-1, 3)), scene.shell.tolist(), cells).numpy()
    share_NC = np.stack([(number.reshape(len(poses), -1) == c).mean(1) for c in range(int(np.prod(cells)))], 1)
    step_3 = (scene.shell[1] - scene.shell[0]) / cells
    border_NP = np.zeros(place_NP3.shape[:2], bool)
    for axis, count in enumerate(cells):
        for k in range(1, count):
            border_NP |= np.abs(place_NP3[..., axis] - scene.shell[0, axis] - k * step_3[axis]) < band
    fields = {
        "image": np.stack(images).astype(np.float32),
        "pose": poses.astype(np.float32),
        "intrinsics": np.tile(intrinsics, (len(poses), 1)).astype(np.float32),
        "share": share_NC.astype(np.float32),
        "seam": border_NP.reshape(len(poses), size, size),
    }
    return fields, place_NP3.reshape(-1, 3)
