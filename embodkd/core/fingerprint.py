"""Fingerprints: digests of everything that an answer depends on, the same in every process on one Python.

Data count by their values, objects by their class and fields, and functions by what they compute: their code, defaults
and closures, and the functions and constants of their module that they use. Of a library only names and its version
count. Whatever has a method `fingerprint()` is known by what that returns.
"""

from __future__ import annotations

import enum
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import partial
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_BY_WORD = (enum.Enum, PurePath, range, slice, torch.dtype, torch.device, torch.Size, np.dtype)
# What says where a module comes from or how it hangs together, none of which changes an answer by itself.
_BOOKKEEPING = {
    "training",
    "provenance",
    "_parameters",
    "_buffers",
    "_modules",
    "_compiled_call_impl",
    "call_super_init",
    "_flat_weights",  # of recurrent layers: their parameters again, and references to them
    "_flat_weight_refs",
}
_USED = (*_PLAIN, tuple, Tensor, np.ndarray, FunctionType, type)
_MEMBERS = (*_PLAIN, tuple, FunctionType, staticmethod, classmethod, property)
_ABSENT = object()
_ANSWERS = ("forward", "__call__", "signals")


def digest(thing: Any, what: str = "it") -> str:
    """32 hexadecimal digits that change when `thing` does; ValueError, naming the part of `what`, if one has none."""
    return _Digest(what).of(thing).hex()


def anatomy(model: nn.Module) -> list[Any]:
    """What a model is but for its numbers: classes, fields, and the names, shapes and types of its tensors."""
    tensors = [
        (name, tuple(value.shape), value.dtype)
        for name, value in (*model.named_parameters(recurse=False), *model.named_buffers(recurse=False))
    ]
    fields = {n: v for n, v in vars(model).items() if n not in _BOOKKEEPING and not n.endswith(_HOOKS)}
    hooks = [list(found.values()) for found in (model._forward_pre_hooks, model._forward_hooks)]
    children = [(name, None if child is None else anatomy(child)) for name, child in model._modules.items()]
    return [type(model), tensors, fields, hooks, children]


_HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called", "_buffers_set", "_full_backward_hook")


def tensors(model: nn.Module) -> dict[str, Any]:
    """All numbers of a model: parameters, buffers that are not saved too, and what else its state holds."""
    return {**dict(model.named_buffers()), **model.state_dict()}


