"""One transaction on the store of a state: all of it, if all compares hold; else nothing."""

import itertools

from .state import Slot, Txn
from .values import COUNTED

_FRESH = itertools.count(1000)
"""Revisions that no state holds: states are renamed to small numbers after each move."""


def commit(store: tuple[Slot, ...], txn: Txn) -> tuple[tuple[Slot, ...], bool, int]:
    """The store after ``txn``, whether it succeeded, and the revision that it made."""
    slots = {slot.key: slot for slot in store}
    for kind, key, revision in txn.compares:
        slot = slots.get(key)
        match kind:
            case "created":
                holds = (slot.created if slot else 0) == revision
            case "modified":
                holds = (slot.modified if slot else 0) == revision
            case _:
                holds = slot is not None
        if not holds:
            return store, False, 0
    fresh = next(_FRESH)
    for key, value in txn.ops:
        if not value:
            slots.pop(key, None)
            continue
        old, now = slots.get(key), fresh if key in COUNTED else 1
        slots[key] = Slot(key, old.created if old else now, now, value)
    return tuple(slots[key] for key in sorted(slots)), True, fresh
