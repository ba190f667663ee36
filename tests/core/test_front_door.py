"""`from embodkd.core import ...`: what the stub names is there, and asking for the core alone costs nothing."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import embodkd.core

STUB = Path(embodkd.core.__file__).with_suffix(".pyi")
NAMES = {a.name: n.module for n in ast.parse(STUB.read_text()).body if isinstance(n, ast.ImportFrom) for a in n.names}


def test_every_name_of_the_stub_is_the_one_of_the_file_it_names():
    for name, module in NAMES.items():
        home = importlib.import_module(f"embodkd.core.{module}")
        assert getattr(embodkd.core, name) is getattr(home, name), name
    assert set(embodkd.core.__all__) == set(NAMES)


def test_a_name_stands_where_it_is_defined():
    for name, module in NAMES.items():
        member = getattr(embodkd.core, name)
        if hasattr(member, "__module__") and isinstance(member, type):
            assert member.__module__ == f"embodkd.core.{module}", name


def test_importing_the_core_imports_no_torch():
    code = "import sys, embodkd.core; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
