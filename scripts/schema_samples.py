"""Writes the samples of the newest schema: ``python scripts/schema_samples.py``. A test holds the code against them.

``tests/data/schema/v<version>.json`` has, for each kind of document in etcd, the shape it has in that version (every
field, wherever it stands, with its type) and a sample in which as many fields as possible are filled in. The file of a
version that was released is never written again: what changes a shape then wants a new version (docs/decisions/0012).
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from vmha.model.errors import Rejected
from vmha.model.keys import KEY_TYPES, decode, encode
from vmha.model.schema import NEWEST

FOLDER = Path(__file__).resolve().parents[1] / "tests/data/schema"

KINDS = {kind.__name__: kind for _, kind in KEY_TYPES}

TEXTS = (
    "n1",
    "/var/lib/vmha/n1",
    "10.0.0.1:80",
    "http://10.0.0.1/",
    "<domain/>",
    "11111111-2222-3333-4444-555555555555",
)
BEGINNINGS: dict[str, dict[str, Any]] = {
    "ClusterConfig": {"hooks": [{"name": "pager", "on": ["vm-recovered"], "exec": "pager", "arguments": ["-v"]}]},
    "Rule": {"name": "fast", "vms": ["web"], "on": {"disk": "ssd"}},
    "VmSpec": {
        "name": "web",
        "xml": "<domain/>",
        "uuid": "11111111-2222-3333-4444-555555555555",
        "migration": {
            "style": "live",
            "bandwidth_mib_s": 100,
            "max_downtime_ms": 300,
            "auto_converge": True,
            "auto_converge_initial": 20,
            "auto_converge_increment": 10,
            "compress": True,
            "transport": "tcp",
        },
        "probes": [
            {"tcp": "10.0.0.1:80", "name": "port", "initial_delay_s": 1.5, "start_gate": True},
            {"agent": True},
            {"shell": "true"},
            {"http": "https://10.0.0.1/", "insecure": True},
        ],
    },
}
"""Of kinds whose fields depend on each other too much to be found one by one."""

NUMBERS = (1, 2, 5, 10, 30, 60, 600, 0, 1.5)


def newest() -> dict[str, Any]:
    return {name: {"shape": shape(kind), "sample": sample(kind)} for name, kind in sorted(KINDS.items())}


def shape(kind: Any) -> dict[str, str]:
    """Every field by its path, with its type as JSON has it."""
    schema = TypeAdapter(kind).json_schema(by_alias=True)
    return dict(sorted(_paths(schema, schema.get("$defs", {}), "", ())))


def _paths(part: Any, defs: Any, path: str, seen: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for one in _choices(part, defs):
        name = one.get("title", "")
        if one.get("type") == "array" and "items" in one:
            yield from _paths(one["items"], defs, f"{path}[]", seen)
        elif isinstance(one.get("additionalProperties"), dict):
            yield from _paths(one["additionalProperties"], defs, f"{path}.*", seen)
        if name in seen:
            continue
        for field, inner in one.get("properties", {}).items():
            here = f"{path}.{field}".removeprefix(".")
            types = sorted({_type(each) for each in _choices(inner, defs)})
            yield here, " or ".join(types) + (", required" if field in one.get("required", ()) else "")
            yield from _paths(inner, defs, here, (*seen, name))


def _type(one: Any) -> str:
    if "enum" in one:
        return "one of " + ", ".join(map(str, one["enum"]))
    if "const" in one:
        return f"always {one['const']}"
    return str(one.get("type", "anything"))


def _choices(part: Any, defs: Any) -> Iterator[Any]:
    """What may stand there, references followed."""
    if "$ref" in part:
        yield from _choices(defs[part["$ref"].rsplit("/", maxsplit=1)[-1]], defs)
    elif any(word in part for word in ("anyOf", "oneOf", "allOf")):
        for word in ("anyOf", "oneOf", "allOf"):
            for one in part.get(word, ()):
                yield from _choices(one, defs)
    else:
        yield part


def sample(kind: Any) -> dict[str, Any]:
    """Field by field, whatever keeps the whole readable: some exclude each other, and the first one stays."""
    schema = TypeAdapter(kind).json_schema(by_alias=True)
    defs = schema.get("$defs", {})
    top = next(iter(_choices(schema, defs)))
    begun = _smallest(kind, top, defs)
    given = BEGINNINGS.get(kind.__name__, {})
    for field, inner in top["properties"].items():
        for value in () if field in given else _values(inner, defs):
            if field in top.get("required", ()) and not isinstance(value, dict | list):
                break
            tried = {**begun, field: value}
            if _reads(kind, tried) and value != begun.get(field):
                begun = tried
                break
    found: dict[str, Any] = json.loads(encode(decode(kind, json.dumps(begun).encode(), where="sample")))
    return found


def _smallest(kind: Any, top: Any, defs: Any) -> dict[str, Any]:
    """The required fields alone; and if that is not enough (one of several must be given), one more."""
    begun = BEGINNINGS.get(kind.__name__) or {
        field: next(_values(top["properties"][field], defs)) for field in top.get("required", ())
    }
    if _reads(kind, begun):
        return begun
    for field, inner in top["properties"].items():
        for value in _values(inner, defs):
            if _reads(kind, {**begun, field: value}):
                return {**begun, field: value}
    raise SystemExit(f"no sample of {kind.__name__}: {begun}")


def _values(part: Any, defs: Any) -> Iterator[Any]:
    """Some that it may have, the fullest first."""
    for one in sorted(_choices(part, defs), key=lambda each: each.get("type") == "null"):
        match one.get("type"):
            case _ if "const" in one:
                yield one["const"]
            case _ if "enum" in one:
                yield from reversed(one["enum"])
            case "object" if "properties" in one:
                yield from _objects(one, defs)
            case "object":
                inner = one.get("additionalProperties")
                yield from ({"n1": value} for value in _values(inner if isinstance(inner, dict) else {}, defs))
            case "array":
                items = one.get("items") or (one.get("prefixItems") or [{}])[0]
                yield from ([value] for value in _values(items, defs))
            case "integer" | "number":
                yield from NUMBERS
            case "boolean":
                yield from (True, False)
            case "null":
                yield None
            case _:
                yield from TEXTS


def _objects(one: Any, defs: Any) -> Iterator[dict[str, Any]]:
    """All fields, then all but one, then those that are required with one or with none of the others."""
    full = {field: next(_values(inner, defs)) for field, inner in one["properties"].items()}
    required = {field: full[field] for field in one.get("required", ())}
    yield full
    for field in full:
        yield {name: value for name, value in full.items() if name != field}
    for field, inner in one["properties"].items():
        yield from ({**required, field: value} for value in _values(inner, defs))
    yield required


def _reads(kind: Any, document: Any) -> bool:
    try:
        decode(kind, json.dumps(document).encode(), where="sample")
    except Rejected:
        return False
    return True


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"v{NEWEST}.json").write_text(json.dumps(newest(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
