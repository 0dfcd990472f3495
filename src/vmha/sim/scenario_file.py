"""Reading a scenario: every thing that is wrong is told at once, with file, line, field, value and what is accepted."""

import json
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from vmha.model.document import short, what_is_wrong
from vmha.model.errors import Rejected
from vmha.operator.yaml_source import Complaint, Path, YamlSource, parse_yaml
from vmha.sim.scenario import Scenario


def load_scenario(text: str, *, file: str) -> Scenario:
    """
    Args:
        text: YAML, of which JSON is a part.
        file: What to call it in errors.

    Raises:
        Rejected: one line for each thing that is wrong.
    """
    source = parse_yaml(text, file=file)
    data = {} if source.data is None else source.data
    if not isinstance(data, dict):
        raise Rejected(f"{file}:1: the document is no mapping", accepted=f"keys: {', '.join(_keys_at(()))}")
    complaints = list(source.twice)
    scenario: Scenario | None = None
    try:
        # JSON mode: strict about types (no "5" for 5), yet it takes words for enums and lists for tuples.
        scenario = Scenario.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        complaints += [_complaint(found) for found in error.errors(include_url=False) if not _is_echo(found)]
    if scenario is not None:
        complaints += [Complaint(path=path, text=words) for path, words in scenario.misfits()]
    if complaints or scenario is None:
        raise _rejected(source, complaints)
    return scenario


def json_schema() -> dict[str, Any]:
    return Scenario.model_json_schema(by_alias=True)


def _rejected(source: YamlSource, complaints: list[Complaint]) -> Rejected:
    ordered = sorted(complaints, key=lambda complaint: source.line_of(complaint.path))
    return Rejected("\n".join(dict.fromkeys(source.say(complaint) for complaint in ordered)))


def _is_echo(found: Any) -> bool:
    """A list whose items are wrong also counts as too short: that is said of the items already."""
    return bool(found["type"] == "too_short" and found.get("input"))


def _complaint(found: Any) -> Complaint:
    path: Path = tuple(part for part in found["loc"] if part not in ("bool", "Fence") and "[" not in str(part))
    return Complaint(path=path, text=_what_is_wrong(found, path))


def _what_is_wrong(found: Any, path: Path) -> str:
    match found["type"]:
        case "too_short":
            return "is empty (accepted: at least one)"
        case "bool_type" | "enum" if path[-1:] == ("fence",):
            return f"{short(found.get('input'))} (accepted: true, false, works, broken, none)"
        case _:
            return what_is_wrong(found, keys=_keys_at(path[:-1]))


def _keys_at(path: Path) -> list[str]:
    """The keys of the mapping at ``path``, read off the models themselves."""
    model: type[BaseModel] | None = Scenario
    for part in path:
        if isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            model = _model_in(field.annotation) if field else None
    return [info.alias or name for name, info in model.model_fields.items()] if model else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)
