"""The key tree: every key that can be built is found again, and every record survives the way to etcd and back."""

import json

import pytest

from vmha.fencing.names import AWAITS_HANDOVER, TAG_NAMESPACE
from vmha.hypervisor.states import Mark
from vmha.model import domain_xml
from vmha.model.errors import Rejected
from vmha.model.ids import Epoch, NodeName, RequestId, Revision, SessionId, VmName
from vmha.model.keys import Keys, decode, encode, find_type
from vmha.model.records import (
    ArmedLevel,
    BeatRecord,
    Candidate,
    Failure,
    FenceRecord,
    Phase,
    Placement,
    Reason,
    RunEnd,
)
from vmha.model.settings import ClusterConfig, Proof
from vmha.model.vm import FailoverDomain, VmSpec

KEYS = Keys("c1")
NODE, VM = NodeName("n1"), VmName("v1")


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (KEYS.config, "ClusterConfig"),
        (KEYS.leader, "LeaderRecord"),
        (KEYS.domain("d"), "FailoverDomain"),
        (KEYS.node_spec(NODE), "NodeSpec"),
        (KEYS.session(NODE), "SessionRecord"),
        (KEYS.beat(NODE), "BeatRecord"),
        (KEYS.node_status(NODE), "NodeStatus"),
        (KEYS.observation(NODE, VM), "Observation"),
        (KEYS.vm_spec(VM), "VmSpec"),
        (KEYS.placement(VM), "Placement"),
        (KEYS.request(RequestId("r")), "Request"),
        (KEYS.outcome(RequestId("r")), "Outcome"),
        (KEYS.fencing(SessionId("s")), "FenceRecord"),
        (KEYS.journal("j"), "JournalEntry"),
    ],
)
def test_every_key_leads_to_its_record(key: str, kind: str):
    assert key.startswith("/vmha/c1/")
    found = find_type(tuple(key.removeprefix(KEYS.prefix).split("/")))
    assert found is not None
    assert found.__name__ == kind


def test_unknown_keys_lead_nowhere():
    assert find_type(("nodes", "n1", "spec", "more")) is None
    assert find_type(("nonsense",)) is None


@pytest.mark.parametrize(
    "record",
    [
        Placement(
            vm=VM,
            epoch=Epoch(7),
            phase=Phase.STOPPED,
            reason=Reason(rule="r", text="t", candidates=(Candidate(node=NODE, score=3, refusal="no"),)),
            since=1.5,
            ended=RunEnd.CRASHED,
            failures=(Failure(node=NODE, at=1.0, error="e"),),
            restarts=(1.0, 2.0),
            failback_after=Revision(9),
        ),
        BeatRecord(session=SessionId("s"), boot_id="b", count=1, armed=ArmedLevel.GUARD, hold_s=4.0, dead_after_s=6.0),
        FenceRecord(session=SessionId("s"), node=NODE, proof=Proof.RELEASED, how="h", at=1.0, by="n2"),
        ClusterConfig(),
        FailoverDomain.model_validate({"name": "d", "members": [{"node": "n1", "priority": 2}]}),
        VmSpec(name="v1", xml="<domain/>", uuid="u"),
    ],
    ids=lambda record: type(record).__name__,
)
def test_records_survive_the_way_to_etcd_and_back(record: object):
    value = encode(record)
    assert isinstance(json.loads(value), dict), "readable with etcdctl"
    assert decode(type(record), value, where="key") == record


def test_a_value_of_another_version_keeps_what_is_known():
    beat = BeatRecord(session=SessionId("s"), boot_id="b", count=1, armed=ArmedLevel.GUARD, hold_s=4.0, dead_after_s=6)
    later = json.loads(encode(beat)) | {"from_a_later_version": 1}
    assert decode(BeatRecord, json.dumps(later).encode(), where="key") == beat
    spec = VmSpec(name="v1", xml="<domain/>", uuid="u")
    later = json.loads(encode(spec)) | {"from_a_later_version": 1, "migration": {"style": "pause", "new": 2}}
    assert decode(VmSpec, json.dumps(later).encode(), where="key").migration.style == "pause"


@pytest.mark.parametrize("before", range(40))
def test_a_number_without_end_is_rejected_wherever_it_stands(before: int):
    value = b'{"vm": "v1", "epoch": %d, "phase": "held", "reason": {"rule": "", "text": ""}, "since": 0}' % 10**85
    with pytest.raises(Rejected, match="a number of more than"):
        decode(Placement, b" " * before + value, where=KEYS.placement(VM))


def test_nonsense_is_rejected_naming_key_and_field():
    with pytest.raises(Rejected, match=r"/vmha/c1/vms/v1/placement: epoch"):
        decode(Placement, b'{"vm": "v1", "epoch": "x", "phase": "held"}', where=KEYS.placement(VM))


def test_guard_and_agent_mean_the_same_mark_in_a_domains_metadata():
    """The guard may import nothing of the rest, so the name stands in two places."""
    assert TAG_NAMESPACE == domain_xml.NAMESPACE
    assert {mark for mark in Mark if mark.is_handover} == AWAITS_HANDOVER