class RowDigest:
    """A digest of rows that come piece by piece, whatever the pieces are."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._kinds: dict[str, tuple[str, str]] = {}

    def add(self, piece: Mapping[str, Tensor]) -> None:
        """The next rows, one tensor per field."""
        for name, value in piece.items():
            self._kinds[name] = (str(value.dtype), str(tuple(value.shape[1:])))
            self._fields.setdefault(name, hashlib.blake2b(digest_size=16)).update(_bytes(value))

    def hex(self) -> str:
        """The digest of all rows so far."""
        return digest({name: (*self._kinds[name], found.digest()) for name, found in self._fields.items()})


class _Digest:
    """One walk through a thing. What occurs twice is looked at once; a circle ends where it closes."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._known: dict[int, bytes] = {}
        self._alive: list[Any] = []

    def of(self, thing: Any, path: str = "") -> bytes:
        if id(thing) not in self._known:
            # Kept alive, so that no other object gets its number.
            self._alive.append(thing)
            self._known[id(thing)] = b"circle"
            found = hashlib.blake2b(digest_size=16)
            for part in self._parts(thing, path):
                found.update(len(part).to_bytes(8, "little") + part)
            self._known[id(thing)] = found.digest()
        return self._known[id(thing)]

    def _parts(self, thing: Any, path: str) -> Iterator[bytes]:
        """Bytes that stand for `thing`."""
        if isinstance(thing, _PLAIN):
            yield f"{type(thing).__name__} {thing!r}".encode()
        elif isinstance(thing, _BY_WORD):
            yield f"{type(thing).__name__} {thing}".encode()
        elif isinstance(thing, Tensor | np.ndarray | np.generic):
            value = torch.as_tensor(thing)
            yield f"{value.dtype} {tuple(value.shape)}".encode()
            yield _bytes(value)
        elif callable(getattr(thing, "fingerprint", None)) and not isinstance(thing, type):
            yield self.of(thing.fingerprint(), path)
        elif isinstance(thing, nn.Module):
            yield self.of([anatomy(thing), tensors(thing)], path)
        elif isinstance(thing, Mapping):
            # An installed package's own kind of mapping keeps notes to itself among its entries.
            noted = _installed(type(thing).__module__)
            kept = {k: v for k, v in thing.items() if not (noted and str(k).startswith("_"))}
            yield b"mapping"
            yield from sorted(self.of(key, path) + self.of(value, f"{path}.{key}") for key, value in kept.items())
        elif isinstance(thing, Set):
            yield b"".join((b"set", *sorted(self.of(value, path) for value in thing)))
        elif isinstance(thing, Sequence):
            yield b"sequence"
            for place, value in enumerate(thing):
                yield self.of(value, f"{path}[{place}]")
        else:
            yield from self._code_parts(thing, path)

    def _code_parts(self, thing: Any, path: str) -> Iterator[bytes]:
        if isinstance(thing, partial):
            yield b"partial" + self.of([thing.func, thing.args, thing.keywords], path)
        elif isinstance(thing, MethodType):
            yield b"method" + self.of(thing.__func__, path) + self.of(thing.__self__, path)
        elif isinstance(thing, FunctionType):
            yield from self._function(thing, path)
        elif isinstance(thing, type):
            yield from self._class(thing, path)
        elif isinstance(thing, staticmethod | classmethod):
            yield self.of(thing.__func__, path)
        elif isinstance(thing, property):
            yield self.of(thing.fget, path) if isinstance(thing.fget, FunctionType) else repr(thing.fget).encode()
        elif isinstance(thing, BuiltinFunctionType | np.ufunc) or type(thing).__name__.startswith(
            ("builtin", "method")
        ):
            owner = getattr(thing, "__self__", None)
            yield f"builtin {getattr(thing, '__qualname__', thing.__name__)}".encode()
            yield b"" if owner is None or isinstance(owner, ModuleType | type) else self.of(owner, path)
        elif hasattr(thing, "__dict__") and not isinstance(thing, ModuleType):
            yield b"object" + self.of(type(thing), path)
            yield self.of(vars(thing), path)
        else:
            raise ValueError(
                f"{self._what}{path}: a {type(thing).__name__} cannot be told from another one; give what holds it a "
                "method fingerprint() that returns, as plain data, everything that its answers depend on"
            )

    def _function(self, function: FunctionType, path: str) -> Iterator[bytes]:
        yield f"function {function.__module__}.{function.__qualname__} {_version(function.__module__)}".encode()
        if _library(function.__module__):
            closed = function.__closure__ or ()
            yield self.of([cell.cell_contents for cell in closed], path) if "<locals>" in function.__qualname__ else b""
            return
        code = function.__code__
        yield self._code(code, function.__doc__, path)
        yield self._used([function.__defaults__, function.__kwdefaults__], path)
        for cell in function.__closure__ or ():
            yield self.of(cell.cell_contents, path)
        for name in sorted(_names(code)):
            used = function.__globals__.get(name)
            # Modules and registries are no part of what is computed; what is called out of them is not looked for.
            if (
                isinstance(used, (*_PLAIN, tuple, Tensor, np.ndarray, FunctionType, type))
                and name in function.__globals__
            ):
                yield name.encode() + self._used(used, path)

    def _code(self, code: CodeType, doc: str | None, path: str) -> bytes:
        constants = [c for k, c in enumerate(code.co_consts) if k or c != doc]
        inner = [self._code(c, None, path) if isinstance(c, CodeType) else self.of(c, path) for c in constants]
        return b"".join((code.co_code, *inner, *(name.encode() for name in code.co_names)))

    def _class(self, kind: type, path: str) -> Iterator[bytes]:
        yield f"class {kind.__module__}.{kind.__qualname__} {_version(kind.__module__)}".encode()
        if _library(kind.__module__):
            return
        for base in kind.__bases__:
            yield self.of(base, path)
        for name in sorted(_answering(kind)):
            yield name.encode() + self._used(vars(kind)[name], path)

    def _used(self, thing: Any, path: str) -> bytes:
        """What code uses by name. There the unknown is known by its class: it is no part of what was handed in."""
        try:
            return self.of(thing, path)
        except ValueError:
            return type(thing).__qualname__.encode()


def _answering(kind: type) -> set[str]:
    """The members of a class by which its objects answer, and those that they use in turn; all where there are none."""
    own = {n for n, m in vars(kind).items() if isinstance(m, _MEMBERS) and (n == "__call__" or not n.startswith("__"))}
    whole = {name for base in kind.__mro__ for name in vars(base)}
    if not whole & set(_ANSWERS):
        return own
    found, new = set(), set(_ANSWERS) & whole
    while new:
        found |= new
        codes = [_code_of(vars(base)[name]) for base in kind.__mro__ for name in new if name in vars(base)]
        new = {used for code in codes if code is not None for used in _names(code)} & whole - found
    return found & own


def _code_of(member: Any) -> CodeType | None:
    function = getattr(member, "__func__", getattr(member, "fget", member))
    return function.__code__ if isinstance(function, FunctionType) and not _library(function.__module__) else None


def _names(code: CodeType) -> set[str]:
    """The global names that some code may use, in functions inside it too."""
    return set(code.co_names).union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))


def _bytes(value: Tensor) -> bytes:
    # flat before its bytes are looked at: a contiguous tensor with axes of one item may have any strides there
    return value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _library(module: str | None) -> bool:
    """Whether a module belongs to Python or to an installed package."""
    return _root(module) in sys.stdlib_module_names and module != "__main__" or _installed(module)


def _installed(module: str | None) -> bool:
    # An environment may borrow packages from another one, so that no list of folders is complete.
    file = getattr(sys.modules.get(_root(module)), "__file__", None) or ""
    return bool({"site-packages", "dist-packages"} & set(PurePath(file).parts))


def _root(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _version(module: str | None) -> str:
    return str(getattr(sys.modules.get(_root(module)), "__version__", ""))
