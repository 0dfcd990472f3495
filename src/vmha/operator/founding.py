"""``vmha cluster init``: the first thing that is written of a cluster, its settings, once; and whether its etcd is fit.

Looks first. An error in what etcd says of itself is in the way; a warning is told. What it does not tell is said to be
unknown: the quota of a member whose metrics can not be read, and its compaction before there is a history
(``deploy/etcd/etcd.default`` sets both).
"""

from dataclasses import dataclass
from typing import Final

from vmha.model.by_hand import FOUNDED
from vmha.model.errors import Refused
from vmha.model.ids import Revision
from vmha.model.keys import encode
from vmha.model.settings import ClusterConfig
from vmha.operator.client import OperatorClient
from vmha.operator.errors import RefusedByCluster
from vmha.operator.hand import Told
from vmha.policy.telling.doctor import Finding, Severity, examine_store
from vmha.store.port import Created, Denied, Put

ELSEWHERE: Final = "/vmha-nobody"
"""No cluster's key: who may read it may read all of etcd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """``is_written`` False: nothing but looked. ``quota_unknown``: endpoints that do not tell theirs."""

    findings: tuple[Finding, ...]
    is_written: bool
    quota_unknown: tuple[str, ...] = ()


async def found(client: OperatorClient, config: ClusterConfig, *, only_look: bool = False) -> Founded:
    """Raises:
    RefusedByCluster: it has settings already, or etcd is not fit. Nothing is written then.
    """
    health = await client.store.health()
    findings = (*examine_store(health, config), *await _open_doors(client))
    unknown = tuple(one.endpoint for one in health.members if one.quota_bytes is None and not one.trouble)
    reading = await client.reading()
    key = client.keys.config
    if key in reading.modified and not only_look:
        raise RefusedByCluster(
            f"cluster {client.keys.cluster} has settings already: vmha config show shows them, vmha apply changes them"
        )
    errors = [one for one in findings if one.severity is Severity.ERROR]
    if only_look:
        return Founded(findings=findings, is_written=False, quota_unknown=unknown)
    if errors:
        told = "; ".join(f"{one.text} ({one.remedy})" for one in errors)
        raise RefusedByCluster(f"cluster {client.keys.cluster} is not set up: {told}")
    text = f"cluster {client.keys.cluster} is set up by {client.author} with profile {config.profile}"
    news = [Told(kind=FOUNDED, text=text)]
    if not await client.commit([Created(key, Revision(0))], [Put(key, encode(config))], news):
        raise Refused(f"somebody else has set cluster {client.keys.cluster} up meanwhile: vmha config show")
    return Founded(findings=findings, is_written=True, quota_unknown=unknown)


async def _open_doors(client: OperatorClient) -> tuple[Finding, ...]:
    try:
        await client.store.get(ELSEWHERE)
    except Denied:
        return ()
    return (
        Finding(
            kind="etcd-open",
            severity=Severity.WARNING,
            about=(),
            text="this client may read all of etcd: its auth is off, or this is root's certificate",
            remedy="certificates and roles: vmha pki, vmha cluster roles NODE ... --enable",
        ),
    )
