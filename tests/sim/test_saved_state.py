"""Saved state: a stop keeps the guest's memory, the next start goes on from it, once, or boots and says why."""

from typing import Any

from tests.sim.probes import placement
from tests.sim.test_restored_store import restore, settled
from tests.support.until import until
from tests.support.worlds import Cluster, in_cluster
from vmha.hypervisor.port import DomainState
from vmha.hypervisor.twin.simulated_files import SavedMemory
from vmha.model.ids import VmName
from vmha.model.keys import decode
from vmha.model.records import JournalEntry, Phase, SavedImage
from vmha.model.vm import Desired
from vmha.operator import vms

DIRECTORY = "/gfs/saves"
SAVED = {"directory": DIRECTORY}


async def add(cluster: Cluster, **fields: Any) -> None:
    await cluster.hands.add("web", memory_mib=1024, vcpus=1, start=True, saved_state=SAVED, **fields)
    await cluster.rest()
    assert len(cluster.where("web")) == 1


async def stop(cluster: Cluster) -> SavedImage | None:
    await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
    await cluster.rest()
    found = placement(cluster, "web")
    assert found is not None
    assert found.phase is Phase.STOPPED
    assert cluster.where("web") == []
    return found.saved


async def start(cluster: Cluster) -> None:
    await cluster.hands.start("web")
    await cluster.rest()
    assert len(cluster.where("web")) == 1


def memory(cluster: Cluster) -> object:
    guest = cluster.hands.find_guest("web")
    assert guest is not None
    return guest.memory


def told(cluster: Cluster, kind: str) -> list[str]:
    entries = cluster.world.etcd.list(cluster.world.keys.journal("")).items
    found = [decode(JournalEntry, kv.value, where=kv.key) for kv in entries]
    return [entry.text for entry in found if entry.kind == kind and entry.vm == VmName("web")]


def files(cluster: Cluster) -> list[str]:
    return sorted(cluster.world.fabric.files.held)


def test_stopped_vm_goes_on_from_its_memory_and_leaves_no_file() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        saved = await stop(cluster)
        assert saved is not None
        assert files(cluster) == [saved.file]
        await start(cluster)
        assert memory(cluster) is before
        assert files(cluster) == []
        assert len(told(cluster, "restored")) == 1
        found = placement(cluster, "web")
        assert found is not None
        assert found.saved is None
        assert cluster.violations() == []

    in_cluster(scene)


def test_memory_goes_on_on_another_node_when_its_own_is_lost_meanwhile() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before, holder = memory(cluster), cluster.where("web")[0]
        await stop(cluster)
        cluster.hands.host(holder).power_off()
        await start(cluster)
        assert cluster.where("web") != [holder]
        assert memory(cluster) is before
        assert cluster.violations() == []

    in_cluster(scene)


def test_relocation_carries_the_memory_along_and_a_restart_boots() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        await cluster.hands.relocate("web", next(n for n in ("n1", "n2", "n3") if [n] != cluster.where("web")))
        await cluster.rest()
        assert memory(cluster) is before
        await cluster.hands.restart("web")
        await cluster.rest()
        assert memory(cluster) is not before
        assert files(cluster) == []
        assert cluster.violations() == []

    in_cluster(scene)


def test_missing_file_boots_and_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        saved = await stop(cluster)
        assert saved is not None
        del cluster.world.fabric.files.held[saved.file]
        await start(cluster)
        assert memory(cluster) is not before
        assert "no such file" in told(cluster, "not-restored")[0]

    in_cluster(scene)


def test_torn_file_boots_and_says_so() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        saved = await stop(cluster)
        assert saved is not None
        held = cluster.world.fabric.files.held[saved.file]
        assert isinstance(held, SavedMemory)
        held.is_complete = False
        await start(cluster)
        assert memory(cluster) is not before
        assert "no complete saved state" in told(cluster, "not-restored")[0]
        assert files(cluster) == [f"{DIRECTORY}/web.save.used"]  # for whoever wants to look; never used again

    in_cluster(scene)


def test_file_of_another_run_is_refused() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        saved = await stop(cluster)
        assert saved is not None
        held = cluster.world.fabric.files.held[saved.file]
        assert isinstance(held, SavedMemory)
        held.xml = held.xml.replace(f'epoch="{saved.epoch}"', f'epoch="{saved.epoch - 1}"')
        await start(cluster)
        assert memory(cluster) is not before
        assert "not of epoch" in told(cluster, "not-restored")[0]

    in_cluster(scene)


def test_definition_that_changed_meanwhile_boots_the_new_one() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before = memory(cluster)
        await stop(cluster)
        spec = (await cluster.hands.operator.read()).vms[VmName("web")].spec
        assert spec is not None
        await vms.edit(cluster.hands.operator, "web", xml=spec.value.xml.replace("<vcpu>1<", "<vcpu>2<"))
        await start(cluster)
        assert memory(cluster) is not before
        assert "definition has changed" in told(cluster, "not-restored")[0]

    in_cluster(scene)


