"""The port's records to etcd's messages and back. Pure, and the only place that knows both shapes.

Keys are text in the port and bytes in etcd. Bytes that are no UTF-8 (somebody else's key under our prefix) survive the
way there and back as surrogates, so that one such key cannot stop a listing.
"""

from collections.abc import Callable
from typing import assert_never

from vmha.store import wire
from vmha.store.port import Change, Compare, Created, Delete, Exists, KeyValue, Modified, Op, Put, Settled


def encode_key(key: str) -> bytes:
    """The key as etcd holds it."""
    return key.encode("utf-8", "surrogateescape")


def decode_key(key: bytes) -> str:
    """The key as the port says it."""
    return key.decode("utf-8", "surrogateescape")


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with ``prefix``; etcd's ``\\0`` (no end) when there is none."""
    end = encode_key(prefix).rstrip(b"\xff")
    return end[:-1] + bytes([end[-1] + 1]) if end else b"\0"


def key_value(kv: wire.WireKeyValue) -> KeyValue:
    """One key as the port says it."""
    # Revisions and leases are numbers there as well; to say their types one by one takes as long as all the rest.
    make: Callable[..., KeyValue] = KeyValue
    return make(
        key=kv.key.decode("utf-8", "surrogateescape"),
        value=kv.value,
        create_revision=kv.create_revision,
        mod_revision=kv.mod_revision,
        lease=kv.lease,
    )


def change(event: wire.Event) -> Change:
    """One event of a watch."""
    deleted = event.type == wire.Event.DELETE
    return Change(decode_key(event.kv.key), None if deleted else key_value(event.kv))


def to_compare(compare: Compare) -> wire.Compare:
    """A compare of a transaction. etcd holds an absent key's revisions to be 0, which is the port's meaning too."""
    key = encode_key(compare.key)
    match compare:
        case Created(_, revision):
            return wire.Compare(
                key=key, target=wire.Compare.CREATE, result=wire.Compare.EQUAL, create_revision=revision
            )
        case Modified(_, revision):
            return wire.Compare(key=key, target=wire.Compare.MOD, result=wire.Compare.EQUAL, mod_revision=revision)
        case Exists():
            return wire.Compare(key=key, target=wire.Compare.CREATE, result=wire.Compare.GREATER, create_revision=0)
        case Settled(prefix, revision):  # nothing there counts as an absent key
            return wire.Compare(
                key=key,
                range_end=prefix_end(prefix),
                target=wire.Compare.MOD,
                result=wire.Compare.LESS,
                mod_revision=revision + 1,
            )
        case _:
            assert_never(compare)


def to_op(op: Op) -> wire.RequestOp:
    """A write of a transaction."""
    match op:
        case Put(key, value, lease):
            return wire.RequestOp(request_put=wire.PutRequest(key=encode_key(key), value=value, lease=lease))
        case Delete(key):
            return wire.RequestOp(request_delete_range=wire.DeleteRangeRequest(key=encode_key(key)))
        case _:
            assert_never(op)
