"""May a vm go home now? The node must have been back for a while, and the hour must be one of the vm's windows.

Times of day are UTC, by the leader's wall clock, which is an argument. How long a node has been back is counted from
when its session began, by that node's clock: one that is wrong lets a vm go home early, or seconds late, nothing more.
"""

from vmha.model.ids import NodeName
from vmha.model.records import Phase
from vmha.model.standing import DAYS, WINDOW, Failback
from vmha.model.vm import Desired
from vmha.policy.placing.failover_domain import rank
from vmha.policy.placing.field import Field
from vmha.policy.placing.placement import choose, left_of
from vmha.policy.placing.services import is_led
from vmha.policy.state.snapshot import VmView

DAY_S = 86400
EPOCH_WEEKDAY = 3
"""1970-01-01 was a Thursday."""


def wait_for(failback: Failback, home: NodeName, ground: Field) -> tuple[str, float | None]:
    """Why not yet ('': now), and in how many seconds that will have passed by itself."""
    if not failback.enabled:
        return f"{home} is more preferred; its failback is not enabled", None
    session = ground.snapshot.nodes[home].session
    left_s = left_of(failback.delay_s, session.value.since, ground.wall) if session else 0.0
    if left_s > 0:
        return f"{home} is more preferred; it goes home when that has been back for {failback.delay_s:g} s", left_s
    if failback.windows and (left_s := min(opens_in(window, ground.wall) for window in failback.windows)) > 0:
        return f"{home} is more preferred; it goes home at {' or '.join(failback.windows)} UTC", left_s
    return "", None


def find_home(vm: VmView, ground: Field) -> NodeName | None:
    """A more preferred node that can take a running vm now, whatever ``nofailback``, delay and windows say."""
    placement = vm.placement.value if vm.placement else None
    if vm.spec is None or placement is None or placement.phase is not Phase.HELD or placement.node is None:
        return None
    if vm.spec.value.desired is not Desired.RUNNING or is_led(vm.name, ground):
        return None  # of a service one leads, and the others follow it
    owner = placement.node
    domain = ground.domain_of(vm.spec.value)
    if domain is None:
        return None  # without a failover domain no node is preferred over another
    plain = domain.model_copy(update={"nofailback": False})
    ranking = rank(plain, online=ground.eligible | {owner}, owner=owner)
    mine = ranking.find(owner)[0]
    better = {name for name in ground.eligible if ranking.find(name)[0] > mine}
    if not better:
        return None
    avoid = {name: "is not more preferred" for name in ground.verdicts if name not in better}
    return choose(vm.spec.value, ground, avoid=avoid, moving=True).node


def opens_in(window: str, wall: float) -> float:
    """Seconds until ``window`` opens; 0: it is open. One that ends before it begins goes on past midnight."""
    found = WINDOW.fullmatch(window)
    assert found
    first, last, *times = found.groups()
    begin_s = (int(times[0]) * 60 + int(times[1])) * 60
    end_s = DAY_S if times[2] is None else (int(times[2]) * 60 + int(times[3])) * 60
    length_s = end_s - begin_s if end_s > begin_s else end_s - begin_s + DAY_S
    at_s, day = wall % DAY_S, (int(wall // DAY_S) + EPOCH_WEEKDAY) % 7
    opens = range(7) if first is None else _days(DAYS.index(first), DAYS.index(last or first))
    since = [at_s - begin_s + DAY_S * back for back in range(2) if (day - back) % 7 in opens]
    if any(0 <= passed < length_s for passed in since):
        return 0.0
    return min(
        begin_s - at_s + DAY_S * on for on in range(8) if (day + on) % 7 in opens and begin_s + DAY_S * on > at_s
    )


def _days(first: int, last: int) -> set[int]:
    return {(first + at) % 7 for at in range((last - first) % 7 + 1)}
