"""A schedule as a file: written so that a person can take lines out, and read with every mistake named."""

import json

import yaml
from pydantic import TypeAdapter, ValidationError

from vmha.model.document import in_words
from vmha.model.errors import Rejected
from vmha.sim.faults.catalogue import by_name
from vmha.sim.faults.schedule import Schedule

_READER = TypeAdapter(Schedule)


def to_json(schedule: Schedule) -> str:
    """One step a line, so that a person can take lines out."""
    plain = schedule.model_dump(mode="json", exclude_defaults=True)
    steps = plain.pop("steps", [])
    head = json.dumps(plain, indent=1)[:-2]
    lines = ",\n".join(f"  {json.dumps(step)}" for step in steps)
    return f'{head},\n "steps": [\n{lines}\n ]\n}}\n'


def from_text(text: str, *, file: str) -> Schedule:
    """YAML or JSON.

    Raises:
        Rejected: naming every field that is wrong, and what is accepted.
    """
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Rejected(f"{file}: {' '.join(str(error).split())}") from error
    try:
        schedule = _READER.validate_python(found)
    except ValidationError as error:
        raise in_words(error, where=file) from error
    for step in schedule.steps:
        by_name(step.do, where=file)
    return schedule