def test_directory_that_takes_nothing_has_the_guest_shut_down() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        found = placement(cluster, "web")
        assert found is not None
        cluster.world.fabric.files.broken.add(f"{DIRECTORY}/web.{found.epoch}.save")
        assert await stop(cluster) is None
        assert "no space left" in told(cluster, "not-saved")[0]
        await start(cluster)

    in_cluster(scene)


def test_save_that_takes_too_long_is_called_off_and_the_guest_shut_down() -> None:
    async def scene(cluster: Cluster) -> None:
        await cluster.hands.add(
            "web", memory_mib=1024, vcpus=1, start=True, saved_state={"directory": DIRECTORY, "timeout_s": 5}
        )
        await cluster.rest()
        object.__setattr__(cluster.world.fabric.timing, "save_s", 100.0)
        assert await stop(cluster) is None
        assert "called off" in told(cluster, "not-saved")[0]
        assert files(cluster) == []

    in_cluster(scene)


def test_agent_that_dies_while_the_memory_is_written_finds_it_afterwards() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before, holder = memory(cluster), cluster.where("web")[0]
        await vms.set_desired(cluster.hands.operator, "web", Desired.STOPPED)
        await until(lambda: _is_saving(cluster), timeout_s=5.0)
        cluster.hands.host(holder).kill_agent()
        await cluster.rest()
        found = placement(cluster, "web")
        assert found is not None
        assert found.saved is not None
        await start(cluster)
        assert memory(cluster) is before
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_lost_while_the_memory_is_written_boots_elsewhere_and_never_uses_what_is_left() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before, holder = memory(cluster), cluster.where("web")[0]
        await cluster.hands.relocate("web", None)
        await until(lambda: _is_saving(cluster), timeout_s=5.0)
        cluster.hands.host(holder).power_off()
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert len(cluster.where("web")) == 1
        assert memory(cluster) is not before
        assert cluster.violations() == []

    in_cluster(scene)


def test_node_lost_between_the_save_and_its_record_boots_elsewhere() -> None:
    """The memory is whole, and nobody may know it: what ran on may have run on with that node."""

    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        before, holder = memory(cluster), cluster.where("web")[0]
        await cluster.hands.relocate("web", None)
        await until(lambda: _is_saving(cluster), timeout_s=5.0)
        cluster.hands.host(holder).kill_agent()
        await until(lambda: cluster.hands.find_guest("web") is None, timeout_s=5.0)
        cluster.hands.host(holder).power_off()
        await cluster.observer.settle(quiet_s=20.0, at_most_s=400.0)
        assert len(cluster.where("web")) == 1
        assert memory(cluster) is not before
        assert len(files(cluster)) == 1
        assert cluster.violations() == []

    in_cluster(scene)


def test_agent_that_dies_in_the_middle_of_a_restore_never_has_the_memory_used_again() -> None:
    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        await stop(cluster)
        await cluster.hands.start("web")

        def is_restoring() -> bool:
            guest = cluster.hands.find_guest("web")
            return guest is not None and guest.is_starting

        await until(is_restoring, timeout_s=10.0)
        guest = cluster.hands.find_guest("web")
        assert guest is not None
        cluster.hands.host(guest.host.name).kill_agent()
        await cluster.rest()
        cluster.world.fabric.crash("web")
        await cluster.rest()
        assert len(cluster.where("web")) == 1
        assert memory(cluster) is not guest.memory
        assert cluster.violations() == []

    in_cluster(scene)


def test_store_restored_to_before_the_start_does_not_bring_the_memory_back() -> None:
    """The placement of the past names the file; the file is gone, and with it the way to an old memory."""

    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        await stop(cluster)
        backup = cluster.world.etcd.back_up()
        await start(cluster)
        old = memory(cluster)
        cluster.world.fabric.crash("web")
        await cluster.rest()
        await vms.set_desired(cluster.hands.operator, "web", Desired.DISABLED)
        await cluster.rest()
        await restore(cluster, backup)
        await settled(cluster)
        await cluster.hands.start("web")
        await until(lambda: len(cluster.where("web")) == 1, timeout_s=60.0)
        assert memory(cluster) is not old
        assert [one for one in cluster.violations() if one.law == "memory-is-as-new-as-the-disk"] == []

    in_cluster(scene)


def test_an_old_memory_over_a_newer_disk_would_be_seen_by_the_judge() -> None:
    """What the tests above rest on: the judge sees it when somebody does use a file twice."""

    async def scene(cluster: Cluster) -> None:
        await add(cluster)
        saved = await stop(cluster)
        assert saved is not None
        copy = cluster.world.fabric.files.held[saved.file]
        await start(cluster)
        saved = await stop(cluster)
        assert saved is not None
        assert isinstance(copy, SavedMemory)
        now = cluster.world.fabric.files.held[saved.file]
        assert isinstance(now, SavedMemory)
        copy.xml = now.xml
        cluster.world.fabric.files.held[saved.file] = copy
        await start(cluster)
        assert [one.law for one in cluster.violations()] == ["memory-is-as-new-as-the-disk"]

    in_cluster(scene)


def _is_saving(cluster: Cluster) -> bool:
    guest = cluster.hands.find_guest("web")
    return guest is not None and guest.is_saving and guest.state is DomainState.PAUSED
