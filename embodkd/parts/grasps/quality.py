"""How good a grasp is: the push that it bears from any side (Q1); where it touches; how diverse grasps are.

Source: Ferrari and Canny 1992; the details are those of UniDexGrasp's released evaluation.
"""

from __future__ import annotations

import numpy as np

EDGES = 8  # of a friction cone
TORQUE_PER_METRE = 10.0  # how torques are weighed against forces
CONTACT_REACH = 0.01  # metres above the surface that still count as contact
DEEPEST, DEEPEST_IN_TABLE = 0.005, 0.01  # metres; more, and a grasp is worth nothing


def wrenches(point_C3: np.ndarray, normal_C3: np.ndarray, friction: float = 1.0) -> np.ndarray:
    """(8 C, 6): forces n + mu (cos u + sin v) along the edges of each cone, and ten times their torques.

    normal: unit, into the object. Points are relative to the object's origin, metres.
    """
    # any vector that is not parallel to the normal: the axis that it has least of
    least_C3 = np.eye(3)[np.abs(normal_C3).argmin(axis=1)]
    u_C3 = np.cross(normal_C3, least_C3)
    u_C3 /= np.linalg.norm(u_C3, axis=1, keepdims=True)
    v_C3 = np.cross(normal_C3, u_C3)
    angle_E = 2.0 * np.pi * np.arange(EDGES) / EDGES
    around_CE3 = np.cos(angle_E)[:, None] * u_C3[:, None] + np.sin(angle_E)[:, None] * v_C3[:, None]
    force_CE3 = normal_C3[:, None] + friction * around_CE3
    torque_CE3 = TORQUE_PER_METRE * np.cross(point_C3[:, None], force_CE3)
    return np.concatenate([force_CE3, torque_CE3], axis=-1).reshape(-1, 6)


def q1(
    point_C3: np.ndarray,
    normal_C3: np.ndarray,
    friction: float = 1.0,
    penetration: float = 0.0,
    table_penetration: float = 0.0,
) -> float:
    """The least wrench that breaks the grasp, in [0, 1]: the distance from 0 to the hull of its wrenches and 0.

    penetration: metres that hand and object share; from 5 mm (of the table 1 cm) on a grasp is worth 0. So is one whose
    wrenches span less than six dimensions.
    """
    from scipy.spatial import ConvexHull, QhullError

    if penetration >= DEEPEST or table_penetration >= DEEPEST_IN_TABLE or len(point_C3) == 0:
        return 0.0
    with_zero = np.concatenate([wrenches(point_C3, normal_C3, friction), np.zeros((1, 6))])
    try:
        hull = ConvexHull(with_zero)
    except QhullError:  # flat
        return 0.0
    # each facet's plane is n x + d <= 0 with |n| = 1: its distance from 0 is -d
    return float(np.clip((-hull.equations[:, -1]).min(), 0.0, 1.0))


def contacts(signed_LP: np.ndarray, surface_LP3: np.ndarray, normal_LP3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One contact per link (L) that touches: its surface point that is deepest in the object, and the normal there.

    signed: of each surface point of each link into the object, metres, positive inside; deeper than -1 cm counts.
    """
    deepest_L = signed_LP.argmax(axis=1)
    link_L = np.arange(len(signed_LP))
    touches_L = signed_LP[link_L, deepest_L] > -CONTACT_REACH
    return surface_LP3[link_L, deepest_L][touches_L], normal_LP3[link_L, deepest_L][touches_L]


def spread(rotation_N33: np.ndarray, translation_N3: np.ndarray, joint_NJ: np.ndarray) -> dict[str, float]:
    """How diverse N grasps of one object are: root mean square turns from their mean rotation (degrees), translations
    (cm), and joints (degrees, over all joints). ValueError for less than two."""
    if len(rotation_N33) < 2:
        raise ValueError("spread: one grasp has no diversity; give at least two")
    u, _, vt = np.linalg.svd(rotation_N33.mean(axis=0))
    mean_33 = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    trace_N = np.einsum("nij,ij->n", rotation_N33, mean_33)
    turn_N = np.arccos(np.clip((trace_N - 1.0) / 2.0, -1.0, 1.0))
    away_N3 = translation_N3 - translation_N3.mean(axis=0)
    return {
        "rotation_deg": float(np.degrees(np.sqrt((turn_N**2).mean()))),
        "translation_cm": float(100.0 * np.sqrt((away_N3**2).sum(axis=1).mean())),
        "joint_deg": float(np.degrees(joint_NJ.std(axis=0).mean())),
    }
