"""`lerobot-embodkd FILE.onnx FOLDER`: an exported policy as a folder that LeRobot loads."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from lerobot.configs.types import FeatureType, PolicyFeature

from lerobot_policy_embodkd.configuration_embodkd import EmbodkdConfig
from lerobot_policy_embodkd.modeling_embodkd import FILE, TOLD
from lerobot_policy_embodkd.processor_embodkd import make_embodkd_pre_post_processors
from lerobot_policy_embodkd.runner import Robot


def convert(file: str | Path, folder: str | Path) -> EmbodkdConfig:
    """Write the folder, which must not exist; ValueError for a file that is damaged or says nothing of the features."""
    file, folder = Path(file), Path(folder)
    if not file.is_file():
        raise ValueError(f"{file}: no such file; make it with `embodkd export policy=... format=onnx`")
    if folder.exists():
        raise ValueError(f"{folder}: exists; choose another name or remove it")
    config = _config(file)
    folder.mkdir(parents=True)
    config._save_pretrained(folder)
    for steps in make_embodkd_pre_post_processors(config):
        steps.save_pretrained(folder)
    shutil.copyfile(file, folder / FILE)
    return config


def _config(file: Path) -> EmbodkdConfig:
    """What the file says of what it reads and gives, in LeRobot's words."""
    try:
        robot = Robot(file.read_bytes())
        facts, ports = robot.facts, {port.name: tuple(port.shape[1:]) for port in robot.net.get_inputs()}
        told = {name: tuple(port["shape"]) for name, port in facts["inputs"].items()}
        if told != ports:
            raise ValueError(f"it says that it reads {told}, its network reads {ports}")
        if facts.get("places"):
            return _told(facts)
    # onnxruntime has a class of its own for each kind of damage, and a stranger's facts can fail anywhere
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{file}: not as `embodkd export format=onnx` writes one ({why}); export it again") from error
    raise ValueError(
        f"{file}: its policy was not made from a LeRobot dataset, so nobody knows which of a robot's features it "
        "reads: distil it from demonstrations (embodkd distill student demos=...)"
    )


def _told(facts: dict[str, Any]) -> EmbodkdConfig:
    if len(facts["action"]["names"]) != facts["action"]["size"]:
        raise ValueError(f"{facts['action']['size']} actions have {len(facts['action']['names'])} names")
    features: dict[str, PolicyFeature] = {}
    for name, (feature, start) in facts["places"].items():
        if name not in facts["inputs"] or name == TOLD:
            continue
        shape, seen = tuple(facts["inputs"][name]["shape"]), facts["inputs"][name]["dtype"] == "uint8"
        before = features[feature].shape[0] if feature in features and not seen else 0
        size = shape if seen else (max(before, start + shape[0]),)
        features[feature] = PolicyFeature(FeatureType.VISUAL if seen else FeatureType.STATE, size)
    return EmbodkdConfig(
        input_features=features,
        output_features={"action": PolicyFeature(FeatureType.ACTION, (facts["action"]["size"],))},
        device="cpu",
        fps=float(facts["control_hz"]),
        action_feature_names=list(facts["action"]["names"]),
        license="apache-2.0",
        push_to_hub=False,
    )


def main() -> int:
    """The command line; its exit code."""
    parser = argparse.ArgumentParser(prog="lerobot-embodkd", description=__doc__)
    parser.add_argument("file", help="an ONNX file that `embodkd export` wrote")
    parser.add_argument("folder", help="the new folder, for --policy.path=")
    given = parser.parse_args()
    try:
        config = convert(given.file, given.folder)
    except ValueError as error:
        print(f"lerobot-embodkd: {error}", file=sys.stderr)
        return 2
    names = ", ".join(config.action_feature_names or ())
    print(f"{given.folder}: lerobot-rollout --policy.path={given.folder} --fps={config.fps:g}; it gives {names}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
