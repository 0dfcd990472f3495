"""Every verb in every state, enacted: the table of docs/reference/states-and-verbs.md is what really happens.

Each pair is played in a simulated cluster, to the end: what the verb answers is compared with the table; then whatever
made the state is mended, and the vm must do what it is wanted to do without an operator, unless the page says that a
person's word is needed.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from tests.sim.probes import add_running, answered, placement, queue_one_start, see_at_once
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.model.errors import Refused, Rejected
from vmha.model.holds import PauseMode
from vmha.model.ids import VmName
from vmha.model.records import Phase, Progress, Request
from vmha.model.restart import RestartKind
from vmha.model.settings import AtShutdown, ClusterConfig, Fencing, HostShutdown, Profile, Proof
from vmha.model.vm import Desired
from vmha.operator.errors import RefusedByCluster, UnknownName

PAGE = Path(__file__).parents[2] / "docs/reference/states-and-verbs.md"
PATIENCE_S = 60.0
"""What has no answer and no effect by then waits for the state to end."""

ELSEWHERE = "elsewhere"
"""A host that is no node of the cluster."""

Act = Callable[[Cluster], Awaitable[object]]


async def _nothing(_cluster: Cluster) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``enter`` brings vm web into it; ``mend`` takes away what kept it there, without a word about the vm."""

    enter: Act
    mend: Act = _nothing


# --- the states


async def _new(cluster: Cluster) -> None:
    await cluster.hands.add("web", memory_mib=1024, vcpus=1)
    await cluster.rest()


async def _running(cluster: Cluster) -> None:
    await add_running(cluster, "web", stop_timeout_s=20)


async def _stopped(cluster: Cluster) -> None:
    await _running(cluster)
    await cluster.hands.stop("web")
    await cluster.rest()


async def _disabled(cluster: Cluster) -> None:
    await _running(cluster)
    await cluster.hands.disable("web")
    await cluster.rest()


async def _starting(cluster: Cluster) -> None:
    await _stopped(cluster)
    queue_one_start(cluster, "n1", 20.0)
    await cluster.hands.start("web")
    await _is_in(cluster, Phase.HELD)


async def _stopping(cluster: Cluster) -> None:
    await _running(cluster)
    guest = cluster.hands.find_guest("web")
    assert guest
    guest.memory.obeys_acpi = False
    await cluster.hands.stop("web")
    await _is_in(cluster, Phase.STOPPING)


async def _migrating(cluster: Cluster) -> None:
    await _running(cluster)
    cluster.world.fabric.timing = replace(cluster.world.fabric.timing, migration_s=20.0)
    await cluster.hands.migrate("web", "n2")
    await _is_in(cluster, Phase.MIGRATING)


async def _stands(cluster: Cluster) -> None:
    await _running(cluster)
    cluster.hands.virsh_suspend("web")
    await cluster.rest()


async def _goes_on(cluster: Cluster) -> None:
    if ("n1", DomainState.PAUSED) in cluster.world.fabric.instances("web"):
        cluster.hands.virsh_resume("web")


async def _fits_nowhere(cluster: Cluster) -> None:
    await cluster.hands.drain("n1")
    await cluster.hands.drain("n2")
    await cluster.hands.drain("n3")
    await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True)
    await cluster.rest()


async def _room(cluster: Cluster) -> None:
    for node in ("n1", "n2", "n3"):
        await cluster.hands.undrain(node)


async def _frozen_with_host(cluster: Cluster) -> None:
    frozen = HostShutdown(vms=AtShutdown.FREEZE)
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, on_host_shutdown=frozen))
    await _running(cluster)
    await cluster.hands.host("n1").shut_down()
    await cluster.rest()


async def _switched_on(cluster: Cluster) -> None:
    cluster.hands.host("n1").power_on()


async def _lost(cluster: Cluster) -> None:
    fencing = Fencing(accept=(Proof.POWER_OFF_CONFIRMED, Proof.OPERATOR_CONFIRMED))
    await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, fencing=fencing))
    await _running(cluster)
    cluster.hands.host("n1").cut()
    await asyncio.sleep(30.0)


async def _found(cluster: Cluster) -> None:
    cluster.hands.host("n1").heal()


async def _departed(cluster: Cluster) -> None:
    await _running(cluster)
    cluster.hands.virsh_migrate("web", ELSEWHERE)
    await until(lambda: _is_departed(cluster), what="departed", timeout_s=60.0)


