"""Two guests of one vm on one node, one by its uuid, the other by its name: past an open gate a hand can do that."""

from collections.abc import Awaitable, Callable

import pytest

from tests.sim.probes import answered, placement, restart_agent
from tests.sim.test_other_names import RENAMED, XML, is_held, rename
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.model.ids import VmName
from vmha.model.records import Phase, Progress
from vmha.model.settings import ClusterConfig, GateMode, Profile
from vmha.model.vm import AfterShutdown, Desired, OnDuplicate
from vmha.operator.overview import Overview, overview
from vmha.operator.vms import add_vm, edit
from vmha.policy.telling.explain import VmState
from vmha.sim.journal import read_journal
from vmha.sim.world.hands import domain_xml

BY_NAME = domain_xml("db", memory_mib=1024, vcpus=1)
"""Its uuid is nobody's: the guest called web is db's by its uuid, this one by its name."""

RUNS, STANDS = DomainState.RUNNING, DomainState.PAUSED


def with_two(scene: Callable[[Cluster], Awaitable[None]], *, on_duplicate: OnDuplicate = OnDuplicate.PAUSE) -> None:
    """``scene`` begins as a hand has started the second one."""

    async def play(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        await rename(cluster)
        await edit(cluster.hands.operator, "db", on_duplicate=on_duplicate)
        await cluster.rest()
        cluster.hands.virsh_start(BY_NAME, "n1")
        await until(lambda: states(cluster) == (RUNS, RUNS), what="both to run")
        await scene(cluster)

    in_cluster(play)


def states(cluster: Cluster) -> tuple[DomainState | None, DomainState | None]:
    """Of its own guest, and of the other."""
    guests = cluster.world.fabric.host("n1").guests
    web, db = guests.get("web"), guests.get("db")
    return web.state if web else None, db.state if db else None


def told(cluster: Cluster, kind: str) -> list[str]:
    journal = read_journal(cluster.world.record.catch_up().lines)
    return [line.text for line in journal if line.kind == kind and line.vm == "db"]


async def shown(cluster: Cluster) -> Overview:
    return overview(await cluster.hands.operator.read(), cluster="sim", wall=cluster.world.clock.wall())


TOLD = "it ran on n1 twice: as web, which is its own, and as db"


def test_the_one_that_nobody_granted_is_made_to_stand_still_and_both_are_told_of() -> None:
    async def scene(cluster: Cluster) -> None:
        await until(lambda: states(cluster) == (RUNS, STANDS), what="the second one to be paused", timeout_s=5.0)
        await cluster.rest()
        assert states(cluster) == (RUNS, STANDS)
        assert told(cluster, "duplicate") == [TOLD]
        assert "a second guest of vm db stands on n1 beside it: db" in (await shown(cluster)).warnings
        cluster.world.fabric.virsh_resume("db", "n1")
        await until(lambda: states(cluster) == (RUNS, RUNS), what="a hand to let it run again")
        await until(lambda: states(cluster) == (RUNS, STANDS), what="it to be paused again", timeout_s=5.0)

    with_two(scene)


def test_it_is_ended_where_the_vm_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await until(lambda: states(cluster) == (RUNS, None), what="the second one to be ended", timeout_s=5.0)
        await cluster.rest()
        assert states(cluster) == (RUNS, None)
        assert told(cluster, "duplicate") == [TOLD]
        assert told(cluster, "duplicate-ended") == ["the second guest of it on n1, db, is ended"]
        held = placement(cluster, "db")
        assert held
        assert (held.phase, held.node, held.guest) == (Phase.HELD, "n1", "web")

    with_two(scene, on_duplicate=OnDuplicate.DESTROY)


def test_it_is_left_and_shown_as_running_twice_where_the_vm_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await until(lambda: told(cluster, "duplicate") == [TOLD], what="it to be told", timeout_s=5.0)
        await cluster.rest()
        assert states(cluster) == (RUNS, RUNS)
        assert told(cluster, "duplicate") == [TOLD], "once"
        seen = await shown(cluster)
        assert [vm.state for vm in seen.vms if vm.name == "db"] == [VmState.DUPLICATE]
        assert "vm db RUNS TWICE: seen on n1, n1 as db" in seen.warnings

    with_two(scene, on_duplicate=OnDuplicate.ALARM)


@pytest.mark.parametrize("how", [OnDuplicate.PAUSE, OnDuplicate.ALARM])
def test_which_is_its_own_is_known_to_an_agent_that_begins_anew(how: OnDuplicate) -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.rest()
        before = states(cluster)
        restart_agent(cluster, "n1")
        await cluster.rest()
        assert states(cluster) == before
        assert before[0] is RUNS
        assert set(told(cluster, "duplicate")) == {TOLD}

    with_two(scene, on_duplicate=how)


@pytest.mark.parametrize("how", [OnDuplicate.PAUSE, OnDuplicate.ALARM])
def test_vm_that_is_stopped_is_stopped_with_both_of_its_guests_and_not_said_to_be_down_before(how: OnDuplicate) -> None:
    """What stands there hears no shutdown. It is ended, also where guests of the vm must not be killed."""

    async def scene(cluster: Cluster) -> None:
        await edit(cluster.hands.operator, "db", no_kill=True)
        await cluster.rest()
        assert bool(told(cluster, "duplicate"))
        await cluster.hands.stop("db")
        await until(lambda: is_down(cluster), what="the vm to be stopped", timeout_s=60.0)
        assert states(cluster) == (None, None)

    def is_down(cluster: Cluster) -> bool:
        held = placement(cluster, "db")
        is_stopped = held is not None and held.phase is Phase.STOPPED
        assert not is_stopped or states(cluster) == (None, None)
        return is_stopped

    with_two(scene, on_duplicate=how)


def test_what_stands_beside_it_never_becomes_the_vm() -> None:
    """Its own guest crashes: the vm boots anew, and what stood there is ended."""

    async def scene(cluster: Cluster) -> None:
        await until(lambda: states(cluster) == (RUNS, STANDS), what="the second one to be paused", timeout_s=5.0)
        copy = cluster.world.fabric.host("n1").guests["db"].memory
        cluster.world.fabric.crash("web", host="n1")
        await until(lambda: len(cluster.where("db")) == 1, what="the vm to run again", timeout_s=60.0)
        await cluster.rest()
        (again,) = cluster.world.fabric.instances_of("db")
        assert again.memory is not copy
        assert cluster.where("web") == []

    with_two(scene)


Scene = Callable[[Cluster, str], Awaitable[None]]
OWN = pytest.mark.parametrize("own", ["web", "db"])
"""What the vm's own guest is called: it is the vm's by its uuid, and the one beside it by its name, or the reverse."""


def with_one_beside(own: str, scene: Scene) -> None:
    """``scene`` begins with the other one standing beside the vm's own."""

    async def play(cluster: Cluster) -> None:
        await cluster.hands.configure(ClusterConfig(profile=Profile.TUNED, gate=GateMode.OFF))
        if own == "web":
            await rename(cluster)
        else:
            await add_vm(cluster.hands.operator, "db", RENAMED, on_guest_shutdown=AfterShutdown.STOP)
            cluster.hands.virsh_start(BY_NAME, "n1")
            await until(lambda: is_held(cluster), what="what a hand has started to be adopted")
        await cluster.rest()
        cluster.hands.virsh_start(BY_NAME if own == "web" else XML, "n1")
        wanted = (RUNS, STANDS) if own == "web" else (STANDS, RUNS)
        await until(lambda: states(cluster) == wanted, what="the second one to be paused")
        await cluster.rest()
        await scene(cluster, own)

    in_cluster(play)


def is_stopped(cluster: Cluster) -> bool:
    held = placement(cluster, "db")
    return held is not None and held.phase is Phase.STOPPED and states(cluster) == (None, None)


@OWN
@pytest.mark.parametrize("is_agent_new", [False, True])
def test_guest_that_powers_itself_off_beside_a_second_one_has_powered_itself_off(own: str, is_agent_new: bool) -> None:
    """Not been ended with what stood there: ``on_guest_shutdown: stop`` keeps the vm down."""

    async def scene(cluster: Cluster, own: str) -> None:
        if is_agent_new:
            restart_agent(cluster, "n1")
            await cluster.rest()
        cluster.world.fabric.power_off_guest(own)
        await until(lambda: is_stopped(cluster), what="the vm to be down, and nothing to be left of it")
        await cluster.rest()
        assert is_stopped(cluster)
        assert not told(cluster, "claimed"), "it was not started again"
        spec = (await cluster.hands.operator.read()).vms[VmName("db")].spec
        assert spec is not None
        assert spec.value.desired is Desired.STOPPED
        assert told(cluster, "duplicate-ended") == ["the second copy that was paused on n1 is ended"]
        await cluster.hands.start("db")
        await until(lambda: len(cluster.where("db")) == 1, what="its start")

    with_one_beside(own, scene)


@OWN
@pytest.mark.parametrize("after", list(AfterShutdown))
def test_guest_that_a_hand_ends_beside_a_second_one_was_ended_by_a_hand(own: str, after: AfterShutdown) -> None:
    async def scene(cluster: Cluster, own: str) -> None:
        await edit(cluster.hands.operator, "db", on_outside_stop=after)
        await cluster.rest()
        cluster.world.fabric.virsh_destroy(own, "n1")
        if after is AfterShutdown.STOP:
            await until(lambda: is_stopped(cluster), what="the vm to be down")
            await cluster.rest()
            assert is_stopped(cluster)
        else:
            await until(lambda: len(cluster.where("db")) == 1, what="the vm to run again", timeout_s=60.0)

    with_one_beside(own, scene)


@OWN
def test_guest_that_a_hand_sends_out_beside_a_second_one_has_departed_and_is_not_started_here(own: str) -> None:
    async def scene(cluster: Cluster, own: str) -> None:
        cluster.hands.virsh_migrate(own, "elsewhere")
        await until(lambda: has_departed(cluster), what="it to be on record", timeout_s=60.0)
        await cluster.rest()
        assert has_departed(cluster)
        assert cluster.where(own) == ["elsewhere"]
        assert states(cluster) == (None, None)

    def has_departed(cluster: Cluster) -> bool:
        held = placement(cluster, "db")
        return held is not None and held.phase is Phase.DEPARTED

    with_one_beside(own, scene)


@OWN
def test_guest_that_migrates_from_beside_a_second_one_goes_on_and_boots_nowhere(own: str) -> None:
    async def scene(cluster: Cluster, own: str) -> None:
        memory = cluster.world.fabric.host("n1").guests[own].memory
        asked = await cluster.hands.migrate("db", to="n2")
        assert (await answered(cluster, asked.id, timeout_s=60.0)).progress is Progress.DONE
        await cluster.rest()
        assert cluster.where(own) == ["n2"]
        assert cluster.world.fabric.host("n2").guests[own].memory is memory
        assert not told(cluster, "claimed")

    with_one_beside(own, scene)


def test_both_are_ended_by_the_guard_of_a_node_that_is_cut_off() -> None:
    async def scene(cluster: Cluster) -> None:
        await until(lambda: bool(told(cluster, "duplicate")), what="it to be told", timeout_s=5.0)
        (here,) = (host for name, host in cluster.world.hosts.items() if name == "n1")
        uuids = here.member.agent.inventory.managed_uuids()  # type: ignore[union-attr]
        assert {guest.uuid for guest in cluster.world.fabric.host("n1").guests.values()} <= set(uuids)

    with_two(scene, on_duplicate=OnDuplicate.ALARM)
