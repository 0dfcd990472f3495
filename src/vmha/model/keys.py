"""The key tree: one table from key patterns to record types. Every reader, writer and the reference docs use it.

/vmha/<cluster>/config                     ClusterConfig      operator
                leader                     LeaderRecord       the elected agent, on its lease
                schema                     ClusterSchema      leader, once all members read it
                history                    HistoryRecord      an agent that finds the store restored; the leader
                pause                      Hold               operator; the leader counts and ends it
                survival                   SurvivalRecord     leader
                domains/<name>             FailoverDomain     operator
                nodes/<node>/spec          NodeSpec           operator
                             session       SessionRecord      agent, on its lease
                             beat          BeatRecord         agent; an eviction deletes it
                             status        NodeStatus         agent
                             fencing       FenceAttempt       leader
                             vms/<vm>      Observation        agent
                rules/<name>               Rule               operator
                services/<name>            Service            operator
                vms/<vm>/spec              VmSpec             operator (the leader: desired state, by a policy)
                         placement         Placement          leader and the holding agent, by compare
                         freeze            Hold               operator; the leader counts and ends it
                uuids/<uuid>               UuidClaim          operator, with the vm's spec
                removed/<id>               RemovedVm          operator, with the vm's removal; then the leader
                requests/<id>              Request            operator
                outcomes/<id>              Outcome            leader
                fencing/<session>          FenceRecord        leader, or the node's own next session
                hooks/<name>               HookState          leader
                checkups/<id>              Checkup            operator (vmha doctor), on its lease
                checkups/<id>/answers/<node> CheckupAnswer    agent, on the asker's lease
                journal/<id>               JournalEntry       leader, agents, operator; expiring
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from vmha.model.checkup import Checkup, CheckupAnswer
from vmha.model.document import MOST_BITS
from vmha.model.errors import Rejected
from vmha.model.holds import Hold
from vmha.model.ids import NodeName, RequestId, SessionId, VmName
from vmha.model.records import (
    BeatRecord,
    FenceAttempt,
    FenceRecord,
    HistoryRecord,
    HookState,
    JournalEntry,
    LeaderRecord,
    NodeStatus,
    Observation,
    Outcome,
    Placement,
    RemovedVm,
    Request,
    SessionRecord,
    UuidClaim,
)
from vmha.model.rules import Rule
from vmha.model.schema import NEWEST, UPGRADES, ClusterSchema, upgraded, version_of
from vmha.model.service import Service
from vmha.model.settings import ClusterConfig
from vmha.model.survival import SurvivalRecord
from vmha.model.vm import FailoverDomain, NodeSpec, VmSpec

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Keys:
    """Builds the keys of one cluster."""

    cluster: str

    @property
    def prefix(self) -> str:
        return f"/vmha/{self.cluster}/"

    @property
    def config(self) -> str:
        return f"{self.prefix}config"

    @property
    def leader(self) -> str:
        return f"{self.prefix}leader"

    @property
    def schema(self) -> str:
        return f"{self.prefix}schema"

    @property
    def history(self) -> str:
        return f"{self.prefix}history"

    @property
    def pause(self) -> str:
        return f"{self.prefix}pause"

    @property
    def survival(self) -> str:
        return f"{self.prefix}survival"

    def domain(self, name: str) -> str:
        return f"{self.prefix}domains/{name}"

    def rule(self, name: str) -> str:
        return f"{self.prefix}rules/{name}"

    def service(self, name: str) -> str:
        return f"{self.prefix}services/{name}"

    def node(self, node: NodeName) -> str:
        """The beginning of all that is about a node, and that it says of vms."""
        return f"{self.prefix}nodes/{node}/"

    def node_spec(self, node: NodeName) -> str:
        return f"{self.prefix}nodes/{node}/spec"

    def session(self, node: NodeName) -> str:
        return f"{self.prefix}nodes/{node}/session"

    def beat(self, node: NodeName) -> str:
        return f"{self.prefix}nodes/{node}/beat"

    def node_status(self, node: NodeName) -> str:
        return f"{self.prefix}nodes/{node}/status"

    def fence_attempt(self, node: NodeName) -> str:
        return f"{self.prefix}nodes/{node}/fencing"

    def observation(self, node: NodeName, vm: VmName) -> str:
        return f"{self.prefix}nodes/{node}/vms/{vm}"

    def vm_spec(self, vm: VmName) -> str:
        return f"{self.prefix}vms/{vm}/spec"

    def placement(self, vm: VmName) -> str:
        return f"{self.prefix}vms/{vm}/placement"

    def freeze(self, vm: VmName) -> str:
        return f"{self.prefix}vms/{vm}/freeze"

    def uuid(self, uuid: str) -> str:
        return f"{self.prefix}uuids/{uuid.lower()}"

    def removed(self, removal: str) -> str:
        return f"{self.prefix}removed/{removal}"

    def request(self, request: RequestId) -> str:
        return f"{self.prefix}requests/{request}"

    def outcome(self, request: RequestId) -> str:
        return f"{self.prefix}outcomes/{request}"

    def fencing(self, session: SessionId) -> str:
        return f"{self.prefix}fencing/{session}"

    def hook(self, name: str) -> str:
        return f"{self.prefix}hooks/{name}"

    def checkup(self, checkup: str) -> str:
        return f"{self.prefix}checkups/{checkup}"

    def checkup_answer(self, checkup: str, node: NodeName) -> str:
        return f"{self.prefix}checkups/{checkup}/answers/{node}"

    def journal(self, entry: str) -> str:
        return f"{self.prefix}journal/{entry}"


KEY_TYPES: tuple[tuple[tuple[str, ...], type], ...] = (
    (("config",), ClusterConfig),
    (("leader",), LeaderRecord),
    (("schema",), ClusterSchema),
    (("history",), HistoryRecord),
    (("pause",), Hold),
    (("survival",), SurvivalRecord),
    (("domains", "*"), FailoverDomain),
    (("nodes", "*", "spec"), NodeSpec),
    (("nodes", "*", "session"), SessionRecord),
    (("nodes", "*", "beat"), BeatRecord),
    (("nodes", "*", "status"), NodeStatus),
    (("nodes", "*", "fencing"), FenceAttempt),
    (("nodes", "*", "vms", "*"), Observation),
    (("rules", "*"), Rule),
    (("services", "*"), Service),
    (("vms", "*", "spec"), VmSpec),
    (("vms", "*", "placement"), Placement),
    (("vms", "*", "freeze"), Hold),
    (("uuids", "*"), UuidClaim),
    (("removed", "*"), RemovedVm),
    (("requests", "*"), Request),
    (("outcomes", "*"), Outcome),
    (("fencing", "*"), FenceRecord),
    (("hooks", "*"), HookState),
    (("checkups", "*"), Checkup),
    (("checkups", "*", "answers", "*"), CheckupAnswer),
    (("journal", "*"), JournalEntry),
)


_TYPES_BY_SHAPE = dict(KEY_TYPES)  # in every pattern the names stand at the odd places


@lru_cache(maxsize=1 << 17)
def find_type(parts: tuple[str, ...]) -> type | None:
    """The record type stored under a key, given the key's parts below the cluster's prefix."""
    return _TYPES_BY_SHAPE.get(tuple(part if at % 2 == 0 else "*" for at, part in enumerate(parts)))


@lru_cache(maxsize=1 << 17)
def split_key(prefix: str, key: str) -> tuple[str, ...]:
    """A key's parts below the cluster's prefix. Remembered: every watcher asks it of every change of every beat."""
    return tuple(key.removeprefix(prefix).split("/"))


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def _adapter(kind: type) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:  # built on first use: the command line needs two or three of them, not all
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def prepare() -> None:
    """For whoever will read every kind: making an adapter takes milliseconds, and no loop is to stand for them all."""
    for _, kind in KEY_TYPES:
        _adapter(kind)


def encode(record: Any) -> bytes:
    """JSON as ``etcdctl get`` shows it: one line, keys in the order of the record."""
    return _adapter(type(record)).serializer.to_json(record, by_alias=True)


_AS_DIGITS = bytes(ord("9") if one in b"0123456789_" else 0 for one in range(256))
_MANY_DIGITS = b"9" * 70
_EVERY = 35
"""Of many digits in a row two such bytes, one after the other, are digits."""


@lru_cache(maxsize=512)
def _read(kind: Any, value: bytes) -> Any:
    """Records are frozen, and the same bytes are often read again: by a claim, after a listing, by another mirror."""
    return _read_once(kind, value)


def _read_once(kind: Any, value: bytes) -> Any:
    record = _read_now(kind, value)
    if _has_many_digits(value) and _has_huge(_adapter(kind).dump_python(record)):
        raise _NotReadError(f"a number of more than {MOST_BITS} bits")
    return record


def _has_many_digits(value: bytes) -> bool:
    """Or may have: they may be written as escapes. Each record that is read comes by here, and few do."""
    may_be = b"99" in value[::_EVERY].translate(_AS_DIGITS) and _MANY_DIGITS in value.translate(_AS_DIGITS)
    return may_be or b"\\u003" in value


def _has_huge(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_huge, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_has_huge, value))
    return isinstance(value, int) and value.bit_length() > MOST_BITS


def _read_now(kind: Any, value: bytes) -> Any:
    if kind not in UPGRADES:
        try:
            return _of_our_time(_adapter(kind).validator.validate_json(value))
        except ValidationError as error:
            if any(one["type"] == "json_invalid" for one in error.errors(include_url=False, include_input=False)):
                raise
    return _read_document(kind, value)


def _read_document(kind: Any, value: bytes) -> Any:
    """One that is not simply of today's shape: of a version before, of one after, or with fields that are not known."""
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return _adapter(kind).validate_json(value)  # says what is wrong with it
    _refuse_later(version_of(document))
    try:
        document = upgraded(kind, document)
        text = json.dumps(document)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise _NotReadError(f"schema: {version_of(document)} is not what stands there: {error!r}") from error
    try:
        return _of_our_time(_adapter(kind).validate_json(text))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if any(one["type"] != "extra_forbidden" for one in found):
            raise
        return _of_our_time(_adapter(kind).validate_python(_without(document, [one["loc"] for one in found])))


