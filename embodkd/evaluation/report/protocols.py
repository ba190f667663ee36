"""What a protocol is called, and the facts of it that stand above its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embodkd.evaluation.report.members import Member

_APART = ("seed", "measure", "learned_from")
"""What may differ among figures of one section: a comparison looks at it again."""
_SEEN = "image_size"
"""How finely its cameras see is a policy's affair, and the episodes are the same."""


def alike(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """What figures must agree in to stand in one section: task, robot, engine, randomness, episodes and all others."""
    told = {key: value for key, value in protocol.items() if key not in _APART}
    options = told.get("options")
    if isinstance(options, dict):
        told["options"] = {key: value for key, value in options.items() if key != _SEEN}
    return told


def titles(protocols: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each is called: its task and randomness, and whatever else tells those of one name apart."""
    short = [_title(protocol) for protocol in protocols]
    found = []
    for title, protocol in zip(short, map(_flat, protocols), strict=True):
        namesakes = [_flat(other) for other, name in zip(protocols, short, strict=True) if name == title]
        keys = sorted({key for one in namesakes for key in one})
        apart = [key for key in keys if len({str(one.get(key)) for one in namesakes}) > 1]
        found.append(", ".join([title, *(f"{key.replace('_', ' ')} {protocol.get(key, 'unsaid')}" for key in apart)]))
    return found


def facts(runs: Sequence[Member]) -> list[str]:
    """Engine, episodes and code of runs that were judged alike; [] if none was judged."""
    judged = [run.evaluation for run in runs if run.evaluation]
    if not judged:
        return []
    protocol, first = judged[0].protocol, judged[0]
    seeds = list(dict.fromkeys(seed for one in judged for seed in _seeds(one.protocol)))
    several = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds[:5]))}{', …' if len(seeds) > 5 else ''}"
    if "data" in protocol:
        found = [f"{first.episodes} items, drawn with {several}"]
    else:
        engine = protocol["engine"]
        versions = _distinct(one.manifest.get("versions", {}).get(engine) for one in judged)
        found = [f"{engine} {' and '.join(versions)}".strip(), f"{first.episodes} episodes of {several}"]
        if robot := protocol["options"].get("robot"):
            found.insert(1, f"robot: {robot}")
    code = [_short(commit) for commit in _distinct(one.manifest.get("git_commit") for one in judged)]
    if code:
        found.append(f"code {code[0]}" if len(code) == 1 else f"{len(code)} versions of the code")
    return found


def _title(protocol: Mapping[str, Any]) -> str:
    if "data" in protocol:
        return f"{_words(protocol['data']['name'])}, {protocol['part']}"
    if "task" in protocol:
        difficulty = protocol["options"].get("randomness")
        return f"{_words(protocol['task'])}, {difficulty} randomness" if difficulty else _words(protocol["task"])
    return "Recorded episodes" if protocol else "Not evaluated yet"


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _flat(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings and the options among them."""
    inner = {k: v for value in protocol.values() if isinstance(value, dict) for k, v in value.items()}
    return inner | {key: value for key, value in protocol.items() if not isinstance(value, dict)}


def _seeds(protocol: Mapping[str, Any]) -> list[Any]:
    seed = protocol["data"]["seed"] if "data" in protocol else protocol["seed"]
    return seed if isinstance(seed, list) else [seed]


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value))


def _short(commit: str) -> str:
    return f"{commit[:10]}{' with changes' if commit.endswith('-dirty') else ''}"
