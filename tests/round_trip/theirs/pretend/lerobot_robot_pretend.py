"""An arm without a body, found by LeRobot as any third party's: it goes where it is sent and writes down how."""

import json
from dataclasses import dataclass, field

import numpy as np
import so101
from lerobot.robots import Robot, RobotConfig


@RobotConfig.register_subclass("pretend")
@dataclass
class PretendConfig(RobotConfig):
    log: str = ""
    size: list[int] = field(default_factory=lambda: [48, 64])


class Pretend(Robot):
    config_class = PretendConfig
    name = "pretend"

    def __init__(self, config):
        super().__init__(config)
        self.config, self.at, self.sent, self.connected = config, so101.numbers()[0][0], [], False

    @property
    def observation_features(self):
        return {**dict.fromkeys(so101.NAMES, float), **dict.fromkeys(so101.CAMERAS, (*self.config.size, 3))}

    @property
    def action_features(self):
        return dict.fromkeys(so101.NAMES, float)

    @property
    def is_connected(self):
        return self.connected

    @property
    def is_calibrated(self):
        return True

    def connect(self, calibrate=True):
        self.connected = True

    def calibrate(self):
        pass

    def configure(self):
        pass

    def get_observation(self):
        grey = np.full((*self.config.size, 3), 128, np.uint8)
        return {**dict(zip(so101.NAMES, map(float, self.at), strict=True)), **dict.fromkeys(so101.CAMERAS, grey)}

    def send_action(self, action):
        self.at = np.array([action[name] for name in so101.NAMES])
        self.sent.append(self.at.tolist())
        return action

    def disconnect(self):
        self.connected = False
        with open(self.config.log, "w") as file:
            json.dump(self.sent, file)
