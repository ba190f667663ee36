"""`embodkd data list` and `embodkd data get NAME`."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embodkd.cli.errors import Refused


def show(words: list[str]) -> int:
    """One line per data set: its name and kind, whether it can be used now or what it lacks, what it holds, licence."""
    if words:
        raise Refused(f"data list: takes no word, got {words[0]!r}")
    from embodkd.data import DATA, kind_of

    said = {name: DATA.metadata(name) for name in DATA}
    rows = [(name, kind_of(name), _state(of), f"{of['title']} ({of['licence']})") for name, of in said.items()]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1, 2)]
    for name, kind, state, title in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {state:<{widths[2]}}  {title}")
    return 0


def get(words: list[str]) -> int:
    """Fetch a data set that no Python package carries into the user's cache, and say where it lies; or prepare meshes
    to be grasped, a folder or PyBullet's random ones."""
    from embodkd.core.config.registry import near
    from embodkd.data import DATA
    from embodkd.data.assets import ASSETS, present
    from embodkd.data.assets import get as fetch
    from embodkd.envs.tasks.grasp.meshes import RANDOM, prepare

    if len(words) != 1:
        raise Refused(f"data get: name one data set, for example: embodkd data get {ASSETS.names()[0]}")
    name = words[0]
    if name == RANDOM or Path(name).is_dir():
        for line in prepare(name):
            print(line, flush=True)
        return 0
    if name in DATA:
        name = DATA.metadata(name).get("asset", name)
    if name not in ASSETS:
        if name in DATA:
            print(f"{name}: nothing to fetch, {_state(DATA.metadata(name))}")
            return 0
        raise Refused(f"data get: unknown data set {name!r}: {near(name, ASSETS)}")
    if not present(name):
        print(f"{name}: fetching {ASSETS.metadata(name)['size']}", flush=True)
    print(f"{name}: {fetch(name)}")
    return 0


def _state(metadata: Mapping[str, Any]) -> str:
    from embodkd.data.assets import present

    if "module" in metadata and importlib.util.find_spec(metadata["module"]) is None:
        return f"pip install 'embodkd[{metadata.get('extra', 'vision')}]'"
    if "asset" in metadata and not (present(metadata["asset"]) or Path(metadata.get("installed", "?")).is_dir()):
        return f"embodkd data get {metadata['asset']}"
    return "ready"
