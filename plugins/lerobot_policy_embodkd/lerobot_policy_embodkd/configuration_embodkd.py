"""What LeRobot knows of such a policy: config.json in its folder."""

from __future__ import annotations

from dataclasses import dataclass

from lerobot.configs.policies import PreTrainedConfig


@PreTrainedConfig.register_subclass("embodkd")
@dataclass
class EmbodkdConfig(PreTrainedConfig):
    """fps: the rate of the demonstrations, at which the policy must be run; action_feature_names: of its actions."""

    fps: float | None = None
    action_feature_names: list[str] | None = None

    @property
    def observation_delta_indices(self) -> None:
        """It looks at the present alone."""
        return None

    @property
    def action_delta_indices(self) -> None:
        """It is not trained here."""
        return None

    @property
    def reward_delta_indices(self) -> None:
        """It is not trained here."""
        return None

    def get_optimizer_preset(self) -> None:  # type: ignore[override]
        """Refuse to be trained."""
        raise NotImplementedError("embodkd trains its policies: embodkd distill student demos=...")

    def get_scheduler_preset(self) -> None:
        """It is not trained here."""
        return None

    def validate_features(self) -> None:
        """They were written by `convert` from the file itself."""
