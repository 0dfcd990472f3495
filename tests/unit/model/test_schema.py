"""Documents of every schema version are read, and nobody changes a shape without a new version.

``tests/data/schema`` has stored documents of each version, one of each kind (scripts/schema_samples.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from scripts.schema_samples import FOLDER, KINDS, newest, shape

from vmha.model.errors import Rejected
from vmha.model.keys import decode, encode
from vmha.model.records import BeatRecord, FenceRecord, Placement, SessionRecord
from vmha.model.schema import NEWEST, UPGRADES, ClusterSchema, Software, Upgrade, upgraded
from vmha.model.settings import ClusterConfig
from vmha.model.vm import VmSpec

STORED: dict[int, dict[str, Any]] = {
    int(file.stem.removeprefix("v")): json.loads(file.read_text()) for file in sorted(FOLDER.glob("v*.json"))
}
HOW = (
    "what changes the shape of a document wants a new schema version (docs/decisions/0012-schema-of-the-cluster.md); "
    "as long as no release has had this one: python scripts/schema_samples.py"
)
KEEP_A_SESSION = (SessionRecord, BeatRecord, FenceRecord, ClusterSchema, ClusterConfig)
"""An agent that is too old for everything else keeps its guests alive by these."""


def test_every_version_has_its_samples() -> None:
    assert sorted(STORED) == list(range(1, NEWEST + 1))
    assert sorted(STORED[NEWEST]) == sorted(KINDS)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_shape_of_a_document_is_the_one_on_record_for_its_version(name: str) -> None:
    assert shape(KINDS[name]) == STORED[NEWEST][name]["shape"], HOW


@pytest.mark.parametrize(("version", "name"), [(version, name) for version, held in STORED.items() for name in held])
def test_stored_document_of_each_version_is_read_and_one_of_the_newest_loses_nothing(version: int, name: str) -> None:
    document = STORED[version][name]["sample"]
    read = decode(KINDS[name], json.dumps(document).encode(), where="key")
    if version == NEWEST:
        assert json.loads(encode(read)) == document, HOW


def test_samples_fill_in_what_can_be_filled_in() -> None:
    """Or the test before this one would see little."""
    sample = STORED[NEWEST]["Placement"]["sample"]
    assert {name for name, value in sample.items() if value in (None, "", [], {})} == set()
    assert newest().keys() == STORED[NEWEST].keys()


@pytest.mark.parametrize("kind", KEEP_A_SESSION)
def test_what_keeps_a_session_is_read_by_agents_of_every_version(kind: type) -> None:
    assert kind not in UPGRADES
    names = {json.dumps(held[kind.__name__]["sample"].get("schema", 1)) for held in STORED.values()}
    assert names == {"1"}


@pytest.mark.parametrize("version", [NEWEST + 1, float(NEWEST + 1), str(NEWEST + 1), 10**30])
@pytest.mark.parametrize("kind", [Placement, VmSpec, ClusterConfig])
def test_document_of_a_later_version_is_not_read_and_not_taken_for_something_else(kind: type, version: Any) -> None:
    document = STORED[NEWEST][kind.__name__]["sample"] | {"schema": version}
    if kind is VmSpec and not isinstance(version, int):
        return  # no schema of any version: a field that is not known, and passed over
    with pytest.raises(Rejected, match=r"^key: schema"):
        decode(kind, json.dumps(document).encode(), where="key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """A document that had ``watts`` in version 1, ``lumen`` beside it from 2 on, and ``colour`` from 3 on."""

    schema: int = 1
    lumen: int
    watts: int = 0
    colour: str = "white"


STEPS: Mapping[int, Upgrade] = {
    2: lambda old: old | {"lumen": old["watts"] * 100},
    3: lambda old: old | {"colour": "warm" if old["lumen"] < 1000 else "white"},
}


def test_document_of_an_older_version_goes_through_the_steps_it_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPGRADES, Lamp, STEPS)
    first = decode(Lamp, b'{"schema": 1, "watts": 5}', where="key")
    assert first == Lamp(schema=1, watts=5, lumen=500, colour="warm")
    assert decode(Lamp, encode(first), where="key") == first  # read, written and read again by whoever has both fields
    assert upgraded(Lamp, {"schema": 2, "lumen": 2000}) == {"schema": 2, "lumen": 2000, "colour": "white"}
    assert upgraded(Lamp, {"schema": 3, "lumen": 500}) == {"schema": 3, "lumen": 500}
    assert decode(Lamp, b'{"watts": 5, "of_a_later_version": 1}', where="key").lumen == 500


def test_upgrade_of_something_that_is_no_document_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPGRADES, Lamp, STEPS)
    for value in (b"[]", b"7", b'{"schema": 1}', b'{"schema": 1, "watts": "x"}', b'{"schema": 1, "watts": null}', b"{"):
        with pytest.raises(Rejected, match=r"^key: "):
            decode(Lamp, value, where="key")


def test_who_reads_the_cluster_is_not_too_old_and_who_does_not_is_told_what_to_do() -> None:
    software = Software(version="0.3.0", reads=2)
    assert [software.why_too_old(cluster) for cluster in (1, 2)] == ["", ""]
    assert "vmha 0.3.0 reads schema 2 of a cluster, and this one is at 3" in software.why_too_old(3)
