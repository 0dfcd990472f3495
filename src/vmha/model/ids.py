"""Names and counters: one distinct type each, so that an epoch can not be passed where a term is meant."""

from typing import NewType

NodeName = NewType("NodeName", str)
"""A machine of the cluster."""

VmName = NewType("VmName", str)
"""A virtual machine; also the name of its libvirt domain."""

SessionId = NewType("SessionId", str)
"""One lease of one boot of an agent. A placement held by a session leaves it only by proof."""

Epoch = NewType("Epoch", int)
"""Counts the holders of one vm; grows by one with each new holder and never falls."""

Term = NewType("Term", int)
"""Counts leaders: the create revision of the leader key. Fences every write of a leader."""

Revision = NewType("Revision", int)
"""etcd's number of a change."""

LeaseId = NewType("LeaseId", int)
"""etcd's number of a lease."""

RequestId = NewType("RequestId", str)
"""One operation asked for by an operator."""

CauseId = NewType("CauseId", str)
"""Born with the event that triggers a decision; carried into plan, record, log line and journal."""
