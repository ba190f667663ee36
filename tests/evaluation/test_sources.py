"""Which sources a result rests on: what runs, resolved to the files that define it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from embodkd.evaluation.tables.sources import Sources, sources

TREE = {
    "house": "",
    "house.core": "import lazy\n__getattr__ = lazy.attach(__name__)",
    "house.core.trainer": "from house.core.files import read\nclass Trainer:\n    pass",
    "house.core.files": "def read():\n    pass",
    "house.core.far": "x = 1",
    "house.core.table": "class Table:\n    pass",
    "house.typed": "y = 1",
    "house.members": """
        from house.core.table import Table
        from house.members import red, blue
        COLOURS = Table()
        def colour(name):
            return COLOURS[name]
        """,
    "house.members.red": "from house.members import COLOURS\n@COLOURS.register('red')\nclass Red: pass",
    "house.members.blue": "from house.members import COLOURS\n@COLOURS.register('blue')\nclass Blue: pass",
    "house.tasks": """
        TASKS = {"peg": ("house.tasks.peg", "Peg"), "mug": ("house.tasks.mug", "Mug")}
        def make(name):
            return TASKS[name]
        """,
    "house.tasks.peg": "class Peg: pass",
    "house.tasks.mug": "class Mug: pass",
    "house.verb": """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from house.typed import y
        def run(config):
            from house.core import Trainer
            from house.members import colour
            return _judge(colour(config), Trainer)
        def _judge(*found):
            from house.tasks import make
            return make(*found)
        def other():
            from house.core.far import x
            return x
        """,
}
STUB = "from .trainer import Trainer as Trainer\nfrom .far import x as x\n"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, text in TREE.items():
        package = any(other.startswith(f"{name}.") for other in TREE)
        place = tmp_path.joinpath(*name.split("."))
        found[name] = place / "__init__.py" if package else place.with_suffix(".py")
        found[name].parent.mkdir(parents=True, exist_ok=True)
        found[name].write_text(dedent(text))
    found["house.core"].with_suffix(".pyi").write_text(STUB)
    return found


def reached(files: Mapping[str, Path], *roots: str, config: object = ()) -> set[str]:
    return {name.removeprefix("house.") for name in Sources(files).reached(roots, config)}


def test_names_that_packages_hand_on_lead_to_their_files_and_unused_functions_nowhere(files: dict[str, Path]) -> None:
    # neither `core` (a lazy package), nor `typed`, nor what `other` imports, nor any member
    assert reached(files, "house.verb:run") == {"verb", "core.trainer", "core.files", "core.table", "members", "tasks"}
    assert reached(files, "house.verb:other") == {"verb", "core.far"}


def test_members_are_reached_by_a_configuration_that_names_them(files: dict[str, Path]) -> None:
    plain = reached(files, "house.verb:run")
    assert reached(files, "house.verb:run", config={"colour": {"name": "red"}}) == plain | {"members.red"}
    assert reached(files, "house.verb:run", config={"task": ["mug", 3]}) == plain | {"tasks.mug"}
    # a word is a member only where its registry is
    assert "members.red" not in reached(files, "house.verb:other", config=["red"])


def test_a_file_that_imports_a_member_by_name_reaches_it(files: dict[str, Path]) -> None:
    files["house.verb"].write_text("def run():\n    from house.members.blue import Blue\n    return Blue")
    assert "members.blue" in reached(files, "house.verb:run")


def test_a_package_that_is_taken_whole_reaches_all_that_it_hands_on(files: dict[str, Path]) -> None:
    files["house.verb"].write_text("from house import core\ndef run():\n    return core.x")
    assert {"core.far", "core.trainer"} <= reached(files, "house.verb:run")


def test_a_digest_follows_what_is_reached_and_only_that(files: dict[str, Path]) -> None:
    def digest() -> str:
        return Sources(files).digest(["house.verb:run"], ["red"])

    before = digest()
    for name in ("house.members.blue", "house.typed", "house.core.far", "house.core"):
        files[name].write_text(files[name].read_text() + "\n# edited")
        assert digest() == before, name
    for name in ("house.members.red", "house.core.files", "house.verb"):
        files[name].write_text(files[name].read_text() + "\n# edited")
        assert digest() != before, name
        before = digest()


def test_what_is_edited_while_it_runs_is_not_what_runs(files: dict[str, Path]) -> None:
    read = Sources(files)
    before = read.digest(["house.verb:run"])
    files["house.core.files"].write_text("def read():\n    return 1")
    assert read.digest(["house.verb:run"]) == before != Sources(files).digest(["house.verb:run"])


def test_an_unknown_root_is_an_error(files: dict[str, Path]) -> None:
    for root in ("house.nothing", "house.verb:nothing"):
        with pytest.raises(ValueError, match=f"{root}: its source cannot be found"):
            Sources(files).reached([root])


def ours(root: str, **config: object) -> set[str]:
    return sources().reached([root], config)


def test_of_our_own_verbs_each_reaches_its_method_student_and_task() -> None:
    found = ours(
        "embodkd.cli.distill:DistillStudent",
        method={"name": "dagger"},
        student={"name": "depth_cnn"},
        task={"name": "peg_assembly", "robot": "gripper"},
    )
    reaches = {"methods.dagger", "policies.cameras", "envs.tasks.assembly.peg", "envs.sim.batch_sim", "rl.train"}
    assert {f"embodkd.{name}" for name in reaches} <= found
    strangers = {"methods.bc", "methods.kd", "policies.diffusion", "envs.tasks.hand_lift", "evaluation.report"}
    assert not {f"embodkd.{name}" for name in strangers} & found


def test_what_a_run_imports_of_ours_beyond_its_digest_is_no_part_of_it(tmp_path: Path) -> None:
    """A real run in this process: whatever it executes of our files is in the digest, or is a package's door."""
    import inspect
    import sys
    import threading

    from embodkd.cli import main

    executed: set[str] = set()

    def watch(frame, event, argument):
        # the body of a module or class runs when it is imported, needed or not
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            executed.add(frame.f_code.co_filename)

    words = (
        f"train teacher data=digits data.train=60 data.validation=40 model.hidden=[4] budget.updates=2 run={tmp_path}/t"
    )
    before = sys.getprofile()
    sys.setprofile(watch)
    threading.setprofile(watch)
    try:
        assert main([*words.split(), "quiet=true"]) == 0
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    config = {"data": {"name": "digits"}, "model": {"name": "mlp"}, "method": {"name": "supervised"}}
    found = ours("embodkd.cli.classifier:TrainClassifier", **config)
    read = sources()
    ran = {name for name, file in read.files.items() if str(file) in executed and not read.module(name).package}
    # the command line itself brings words into a config, which a mark holds
    assert {name for name in ran - found if not name.startswith("embodkd.cli.")} == set()
