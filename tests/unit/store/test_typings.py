"""The hand-written stubs say nothing that the real modules do not have."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

TYPINGS = Path(__file__).parents[3] / "typings"
MODULES = ["aetcd.rpc", "grpc", "grpc.aio"]
# Parameters that aetcd and grpc take and that are not fields of a message.
NOT_FIELDS = {"self", "channel"}
# Types of values that are exported without them.
UNNAMED_TYPES = {"EOFType"}


def members(node: ast.ClassDef) -> set[str]:
    """Fields, methods, class attributes, and the fields that the constructor takes."""
    found: set[str] = set()
    for part in node.body:
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            found.add(part.target.id)
        elif isinstance(part, ast.Assign):
            found |= {target.id for target in part.targets if isinstance(target, ast.Name)}
        elif isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(part.name)
            if part.name == "__init__":
                found |= {argument.arg for argument in part.args.kwonlyargs + part.args.args} - NOT_FIELDS
    return found


def names(real: object, stubs_source: str) -> set[str]:
    """What a real class has: attributes, fields and enums of its message, methods that it gets with its channel."""
    descriptor = getattr(real, "DESCRIPTOR", None)
    fields = {*getattr(descriptor, "fields_by_name", ()), *getattr(descriptor, "enum_values_by_name", ())}
    _, _, after = stubs_source.partition(f"class {getattr(real, '__name__', '')}(object):")
    own_source, _, _ = after.partition("\nclass ")
    return {*dir(real), *fields, *re.findall(r"self\.(\w+) = channel\.", own_source)}


@pytest.mark.parametrize("name", MODULES)
def test_stub_names_only_what_the_module_has(name: str) -> None:
    module = importlib.import_module(name)
    stubs_source = inspect.getsource(importlib.import_module("aetcd.rpc.rpc_pb2_grpc"))
    tree = ast.parse((TYPINGS / name.replace(".", "/") / "__init__.pyi").read_text())
    missing: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name not in UNNAMED_TYPES:
            real = getattr(module, node.name, None)
            missing += [f"{node.name}.{member}" for member in sorted(members(node) - names(real, stubs_source))]
            missing += [node.name] if real is None else []
        elif isinstance(node, ast.FunctionDef):
            takes = set(inspect.signature(getattr(module, node.name)).parameters)
            wanted = {argument.arg for argument in node.args.args + node.args.kwonlyargs}
            missing += [f"{node.name}({argument})" for argument in sorted(wanted - takes)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            missing += [] if hasattr(module, node.target.id) else [node.target.id]
    assert missing == []
