"""``vmha rebalance now``: full nodes are relieved at once, each vm by a request to migrate, within the limits."""

from collections.abc import Sequence

from vmha.model.records import Request, Verb
from vmha.operator.client import OperatorClient
from vmha.operator.requests import submit
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import survey
from vmha.policy.plan import judge_all
from vmha.policy.rebalance import Shift, find_shift, gone_to
from vmha.policy.state.census import take
from vmha.policy.state.snapshot import Snapshot

SHIFTS_AT_MOST = 100


def find_shifts(snapshot: Snapshot, *, wall: float) -> list[Shift]:
    """What would move by the cluster's threshold and margin, one after the other, without hold time and windows."""
    census = take(snapshot.vms)
    verdicts = judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall))
    ground = survey(snapshot, verdicts, wall, census)
    found: list[Shift] = []
    while len(found) < SHIFTS_AT_MOST:
        shift, _ = find_shift(ground, census, now=True, passed_over={one.vm for one in found})
        if shift is None:
            break
        found.append(shift)
        gone_to(shift, ground)
    return found


async def ask_for(client: OperatorClient, shifts: Sequence[Shift]) -> list[Request]:
    """Raises: RefusedByCluster."""
    return [await submit(client, Verb.MIGRATE, vm=shift.vm, node=shift.target) for shift in shifts]
