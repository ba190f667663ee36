"""What is read off a file's text is what its registry is told when the file runs."""

from __future__ import annotations

import ast

from embodkd.core.config.registrations import Registration, registrations
from embodkd.methods import METHODS, get_method, method_facts, method_names

TEXT = """
@TABLE.register("plain")
def one(): ...

@other
@TABLE.register("told", unit="%", better="higher", computed=1 + 1, **more)
@dataclass(frozen=True)
class Two: ...

@TABLE.register(NAME)
class Three:
    @TABLE.register("inner")
    def four(self): ...

@registry().register("called")
@TABLE.entered("elsewhere")
def five(): ...
"""


def test_names_and_metadata_that_stand_in_the_text_are_read() -> None:
    told = {"unit": "%", "better": "higher"}
    assert registrations(ast.parse(TEXT)) == [Registration("TABLE", "plain", {}), Registration("TABLE", "told", told)]


def test_every_method_says_of_itself_the_same_with_and_without_being_imported() -> None:
    for name in method_names():
        get_method(name)
        assert dict(method_facts(name)) == dict(METHODS.metadata(name)), name
