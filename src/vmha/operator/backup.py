"""Backup of a cluster's keys, and putting them back: into an empty store, or the same cluster again.

Nothing is taken away, and no placement that exists is touched: what is there is younger than any backup. Everything is
compared with what was read; what changes meanwhile ends the restore, which may be repeated.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vmha import __version__
from vmha.model.by_hand import RESTORE
from vmha.model.domain_secrets import find_passwords, say_readable
from vmha.model.errors import Refused, Rejected, VmhaError
from vmha.model.ids import NodeName, VmName
from vmha.model.keys import decode, encode, find_type, split_key
from vmha.model.records import HistoryRecord, Placement
from vmha.model.schema import ClusterSchema
from vmha.model.settings import ClusterConfig
from vmha.model.vm import NodeSpec, VmSpec
from vmha.operator.apply import MOST_BYTES, MOST_OPS
from vmha.operator.client import OperatorClient, Reading
from vmha.operator.definition import uuids_in_use
from vmha.operator.errors import RefusedByCluster
from vmha.operator.hand import Told
from vmha.operator.put_back import told_of
from vmha.policy.state.backup import is_kept, of_the_past
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.telling.doctor_fence import what_is_readable
from vmha.store.port import Compare, Put

FORMAT = 1


async def back_up(client: OperatorClient) -> dict[str, Any]:
    """The document. It holds secrets, as the store does: options of fence agents, and passwords in XML.

    Raises:
        Unavailable: the store does not answer.
    """
    listing = await client.store.list(client.keys.prefix, without=client.keys.journal(""))
    prefix = client.keys.prefix
    kept = {
        kv.key.removeprefix(prefix): json.loads(kv.value)
        for kv in listing.items
        if is_kept(split_key(prefix, kv.key)) and _is_readable(kv.value)
    }
    return {
        "vmha_backup": FORMAT,
        "vmha": __version__,
        "cluster": client.keys.cluster,
        "at": client.clock.wall(),
        "by": client.author,
        "revision": listing.revision,
        "keys": dict(sorted(kept.items())),
    }


def _is_readable(value: bytes) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """What a restore would do. ``kept``: placements that exist, and the schema that the cluster is at: they stay."""

    created: tuple[str, ...]
    changed: tuple[str, ...]
    kept: tuple[str, ...]
    beside: tuple[str, ...]  # vms of the cluster that the backup does not know: they stay
    puts: tuple[Put, ...]
    told: dict[str, list[Told]]  # of a put, by its key
    reading: Reading
    settle_s: float
    why: str
    warnings: tuple[str, ...] = ()  # what is put back and can be read by too many


def read_backup(text: str, *, file: str, cluster: str) -> dict[str, Any]:
    """Raises: Rejected: it is none, of another cluster, or of a later vmha."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Rejected(f"{file}: {error}", accepted="what 'vmha export --all' has written") from error
    if not isinstance(found, dict) or not isinstance(found.get("keys"), dict) or "vmha_backup" not in found:
        raise Rejected(f"{file}: is no backup", accepted="what 'vmha export --all' has written")
    if found["vmha_backup"] != FORMAT:
        raise Rejected(f"{file}: vmha_backup: {found['vmha_backup']!r}", accepted=str(FORMAT))
    if found.get("cluster") != cluster:
        raise Rejected(
            f"{file}: cluster: {found.get('cluster')!r}, and this one is {cluster}: guests bear their cluster's name",
            accepted=f"--cluster {found.get('cluster')}",
        )
    return found


