"""When did a vm not run? From the hosts' history alone: the product's own records are not asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmha.hypervisor.twin.fabric_state import Deed, Fact


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """From the end of one run to the begin of the next. ``until_s`` None: it does not run at the end."""

    vm: str
    from_s: float
    until_s: float | None
    host_before: str
    host_after: str | None


def gaps_of(vm: str, history: Sequence[Fact], *, shortest_s: float = 0.1) -> list[Gap]:
    """Gaps after the vm's first run; a migration's switch, in which neither side runs for an instant, is none."""
    gaps: list[Gap] = []
    runs: set[str] = set()
    began: tuple[float, str] | None = None
    for fact in history:
        if fact.vm != vm:
            continue
        ran = bool(runs)
        if fact.deed is Deed.RUNS:
            runs.add(fact.host)
        else:
            runs.discard(fact.host)
        if ran and not runs:
            began = (fact.time, fact.host)
        elif runs and not ran and began is not None:
            if fact.time - began[0] >= shortest_s:
                gaps.append(Gap(vm=vm, from_s=began[0], until_s=fact.time, host_before=began[1], host_after=fact.host))
            began = None
    if began is not None:
        gaps.append(Gap(vm=vm, from_s=began[0], until_s=None, host_before=began[1], host_after=None))
    return gaps
