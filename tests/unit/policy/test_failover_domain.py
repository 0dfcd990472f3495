"""The failover domain's scores, against results of the original code."""

import json
from pathlib import Path

import pytest

from vmha.model.ids import NodeName
from vmha.model.vm import FailoverDomain, FailoverDomainMember
from vmha.policy.placing.failover_domain import score

VECTORS = json.loads((Path(__file__).parent / "rgmanager_fod_vectors.json").read_text())["vectors"]


def test_all_vectors_of_the_original_are_here():
    assert len(VECTORS) == 564


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: json.dumps({k: v[k] for k in v if k != "score"}))
def test_scores_as_the_original_did(vector):
    priorities = vector["prio"] or {}
    domain = FailoverDomain(
        name="d",
        ordered=vector["ordered"],
        restricted=vector["restricted"],
        nofailback=vector["nofailback"],
        members=tuple(FailoverDomainMember(node=n, priority=priorities.get(n, 0)) for n in ("A", "B", "C")),
    )
    scores = {
        node: int(score(domain, NodeName(node), online=vector["online"], owner=vector["owner"]))
        for node in vector["score"]
    }
    assert scores == vector["score"]


def test_without_a_domain_every_online_node_is_best():
    assert score(None, NodeName("A"), online=["A"], owner=None) == 3
    assert score(None, NodeName("B"), online=["A"], owner=None) == 0