async def prepare(client: OperatorClient, backup: dict[str, Any], *, file: str, force: bool = False) -> Restoring:
    """What restoring would do now.

    Raises:
        Rejected: a key or value that this vmha does not know, or a uuid that another vm has by now.
        RefusedByCluster: agents hold sessions, and ``force`` was not said.
    """
    reading = await client.reading()
    snapshot = reading.snapshot
    living = [name for name, view in sorted(snapshot.nodes.items()) if view.beat or view.session]
    if living and not force:
        raise RefusedByCluster(
            f"agents of this cluster hold sessions ({', '.join(living)}): what they run is younger than the backup; "
            f"stop them, or restore beside them with --force (placements that exist stay as they are)"
        )
    values = dict(_values(client, backup, file))
    _refuse_later_schema(client, values, file)
    _refuse_taken_uuids(values, snapshot)
    wall = client.clock.wall()
    listing = await client.store.list(client.keys.prefix, without=client.keys.journal(""))
    held = {kv.key: kv.value for kv in listing.items}
    created: list[str] = []
    changed: list[str] = []
    kept: list[str] = []
    puts: list[Put] = []
    told: dict[str, list[Told]] = {}
    warnings: list[str] = []
    for key, record in values.items():
        name = key.removeprefix(client.keys.prefix)
        if isinstance(record, Placement | ClusterSchema) and key in held:
            kept.append(name)
            continue
        value = encode(of_the_past(record, wall) if isinstance(record, Placement) else record)
        if held.get(key) == value:
            continue
        (changed if key in held else created).append(name)
        puts.append(Put(key, value))
        old = _readable(record, held[key], key) if key in held else None
        told[key] = told_of(split_key(client.keys.prefix, key), record, old, client.author)
        if isinstance(record, NodeSpec):
            warnings += what_is_readable(record)
        elif isinstance(record, VmSpec) and (places := find_passwords(record.xml)):
            warnings.append(say_readable(record.name, list(places)))
    config = values.get(client.keys.config)
    longest = [snapshot.config.clockwork.dead_after_s]
    if isinstance(config, ClusterConfig):
        longest.append(config.clockwork.dead_after_s)
    known = {vm.name for vm in snapshot.vms.values() if vm.spec}
    return Restoring(
        created=tuple(created),
        changed=tuple(changed),
        kept=tuple(kept),
        beside=tuple(sorted(known - {record.name for record in values.values() if isinstance(record, VmSpec)})),
        puts=tuple(puts),
        told=told,
        reading=reading,
        settle_s=max(longest),
        why=f"{client.author} has restored a backup made at {backup.get('at')} at revision {backup.get('revision')}",
        warnings=tuple(warnings),
    )


async def restore(client: OperatorClient, plan: Restoring) -> None:
    """Write what ``prepare`` found: that the store was restored first, so that nothing starts on half of it.

    Raises:
        Refused: something was changed meanwhile; says how much is written.
    """
    if not plan.puts:
        return
    record = HistoryRecord(
        id=f"restore-{client.new_request_id()}",
        by=NodeName(client.author),
        at=client.clock.wall(),
        why=plan.why,
        settle_s=plan.settle_s,
    )
    told = client.keys.history
    news = Told(kind=RESTORE, text=f"a backup is put back by {client.author}: {plan.why}")
    if not await client.commit([plan.reading.unchanged(told)], [Put(told, encode(record))], [news]):
        raise Refused("the cluster changed while it was looked at; nothing is restored; try again")
    done = 0
    for part in _parts(plan.puts):
        compares: list[Compare] = [plan.reading.unchanged_by(put) for put in part]
        if not await client.commit(compares, part, [one for put in part for one in plan.told[put.key]]):
            raise Refused(f"the cluster changed meanwhile: {done} of {len(plan.puts)} keys are restored; try again")
        done += len(part)


def _readable(like: Any, value: bytes, key: str) -> Any:
    try:
        return decode(type(like), value, where=key)
    except VmhaError:
        return None


def _parts(puts: Sequence[Put]) -> Iterator[list[Put]]:
    part: list[Put] = []
    size = 0
    for put in puts:
        if part and (len(part) >= MOST_OPS // 2 or size + len(put.value) > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(put)
        size += len(put.value)
    if part:
        yield part


def _values(client: OperatorClient, backup: dict[str, Any], file: str) -> Iterator[tuple[str, Any]]:
    """Placements first: a definition alone would be a vm that nobody ever held."""
    names = sorted(backup["keys"], key=lambda name: (not str(name).endswith("/placement"), name))
    for name in names:
        parts = tuple(str(name).split("/"))
        kind = find_type(parts)
        if kind is None or not is_kept(parts) or not all(parts):
            raise Rejected(f"{file}: keys: {name!r} is none that a backup holds")
        value = json.dumps(backup["keys"][name]).encode()
        yield client.keys.prefix + name, decode(kind, value, where=f"{file}: {name}")


def _refuse_later_schema(client: OperatorClient, values: dict[str, Any], file: str) -> None:
    record = values.get(client.keys.schema)
    if isinstance(record, ClusterSchema) and (why := client.software.why_too_old(record.version)):
        raise Rejected(f"{file}: is of a later schema: {why}")


def _refuse_taken_uuids(values: dict[str, Any], snapshot: Snapshot) -> None:
    taken = uuids_in_use(snapshot)
    for record in values.values():
        if isinstance(record, VmSpec):
            owner = taken.get(record.uuid.lower())
            if owner is not None and owner != VmName(record.name):
                raise Rejected(f"uuid {record.uuid} of {record.name} is {owner}'s by now: remove one of them first")
