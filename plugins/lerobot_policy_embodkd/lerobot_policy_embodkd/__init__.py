"""Policies that embodkd exported, as LeRobot's own. Importing this registers them with LeRobot."""

from lerobot_policy_embodkd.configuration_embodkd import EmbodkdConfig

__all__ = ["EmbodkdConfig"]
