"""Classes and functions as sections of a page: their signatures, members and docstrings, read from the source."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from docs.generators.markdown import block, member_docs, one_line, prose, table

__all__ = ["class_section", "function_section", "public_members"]

WIDTH = 88


def class_section(cls: type, level: str = "##", *, members: bool = True, constructor: bool = True) -> str:
    """Return what a class is: its constructor, members and public methods.

    ``members``: with those of a Struct. ``constructor``: with how one is made.
    """
    parts = [f"{level} {cls.__name__}\n"]
    init = cls.__dict__.get("__init__") if constructor and not getattr(cls, "_is_protocol", False) else None
    if isinstance(init, FunctionType):
        parts.append(block("py", _signature(init, cls.__name__)))
    parts.append(f"`from {_home(cls)} import {cls.__name__}`\n")
    parts.append(prose(cls.__doc__) + "\n")
    if isinstance(init, FunctionType) and init.__doc__:
        parts.append(prose(init.__doc__) + "\n")
    if members and (rows := list(_members(cls))):
        parts.append(table(("member", "type", "default", ""), rows))
    parts += [_method(cls, name, method, f"{level}#") for name, method in public_members(cls)]
    return "\n".join(parts)


def function_section(function: FunctionType, level: str = "##") -> str:
    """Return what a function is."""
    head = f"{level} {function.__name__}\n\n{block('py', _signature(function, function.__name__))}\n"
    return f"{head}`from {_home(function)} import {function.__name__}`\n\n{prose(function.__doc__)}\n"


def public_members(cls: type) -> Iterator[tuple[str, Any]]:
    """The methods and properties that a class itself defines, but for private ones and those of every object."""
    for name, member in cls.__dict__.items():
        if not name.startswith("_") and isinstance(member, FunctionType | property | classmethod | staticmethod):
            yield name, member


def _home(item: type | FunctionType) -> str:
    import caseassist

    return "caseassist" if item.__name__ in caseassist.__all__ else item.__module__


def _method(cls: type, name: str, member: Any, level: str) -> str:
    head = f"{level} {cls.__name__}.{name}\n"
    if isinstance(member, property):
        assert isinstance(member.fget, FunctionType)
        returns = ast.unparse(_node(member.fget).returns or ast.Constant(None))
        return f"{head}\nProperty, `{returns}`. {prose(member.__doc__)}\n"
    prefix = ""
    if isinstance(member, classmethod | staticmethod):
        prefix = f"@{type(member).__name__}\n"
        member = member.__func__
    doc = prose(member.__doc__)
    if doc.startswith("See `Session."):
        called = doc.removeprefix("See `").partition("`")[0]
        doc = f"See [{called}](#{called.lower().replace('.', '')})."
    return f"{head}\n{block('py', prefix + _signature(member, name, keyword=True))}\n{doc}\n"


def _node(function: FunctionType) -> ast.FunctionDef | ast.AsyncFunctionDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def _signature(function: Callable[..., Any], name: str, *, keyword: bool = False) -> str:
    assert isinstance(function, FunctionType)
    node = _node(function)
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(given.defaults)), *given.defaults]
    arguments = [_argument(argument, default) for argument, default in zip(plain, defaults, strict=True)]
    if arguments and plain[0].arg in ("self", "cls"):
        del arguments[0]
    if given.vararg is not None:
        arguments.append("*" + _argument(given.vararg, None))
    elif given.kwonlyargs:
        arguments.append("*")
    arguments += map(_argument, given.kwonlyargs, given.kw_defaults)
    if given.kwarg is not None:
        arguments.append("**" + _argument(given.kwarg, None))
    start = ("async " if isinstance(node, ast.AsyncFunctionDef) else "") + "def " if keyword else ""
    end = f" -> {ast.unparse(node.returns).strip(chr(39))}" if node.returns and node.name != "__init__" else ""
    line = f"{start}{name}({', '.join(arguments)}){end}"
    if len(line) <= WIDTH:
        return line
    lines = "".join(f"    {argument},\n" for argument in arguments)
    return f"{start}{name}(\n{lines}){end}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    text = argument.arg
    if argument.annotation is not None:
        text += f": {ast.unparse(argument.annotation).strip(chr(39))}"
    if default is not None:
        text += (" = " if argument.annotation is not None else "=") + ast.unparse(default)
    return text


def _members(cls: type) -> Iterator[tuple[str, str, str, str]]:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(node, ast.ClassDef)
    for member in node.body:
        if not isinstance(member, ast.AnnAssign) or not isinstance(member.target, ast.Name):
            continue
        kind = ast.unparse(member.annotation).replace("fields.", "")
        if not member.target.id.startswith("_") and not kind.startswith("ClassVar"):
            default = f"`{ast.unparse(member.value)}`" if member.value is not None else ""
            yield f"`{member.target.id}`", f"`{kind}`", default, one_line(member_docs(cls).get(member.target.id))
