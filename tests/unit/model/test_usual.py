"""What is read by what it has in common with others is what reading it as a whole gives, or refuses."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha.model import usual
from vmha.model.errors import Rejected
from vmha.model.ids import CauseId, Epoch, NodeName, SessionId, VmName
from vmha.model.keys import decode, encode
from vmha.model.records import Candidate, Phase, Placement, Reason
from vmha.model.usual import Usual
from vmha.model.vm import Desired, VmSpec

WHERE = "key"
SPEC = VmSpec(name="web", xml="<domain>\n  <name>web</name>\t\"'\\ </domain>", uuid="u", desired=Desired.RUNNING)
CANDIDATES = tuple(Candidate(node=NodeName(f"n{number}"), score=number % 4) for number in range(5))
PLACEMENT = Placement(
    vm=VmName("web"),
    epoch=Epoch(3),
    phase=Phase.HELD,
    reason=Reason(rule="wanted-running", text="it is wanted running", candidates=CANDIDATES),
    since=1_700_000_000.25,
    node=NodeName("n1"),
    session=SessionId("n1-1"),
)


def _spec_with(**own: Any) -> VmSpec:
    return SPEC.model_copy(update=own)


texts = st.text(max_size=12) | st.sampled_from(
    ['"},{"', '}]},"since":', "\\u0041", "]", "{", "}", ',"candidates":[{', "\u00e4"]
)
numbers = st.integers(-5, 1 << 40)
candidates = st.builds(Candidate, node=st.builds(NodeName, texts), score=numbers, refusal=texts)
placements = st.builds(
    replace,
    st.just(PLACEMENT),
    epoch=st.builds(Epoch, numbers),
    phase=st.sampled_from(Phase),
    reason=st.builds(
        Reason,
        rule=texts,
        text=texts,
        cause=st.builds(CauseId, texts),
        candidates=st.lists(candidates | st.sampled_from(CANDIDATES), max_size=6).map(tuple),
    ),
    since=st.floats(0, 1e12),
    node=st.builds(NodeName, texts),
    definition=texts,
)
specs = st.builds(
    _spec_with,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+:@-]{0,9}", fullmatch=True),
    xml=texts,
    uuid=texts,
    desired=st.sampled_from(Desired),
    desired_why=texts,
    failover_domain=st.sampled_from([None, "d1", "d2"]),
    priority=st.sampled_from([100, 7]),
    memory_mib=st.sampled_from([512, 4096]),
)


@pytest.fixture(scope="module", autouse=True)
def from_the_first_on() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usual, "_FEW", 0)
        yield


def outcome(read: Any, kind: type, value: bytes) -> Any:
    try:
        return read(kind, value, where=WHERE)
    except Rejected as error:
        return str(error)


def agree(reader: Usual, kind: type, value: bytes) -> None:
    assert outcome(reader.read, kind, value) == outcome(decode, kind, value)


@given(st.lists(placements, min_size=1, max_size=4), st.lists(specs, min_size=1, max_size=4))
def test_records_are_read_as_they_were_written(placed: list[Placement], defined: list[VmSpec]) -> None:
    reader = Usual()
    for record in (*placed, *defined):
        agree(reader, type(record), encode(record))


SAMPLES: list[tuple[type, bytes]] = [(Placement, encode(PLACEMENT)), (VmSpec, encode(SPEC))]
PIECES = [
    b'"',
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"9" * 80,
    b"\xff",
    b"\x01",
    b"null",
    b'"reason":{"rule":"x"},',
    b'"name":"x",',
]


@given(
    st.sampled_from(SAMPLES),
    st.lists(st.tuples(st.floats(0, 1), st.sampled_from(PIECES), st.integers(0, 3)), max_size=3),
)
def test_what_was_tampered_with_is_read_or_refused_as_ever(
    sample: tuple[type, bytes], changes: list[tuple[float, bytes, int]]
) -> None:
    """Also by one that has read the untouched one, and remembers its pieces."""
    kind, value = sample
    reader = Usual()
    agree(reader, kind, value)
    for place, piece, cut in changes:
        at = int(place * len(value))
        value = value[:at] + piece + value[at + cut :]
    agree(reader, kind, value)


def written(record: Any, **fields: Any) -> bytes:
    return json.dumps({**json.loads(encode(record)), **fields}, separators=(",", ":")).encode()


OWN = {"rule": "r", "text": "t", "cause": ""}
NAMED = [{"node": "n9", "score": 1, "refusal": ""}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Placement, written(PLACEMENT, reason={**OWN, "later": {"candidates": NAMED}})),
        (Placement, written(PLACEMENT, reason={**OWN, "later": {"x": 1, "candidates": NAMED}, "since": 5})),
        (Placement, written(PLACEMENT, reason=OWN, before={"x": 1, "candidates": NAMED})),
        (Placement, encode(PLACEMENT)[:-1] + b',"reason":{"rule":"other","text":"t"}}'),
        (Placement, encode(PLACEMENT)[:-1] + b',"reason" : {"rule":"other","text":"t"}}'),
        (Placement, encode(PLACEMENT)[:-1] + b',"re\\u0061son":{"rule":"other","text":"t"}}'),
        (Placement, written(PLACEMENT, reason={**OWN, "candidates": [{"node": "n1", "score": 10**90, "refusal": ""}]})),
        (Placement, written(PLACEMENT, reason={**OWN, "candidates": [{"node": "", "score": 1, "refusal": ""}]})),
        (Placement, written(PLACEMENT, node=None)),
        (Placement, written(PLACEMENT, schema=99)),
        (VmSpec, encode(SPEC)[:-1] + b',"uuid":"another"}'),
        (VmSpec, encode(SPEC)[:-1] + b',"name":"another"}'),
        (VmSpec, encode(SPEC)[:-1] + b',"name" : "another"}'),
        (VmSpec, encode(SPEC)[:-1] + b',"n\\u0061me":"another"}'),
        (VmSpec, written(SPEC, xml="")),
        (VmSpec, written(SPEC, desired="perhaps")),
        (VmSpec, written(SPEC, name="a" * 64)),
        (VmSpec, written(SPEC, from_a_later_version=1)),
        (VmSpec, written(SPEC, migration={"style": "post-copy"})),
    ],
)
def test_who_writes_otherwise_than_we_do_is_read_as_ever(kind: type, value: bytes) -> None:
    reader = Usual()
    for _, known in SAMPLES:
        agree(reader, VmSpec if known == SAMPLES[1][1] else Placement, known)
    agree(reader, kind, value)
    agree(reader, kind, value)


def test_a_vms_records_as_we_write_them_are_read_by_what_they_have_in_common() -> None:
    """Else all of this would be for nothing, and nobody would notice."""
    reader = Usual()
    assert reader._placement(encode(PLACEMENT)) == PLACEMENT
    assert reader._spec(encode(SPEC)) == SPEC
