"""All kinds of faults and operations, and the choice among them by ``--faults``."""

import difflib
from collections.abc import Sequence

from vmha.model.errors import Rejected
from vmha.sim.faults.fault import Fault, Takes
from vmha.sim.faults.of_hosts import OF_HOSTS
from vmha.sim.faults.of_the_store import OF_THE_STORE
from vmha.sim.faults.of_vms import OF_VMS

FAULTS: tuple[Fault, ...] = (*OF_HOSTS, *OF_THE_STORE, *OF_VMS)
KINDS: tuple[str, ...] = tuple(dict.fromkeys(fault.kind for fault in FAULTS))
_BY_NAME = {fault.name: fault for fault in FAULTS}


def by_name(name: str, *, where: str) -> Fault:
    """Raises: Rejected, with the near names and all that is accepted."""
    fault = _BY_NAME.get(name)
    if fault is None:
        raise _unknown(name, where, tuple(_BY_NAME))
    return fault


def selected(chosen: str) -> tuple[Fault, ...]:
    """``chosen``: names and kinds, by commas; one with a minus before it is left out. '' is all of them, and so is a
    list of nothing but what is left out.

    Raises:
        Rejected: a word that is neither a name nor a kind, or nothing is left.
    """
    words = [word.strip() for word in chosen.split(",") if word.strip()]
    for word in words:
        if word.removeprefix("-") not in (*_BY_NAME, *KINDS):
            raise _unknown(word.removeprefix("-"), "--faults", (*KINDS, *_BY_NAME))
    wanted = {word for word in words if not word.startswith("-")}
    unwanted = {word[1:] for word in words if word.startswith("-")}
    found = tuple(
        fault
        for fault in FAULTS
        if (not wanted or wanted & {fault.name, fault.kind}) and not unwanted & {fault.name, fault.kind}
    )
    if not found:
        raise Rejected(f"--faults: {chosen!r} leaves nothing (accepted: {', '.join((*KINDS, *_BY_NAME))})")
    return found


def _unknown(name: str, where: str, accepted: Sequence[str]) -> Rejected:
    near = difflib.get_close_matches(name, accepted, n=1)
    hint = f", did you mean {near[0]}?" if near else ""
    return Rejected(f"{where}: {name!r} is no kind of fault{hint} (accepted: {', '.join(accepted)})")


__all__ = ["FAULTS", "KINDS", "Fault", "Takes", "by_name", "selected"]
