"""What the released tasks pay."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from embodkd.parts.grasps.rewards import VARIANTS, GraspState, grasp_reward

TIPS = torch.tensor(
    [(0.06, 0, 0.03), (0.06, 0.02, 0.03), (0.06, -0.02, 0.03), (0.05, -0.05, 0.03), (-0.06, 0, 0.03)],
    dtype=torch.float64,
)


def _state(
    at: tuple[float, float, float] = (0.02, -0.01, 0.70),
    palm: tuple[float, float, float] = (0.02, 0.01, 0.08),
    joint: float = 0.1,
) -> GraspState:
    def row(*numbers: float) -> torch.Tensor:
        return torch.tensor([numbers], dtype=torch.float64)

    thing = row(*at)
    return GraspState(
        object=thing,
        target=row(0, 0, 0.9),
        palm=thing + row(*palm),
        tips=thing[:, None] + TIPS,
        place=row(0.05, -0.02, 0.03),
        rotation=row(0.1, 0.2, -0.1),
        joints=torch.full((1, 22), joint, dtype=torch.float64),
        up=torch.tensor([0.4], dtype=torch.float64),
        lies=torch.tensor([0.03], dtype=torch.float64),
    )


ROWS = {
    "lifted": (_state(), (0.229055, 0.378954, 0.332055, 0.378954)),
    "palm 13 cm away": (_state(palm=(0.02, 0.01, 0.128)), (-0.455325, -0.305426, -0.352325, -0.305426)),
    "joints far": (_state(joint=0.35), (-0.543453, 0.378954, 0.277055, 0.378954)),
    "between both heights": (_state((0.02, -0.01, 0.632)), (-0.046315, 0.243584, 0.056685, 0.103584)),
    "at the target": (_state((0.02, -0.01, 0.88)), (1.400778, 1.550677, 1.503778, 1.550677)),
    "thrown there": (_state((0.02, -0.01, 0.88), (0.3, 0, 0.1)), (0.127617, -0.491716, -0.538614, -0.491716)),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_cards_rewards(name: str) -> None:
    state, paid = ROWS[name]
    assert [float(grasp_reward(state, variant)) for variant in VARIANTS] == pytest.approx(paid, abs=1e-6)


def test_limits_count_as_inside() -> None:
    state = replace(_state(), place=torch.tensor([[0.4, 0.0, 0.0]], dtype=torch.float64))
    beyond = replace(state, place=state.place + 1e-9)
    assert float(grasp_reward(state, "state_goal") - grasp_reward(beyond, "state_goal")) > 0.4


def test_copies_do_not_disturb_each_other() -> None:
    states = [state for state, _ in ROWS.values()]
    together = GraspState(
        *(torch.cat([getattr(state, name) for state in states]) for name in GraspState.__annotations__)
    )
    for variant in VARIANTS:
        alone = torch.cat([grasp_reward(state, variant) for state in states])
        assert torch.equal(grasp_reward(together, variant), alone)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="vision_goal"):
        grasp_reward(_state(), "vision_goals")
