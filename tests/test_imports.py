"""What the house promises about its own source: who imports whom, how long files are, what is never called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# package -> where its source lies; the order is the direction: each may import from those named.
PLACES = {
    "core": "embodkd/core",
    "parts": "embodkd/parts",
    "envs": "envs",
    "policies": "policies",
    "data": "embodkd/data",
    "models": "embodkd/models",
    "methods": "embodkd/methods",
    "rl": "embodkd/rl",
    "evaluation": "embodkd/evaluation",
    "cli": "embodkd/cli",
    "configs": "configs",
}
ALLOWED = {
    "core": set(),
    "parts": {"core"},
    "envs": {"core"},
    "policies": {"core"},
    "data": {"core"},
    "models": {"core", "parts"},
    "methods": {"core", "parts", "envs", "policies"},
    "rl": {"core", "envs", "policies"},
    "evaluation": {"core", "parts", "envs", "policies", "data", "models", "methods"},
    "cli": {"core", "parts", "envs", "policies", "data", "models", "methods", "rl", "evaluation", "configs"},
    "configs": set(),
}


def sources() -> list[Path]:
    folders = ("embodkd", "envs", "policies", "configs", "tests", "benchmarks")
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported anywhere in a file, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import: its direction cannot be read off"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", PLACES)
def test_imports_go_down_only(package: str) -> None:
    wrong = []
    for file in sorted((ROOT / PLACES[package]).rglob("*.py")):
        for name in imported(ast.parse(file.read_text())):
            top, target = (*name.split("."), "")[:2]
            if top == "embodkd" and target in PLACES and target not in {package, *ALLOWED[package]}:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_methods_do_not_import_methods() -> None:
    for file in sorted((ROOT / "embodkd/methods").glob("*.py")):
        names = set(imported(ast.parse(file.read_text())))
        others = {p.stem for p in (ROOT / "embodkd/methods").glob("*.py")} - {"__init__"}
        assert not {n for n in names if n.startswith("embodkd.methods.") and n.split(".")[2] in others}, file


def test_the_direction_has_no_circle() -> None:
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        ready = {p for p, below in ALLOWED.items() if p not in done and below <= done}
        assert ready, f"a circle among {set(ALLOWED) - done}"
        done |= ready


def modules(root: Path) -> dict[str, Path]:
    """Dotted name -> file of everything installed, and of the benchmarks."""
    packages = {"embodkd": "embodkd", "benchmarks": "benchmarks"}
    packages |= {folder: f"embodkd.{folder}" for folder in ("envs", "policies", "configs")}
    found = {}
    for place, package in packages.items():
        for file in (root / place).rglob("*.py"):
            parts = (package, *file.relative_to(root / place).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = file
    return found


def runs(node: ast.AST) -> Iterator[ast.AST]:
    """What is below a node, without what never runs or only when a name is asked for: types, and a lazy package."""
    types_only = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    for child in node.orelse if types_only else ast.iter_child_nodes(node):
        lazy = isinstance(node, ast.Module) and isinstance(child, ast.FunctionDef) and child.name == "__getattr__"
        if not lazy:
            yield child
            yield from runs(child)


def files_imported(files: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules whose files it needs: `from package import name` needs the file that defines the name."""
    trees = {name: ast.parse(file.read_text()) for name, file in files.items()}
    # a lazy package says in a stub where its names come from
    stubs = {name: file.with_suffix(".pyi") for name, file in files.items()}
    handed = {name: ast.parse(stub.read_text()) if stub.exists() else trees[name] for name, stub in stubs.items()}

    def home(module: str, name: str) -> str:
        if f"{module}.{name}" in files or module not in files:
            return f"{module}.{name}"
        for node in handed[module].body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return home(str(node.module), alias.name)
        return module

    needs: dict[str, set[str]] = {}
    for module, tree in trees.items():
        found = set()
        for node in runs(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {home(str(node.module), alias.name) for alias in node.names}
        needs[module] = found & files.keys() - {module}
    return needs


def circle(needs: dict[str, set[str]]) -> list[str]:
    """One circle of files that import each other, [] if there is none."""
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_circle_of_files() -> None:
    assert not circle(files_imported(modules(ROOT)))


def test_a_circle_of_files_is_found_through_packages_and_functions_and_not_through_types(tmp_path: Path) -> None:
    lines = {
        "__init__.py": "from embodkd.one import ONE\n",
        "one.py": "ONE = 1\ndef late():\n    from embodkd.two import TWO\n",
        "two.py": "TWO = 2\n",
        "lazy/__init__.py": "def __getattr__(name):\n    from embodkd.lazy import two\n    return two\n",
        "lazy/__init__.pyi": "from embodkd.lazy.two import TWO as TWO\n",
        "lazy/two.py": "from embodkd.lazy.types import Three\n",
        "lazy/types.py": "import typing\nif typing.TYPE_CHECKING:\n    from embodkd.lazy import TWO\n",
    }
    (tmp_path / "embodkd/lazy").mkdir(parents=True)

    def found(**changed: str) -> set[str]:
        for name, text in {**lines, **{name.replace("_", "/") + ".py": text for name, text in changed.items()}}.items():
            (tmp_path / "embodkd" / name).write_text(text)
        return set(circle(files_imported(modules(tmp_path))))

    assert found() == set()
    assert found(two="from embodkd import ONE\n") == {"embodkd.one", "embodkd.two"}
    assert found(lazy_types="from embodkd.lazy import TWO\n") == {"embodkd.lazy.two", "embodkd.lazy.types"}


def test_no_file_is_longer_than_400_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > 400}
    assert not long


