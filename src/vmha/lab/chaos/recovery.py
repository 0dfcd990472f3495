"""How long after healing the guests were back, and how long that may take. Pure: sights and instants are handed in.

A guest is back when it writes, as the storage server sees it, and does not fall silent again before the cluster has
come to rest: one that ticks at the instant of healing may still be ended by its node's guard a second later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vmha.model.settings import Timing

SILENT_S = 1.0
"""A witness guest writes 18 times a second; on a loaded machine a pause of some tenths is no end."""

MIGRATION_GIVES_UP_S = 10.0
"""libvirt's keepalive in the lab (2 s, 3 times) on both connections of a migration, and its cleaning up."""
HOST_BOOTS_S = 5.0
GUEST_STARTS_S = 10.0
STORE_SETTLES_S = 5.0
"""etcd's election and its prolonging of leases."""


def budget_s(timing: Timing) -> float:
    """From the end of healing until every guest ticks: the longest chain of waits that one fault can leave behind.

    A host that stopped beating right at the end of healing is found dead, a migration that hangs gives up, the host
    boots and joins, and the guest starts.
    """
    found_dead_s = timing.lease_ttl_s + timing.dead_after_s
    return found_dead_s + STORE_SETTLES_S + MIGRATION_GIVES_UP_S + HOST_BOOTS_S + GUEST_STARTS_S


@dataclass(slots=True, kw_only=True)
class Recovery:
    """Fed with the storage server's sight of each export after healing; times on one clock."""

    healed_at_s: float
    seen_at_s: float = 0.0
    _last_silent_s: dict[str, float] = field(default_factory=dict)
    _ticking: set[str] = field(default_factory=set)

    def see(self, now_s: float, since_last_write_s: Mapping[str, float | None]) -> None:
        """``since_last_write_s``: of each guest that should run; None: it never wrote."""
        self.seen_at_s = now_s
        for vm, since_s in since_last_write_s.items():
            wrote_after_healing = since_s is not None and now_s - since_s >= self.healed_at_s
            if since_s is not None and since_s < SILENT_S and wrote_after_healing:
                self._ticking.add(vm)
            elif since_s is None or since_s >= SILENT_S:
                self._ticking.discard(vm)
                self._last_silent_s[vm] = now_s

    def is_ticking(self, vm: str) -> bool:
        return vm in self._ticking

    def back_s(self, vm: str) -> float | None:
        """Seconds from healing until the guest ticked for good; 0 when it never stopped. None: it does not tick."""
        if vm not in self._ticking:
            return None
        return max(0.0, self._last_silent_s.get(vm, self.healed_at_s) - self.healed_at_s)