def _of_our_time(record: Any) -> Any:
    """A record says by itself of which schema it is; a document of people's would have shown a key it does not know."""
    if _is_later(record):
        _refuse_later(record.schema)
    return record


def _is_later(record: Any) -> bool:
    found = getattr(record, "schema", NEWEST)
    return isinstance(found, int) and found > NEWEST  # of documents it is a method of pydantic's


def _refuse_later(version: int) -> None:
    if version > NEWEST:
        raise _NotReadError(f"schema: {version} is of a later version of vmha; this one reads up to {NEWEST}")


class _NotReadError(Exception):
    """The document is of a schema that this software does not read, or not of the one that it says."""


def _without(value: Any, places: list[tuple[int | str, ...]]) -> Any:
    """``value`` less what stands at ``places``."""
    for *path, last in places:
        holder = value
        for part in path:
            holder = holder[part]
        del holder[last]
    return value


def decode(kind: type[T], value: bytes, *, where: str) -> T:
    """Reads a stored value, of any version up to ours. Fields that are not known are passed over (model/schema.py).

    Raises:
        Rejected: naming the key and the field when the value is not what the key holds, or of a later version.
    """
    return _decode(_read, kind, value, where)


def decode_once(kind: type[T], value: bytes, *, where: str) -> T:
    """As ``decode``, by whoever reads so much that nothing of it is read again. Raises: Rejected."""
    if kind not in UPGRADES and not _has_many_digits(value):
        try:
            record: T = _adapter(kind).validator.validate_json(value)
        except ValidationError:
            pass
        else:
            if not (_is_later(record) or _whose(record)):
                return record
    return _decode(_read_once, kind, value, where)  # knows the rest, and says what is wrong


def _decode(read: Callable[[Any, bytes], Any], kind: type[T], value: bytes, where: str) -> T:
    try:
        record: T = read(kind, value)
    except _NotReadError as error:
        raise Rejected(f"{where}: {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in found["loc"])
        raise Rejected(f"{where}: {place or 'value'}: {found['msg']}") from error
    if wrong := _whose(record):
        raise Rejected(f"{where}: {wrong}")
    return record


@cache
def _whose_fields(kind: type) -> tuple[str, ...]:
    """Those that the kind has: to ask a document of people's for one that it has not takes a third of reading it."""
    has = getattr(kind, "model_fields", None) or kind.__dataclass_fields__  # type: ignore[attr-defined]
    return tuple(field for field in ("node", "session") if field in has)


def _whose(record: Any) -> str:
    """What is wrong with whose a record says that it is; '': nothing. Everybody relies on it who decides on one."""
    if isinstance(record, Request):
        return ""  # the one in which an empty session has a meaning
    kind: type = type(record)
    for field in _whose_fields(kind):
        if getattr(record, field) == "":
            return f"{field}: is empty"
    if isinstance(record, Placement) and record.session is not None and record.node is None:
        return "node: is missing, and there is a session"
    return ""