def _is_departed(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return held is not None and held.phase is Phase.DEPARTED


async def _frozen(cluster: Cluster) -> None:
    await _running(cluster)
    await cluster.hands.freeze("web")
    await cluster.rest()


async def _unfreeze(cluster: Cluster) -> None:
    with contextlib.suppress(UnknownName):  # removed meanwhile, and its hold with it
        await cluster.hands.unfreeze("web")


async def _frozen_and_stopped(cluster: Cluster) -> None:
    await _stopped(cluster)
    await cluster.hands.freeze("web")
    await cluster.rest()


async def _paused(cluster: Cluster) -> None:
    await _running(cluster)
    await cluster.hands.pause(PauseMode.ALL)
    await cluster.rest()


async def _resume(cluster: Cluster) -> None:
    await cluster.hands.resume()


async def _removed(cluster: Cluster) -> None:
    await _running(cluster)
    await cluster.hands.remove("web")
    await cluster.rest()


STATES = {
    "new": State(enter=_new),
    "stopped": State(enter=_stopped),
    "disabled": State(enter=_disabled),
    "starting": State(enter=_starting),
    "running": State(enter=_running),
    "stopping": State(enter=_stopping),
    "migrating": State(enter=_migrating),
    "stands still": State(enter=_stands, mend=_goes_on),
    "fits nowhere": State(enter=_fits_nowhere, mend=_room),
    "host is shut down": State(enter=_frozen_with_host, mend=_switched_on),
    "lost, no proof": State(enter=_lost, mend=_found),
    "departed": State(enter=_departed),
    "frozen, running": State(enter=_frozen, mend=_unfreeze),
    "frozen, stopped": State(enter=_frozen_and_stopped, mend=_unfreeze),
    "paused cluster": State(enter=_paused, mend=_resume),
    "removed": State(enter=_removed),
}


async def _is_in(cluster: Cluster, phase: Phase) -> None:
    def look() -> bool | None:
        held = placement(cluster, "web")
        return True if held is not None and held.phase is phase else None

    await see_at_once(look)


# --- the verbs, and how each is seen to be done


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """``is_done``: what a verb without a request of its own has brought about."""

    say: Act
    is_done: Callable[[Cluster], bool] = lambda _cluster: True


def _runs(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return len(cluster.where("web")) == 1 and held is not None and held.phase is Phase.HELD


def _is_off(cluster: Cluster) -> bool:
    held = placement(cluster, "web")
    return not cluster.world.fabric.instances("web") and (held is None or held.phase is Phase.STOPPED)


async def _end_it_elsewhere_and_confirm(cluster: Cluster) -> Request:
    """Whoever gives that word has made it true."""
    if cluster.where("web") == [ELSEWHERE]:
        cluster.hands.virsh_destroy("web")
        await until(lambda: not cluster.where("web"), what="its end elsewhere")
    return await cluster.hands.confirm_gone("web")


VERBS = {
    "start": Spoken(say=lambda cluster: cluster.hands.start("web"), is_done=_runs),
    "start --on": Spoken(say=lambda cluster: cluster.hands.start_on("web", "n3")),
    "enable": Spoken(say=lambda cluster: cluster.hands.enable("web"), is_done=_runs),
    "stop": Spoken(say=lambda cluster: cluster.hands.stop("web"), is_done=_is_off),
    "disable": Spoken(say=lambda cluster: cluster.hands.disable("web"), is_done=_is_off),
    "restart": Spoken(say=lambda cluster: cluster.hands.restart("web")),
    "restart --kind reset": Spoken(say=lambda cluster: cluster.hands.restart("web", RestartKind.RESET)),
    "migrate": Spoken(say=lambda cluster: cluster.hands.migrate("web", "n3")),
    "migrate --cancel": Spoken(say=lambda cluster: cluster.hands.cancel_migration("web")),
    "relocate": Spoken(say=lambda cluster: cluster.hands.relocate("web", "n3")),
    "freeze": Spoken(say=lambda cluster: cluster.hands.freeze("web")),
    "unfreeze": Spoken(say=lambda cluster: cluster.hands.unfreeze("web")),
    "confirm-gone": Spoken(say=_end_it_elsewhere_and_confirm),
    "remove": Spoken(say=lambda cluster: cluster.hands.remove("web")),
}


async def _speak(cluster: Cluster, verb: Spoken) -> str:
    """The word of the table for what comes of it."""
    try:
        asked = await verb.say(cluster)
    except UnknownName:
        return "unknown"
    except (Rejected, RefusedByCluster, Refused):
        return "refused"
    try:
        if isinstance(asked, Request):
            return _WORDS[(await answered(cluster, asked.id, timeout_s=PATIENCE_S)).progress]
        await until(lambda: verb.is_done(cluster), timeout_s=PATIENCE_S)
    except AssertionError:
        return "waits"
    return "done"


_WORDS = {Progress.DONE: "done", Progress.REJECTED: "refused", Progress.FAILED: "failed"}


def play(state: str, verb: str) -> str:
    async def scene(cluster: Cluster) -> str:
        await STATES[state].enter(cluster)
        said = await _speak(cluster, VERBS[verb])
        await STATES[state].mend(cluster)
        if verb == "freeze":
            await _unfreeze(cluster)
        if _is_departed(cluster) and verb != "remove":
            await _end_it_elsewhere_and_confirm(cluster)  # no machine can know
        await _comes_to_what_is_wanted(cluster)
        assert cluster.violations() == []
        return said

    return in_cluster(scene)


async def _comes_to_what_is_wanted(cluster: Cluster) -> None:
    vm = (await cluster.hands.operator.read()).vms.get(VmName("web"))
    if vm is None or vm.spec is None:
        return  # nobody's: it is left as it is
    wanted = vm.spec.value.desired
    is_so = _runs if wanted is Desired.RUNNING else _is_off
    await until(lambda: is_so(cluster), what=f"it to be {wanted}", timeout_s=200.0)


# --- the table


@cache
def table() -> dict[tuple[str, str], str]:
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    header = next(row for row in rows if row[0] == "state")
    return {
        (row[0], verb.strip("`")): cell
        for row in rows
        if row[0] in STATES and len(row) == len(header)
        for verb, cell in zip(header[1:], row[1:], strict=True)
    }


def test_page_has_every_pair_and_no_other() -> None:
    assert set(table()) == {(state, verb) for state in STATES for verb in VERBS}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", STATES)
def test_verb_does_in_a_state_what_the_page_says_and_leaves_no_dead_end(state: str, verb: str) -> None:
    assert play(state, verb) == table()[state, verb]
