"""``vmha failback now``: vms go home at once, each by a request to migrate, within the limits on migrations."""

from collections.abc import Sequence

from vmha.model.ids import NodeName, VmName
from vmha.model.records import Request, Verb
from vmha.operator.client import OperatorClient
from vmha.operator.requests import submit
from vmha.operator.vms import find_spec
from vmha.policy.deciding.failback import find_home
from vmha.policy.members.membership import moment_of_one_reading
from vmha.policy.placing.placement import survey, take
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Snapshot


def find_homes(snapshot: Snapshot, names: Sequence[str], *, wall: float) -> dict[VmName, NodeName]:
    """Where each vm that runs on a less preferred node would go now; no names: of all vms.

    Raises: UnknownName.
    """
    for name in names:
        find_spec(snapshot, name)
    ground = survey(snapshot, judge_all(snapshot, moment_of_one_reading(snapshot, wall=wall)), wall)
    homes: dict[VmName, NodeName] = {}
    for name in sorted(map(VmName, names) if names else snapshot.vms):
        if (home := find_home(snapshot.vms[name], ground)) is None:
            continue
        homes[name] = home
        spec = snapshot.vms[name].spec
        assert spec
        take(home, spec.value, ground, starting=False)  # its room is taken for those after it
    return homes


async def bring_home(client: OperatorClient, names: Sequence[str]) -> list[Request]:
    """Ask for a migration of each; none when all are at home, or nobody more preferred can take them.

    Raises: UnknownName, RefusedByCluster.
    """
    homes = find_homes(await client.read(), names, wall=client.clock.wall())
    return [await submit(client, Verb.MIGRATE, vm=vm, node=home) for vm, home in homes.items()]
