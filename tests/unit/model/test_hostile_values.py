"""Whatever bytes stand under a key: a record, or one error that names the key. Never anything else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.garbage import NOISE
from vmha.model.document import MOST_BITS
from vmha.model.errors import Rejected
from vmha.model.keys import KEY_TYPES, decode, encode
from vmha.model.vm import VmSpec

SAMPLES = json.loads((Path(__file__).parents[2] / "data/schema/v1.json").read_text())
KINDS = sorted({kind for _, kind in KEY_TYPES}, key=lambda kind: kind.__name__)
LONGEST_MESSAGE = 2000

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def reads(kind: type, value: bytes) -> bool:
    """False: refused, in words that name the key."""
    said = ""
    try:
        decode(kind, value, where="/vmha/c/key")
    except Rejected as error:
        said = str(error)
    assert said.startswith("/vmha/c/key: " if said else "")
    assert len(said) < LONGEST_MESSAGE
    return not said


def fields_of(kind: Any) -> list[str]:
    return list(getattr(kind, "model_fields", None) or kind.__dataclass_fields__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_value_of_any_shape_is_read_or_refused_in_words(kind: type) -> None:
    @settings(max_examples=40, deadline=None, database=None)
    @given(st.dictionaries(st.sampled_from([*fields_of(kind), "later"]), documents, max_size=6) | documents)
    def play(value: Any) -> None:
        reads(kind, json.dumps(value).encode())

    play()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_noise_is_refused(kind: type) -> None:
    assert [value[:20] for value in NOISE if reads(kind, value)] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "number", ["9" * 400, "-" + "9" * 400, '"' + "9" * 400 + '"', '"' + "9_" * 200 + '9"', '"' + "\\u0039" * 400 + '"']
)
def test_number_that_could_not_be_counted_with_is_refused_in_every_field(kind: type, number: str) -> None:
    """A plan that divides by one, or with one, would end by it, at each leader in turn."""
    whole = SAMPLES[kind.__name__]["sample"]
    for field in fields_of(kind):
        text = json.dumps(whole | {field: "here"}).replace('"here"', number)
        if reads(kind, text.encode()):
            value = getattr(decode(kind, text.encode(), where="key"), field)
            assert not isinstance(value, int) or value.bit_length() <= MOST_BITS


SPEC = {
    "name": "web",
    "definition": {"file": "/gfs/web.xml"},
    "uuid": "11111111-2222-3333-4444-555555555555",
    "depends_on": [{"vm": "db"}, "mail"],
    "probes": [{"tcp": "10.0.0.1:80"}],
    "migration": {"style": "live"},
    "saved_state": {"directory": "/gfs/saves"},
}


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.sampled_from(["", *(name for name in SPEC if name not in ("name", "uuid"))]), max_size=4), documents)
def test_fields_of_a_later_version_are_passed_over_wherever_they_stand(places: list[str], value: Any) -> None:
    later = json.loads(json.dumps(SPEC))
    for place in places:
        inside = later[place] if place else later
        (inside[0] if isinstance(inside, list) else inside)["of_a_later_version"] = value
    read = decode(VmSpec, json.dumps(later).encode(), where="key")
    assert encode(read) == encode(decode(VmSpec, json.dumps(SPEC).encode(), where="key"))