# Published weights that exist only as a pickle: a known hash, and tensors only.
READS_FOREIGN_TENSORS = {"embodkd/models/efficientnet.py"}


def test_nothing_unpickles_or_evaluates() -> None:
    wrong = []
    for file in sources():
        if file.relative_to(ROOT).parts[0] in ("tests", "benchmarks"):
            continue
        tree = ast.parse(file.read_text())
        names = {n.split(".")[0] for n in imported(tree)}
        if names & {"pickle", "cloudpickle", "dill", "joblib", "shelve"}:
            wrong.append(f"{file}: imports a pickler")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            allows = any(k.arg == "allow_pickle" for k in node.keywords)
            tensors_only = any(ast.unparse(k) == "weights_only=True" for k in node.keywords)
            if called == "torch.load" and tensors_only and str(file.relative_to(ROOT)) in READS_FOREIGN_TENSORS:
                continue
            if called in ("eval", "exec", "torch.load", "torch.save", "np.load", "numpy.load") or allows:
                wrong.append(f"{file}:{node.lineno}: {called}")
    assert not wrong


def test_nothing_swallows_errors() -> None:
    wrong = []
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ExceptHandler) and [type(n) for n in node.body] == [ast.Pass]:
                broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
                if broad:
                    wrong.append(f"{file}:{node.lineno}")
    assert not wrong


def test_tests_mirror_the_folders() -> None:
    apart = {"processes", "faults", "round_trip"}  # what holds for several of them at once
    known = {file.parent for file in modules(ROOT).values()}
    for folder in {file.parent.relative_to(ROOT / "tests") for file in (ROOT / "tests").glob("*/**/test_*.py")}:
        places = (ROOT / "embodkd" / folder, ROOT / folder)
        assert folder.parts[0] in apart or known & set(places), f"tests/{folder} mirrors no folder with code"


def test_every_folder_with_code_is_installed() -> None:
    import importlib.util

    for folder in ("embodkd", "envs", "policies", "configs"):
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            name = ".".join(parts if parts[0] == "embodkd" else ("embodkd", *parts))
            assert importlib.util.find_spec(name) is not None, f"{name} is not importable where it is installed"
    for folder in ("embodkd", "envs", "policies"):
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), f"{file.parent} has code but no __init__.py"


def test_mujoco_is_the_pinned_release() -> None:
    assert metadata.version("mujoco") == "4.0.0"
