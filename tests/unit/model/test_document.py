"""What is wrong with a document, in words: the place, the value, and what would be accepted."""

from typing import Any

import pytest
from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.rules import Rule


def said_of(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Rule.model_validate({"name": "r", **fields})
    return str(in_words(caught.value, where="rule r"))


def test_what_is_wrong_with_one_field_is_told_with_its_place() -> None:
    assert said_of(apart=("a b", "c")).startswith("rule r: apart.0: 'a b' (accepted: ")


@pytest.mark.parametrize(
    ("fields", "begins"),
    [
        ({}, "rule r: apart, together, vms: exactly one of the three is needed, none is given"),
        ({"apart": ("web",)}, "rule r: apart: web alone"),
        ({"together": ("web", "db"), "hard": True}, "rule r: hard: true: "),
        ({"vms": ("web",)}, "rule r: on, off: "),
    ],
)
def test_what_is_wrong_between_fields_begins_with_their_names(fields: dict[str, Any], begins: str) -> None:
    assert said_of(**fields).startswith(begins)
