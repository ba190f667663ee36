"""The model card of a policy folder, in the format of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.core.sources.action import ActionFacts


def model_card(title: str, config: Mapping[str, Any]) -> str:
    """Markdown with a YAML head; everything on it comes from `config` (a policy's config.json)."""
    task = config["task"]
    rate = f"{config['control_hz']:.1f} Hz" if config["control_hz"] else "not stated"
    engine = f"Engine {task['engine']}, " if task.get("engine") else "Of demonstrations, no simulator; "
    lines = [
        "---",
        "library_name: embodkd",
        "pipeline_tag: robotics",
        "license: apache-2.0",
        f"tags: [embodkd, {task.get('name')}, {config['policy']}]",
        "---",
        f"# {title}: `{config['policy']}` for `{task.get('name')}`",
        "",
        f"{engine}control rate {rate}.",
        "",
        "| reads | shape | unit | known to a deployed robot |",
        "| --- | --- | --- | --- |",
    ]
    for name, group in config["groups"].items():
        known = "**no (privileged)**" if group["privileged"] else "yes"
        lines.append(f"| `{name}` | {tuple(group['shape'])} | {group['unit']} | {known} |")
    lines += ["", "| gives | unit | within |", "| --- | --- | --- |"]
    actions = ActionFacts.from_dict(config["action"])
    for name, unit, low, high in zip(actions.names, actions.units, actions.low, actions.high, strict=True):
        lines.append(f"| `{name}` | {unit or 'not stated'} | {low:.6g} to {high:.6g} |")
    sections = {"Task options": task.get("options"), "Lineage": config["lineage"], "Facts": config["extra"]}
    for heading, facts in sections.items():
        if facts:
            lines += ["", f"## {heading}", "", *(f"- {key}: `{value}`" for key, value in facts.items())]
    return "\n".join([*lines, "", _USE.format(runner=RUNNER.read_text(encoding="utf-8").rstrip())])


RUNNER = Path(__file__).with_name("runner.py")
_USE = """## Use

As its evaluation acts; a session carries out what was planned, and forgets it where an episode begins:

```python
from embodkd.policies import load_policy, session_of

policy, meta = load_policy("path/to/this/folder")
robot = session_of(policy, copies=1)
robot.begin()  # at the start of every episode
action = robot.act(observation)[0]  # at every control step; observation: group name -> array (1, *shape)
```

## Without torch

`embodkd export policy=path/to/this/folder` writes `policy.onnx`. This is all that a robot needs beside it:

```python
{runner}
```

```python
robot = Robot("policy.onnx")
robot.begin()  # at the start of every episode
action = robot.act(observation)  # at every control step; observation: group name -> array of its shape
```
"""
