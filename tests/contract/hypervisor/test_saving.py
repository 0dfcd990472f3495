"""Saved memory and definitions that hosts keep: one suite, real libvirt hosts and the simulated twin."""

from pathlib import Path

import pytest

from tests.support.hypervisors import HypervisorWorld, SimulatedWorld, fresh_uuid, guest_xml, tag
from tests.support.waiting import eventually, find, see, see_gone
from vmha.hypervisor.files import FileTrouble
from vmha.hypervisor.port import (
    DomainExists,
    DomainMissing,
    DomainState,
    Ending,
    HostDefinition,
    SaveFailed,
    StartFailed,
)
from vmha.hypervisor.saved_file import COMPLETE
from vmha.model.domain_xml import default_uuid, parse_domain

UUID = default_uuid("contract", "web")


async def restore(world: HypervisorWorld, path: str, *, epoch: int = 8, saved: int = 7, uuid: str = UUID) -> None:
    await world.two.restore(path, name="web", uuid=uuid, saved=tag("web", saved), tag=tag("web", epoch), timeout_s=60)


# --- saved memory


async def test_saved_guest_is_gone_and_goes_on_elsewhere_under_its_new_tag(
    world: HypervisorWorld, tmp_path: Path
) -> None:
    path = str(tmp_path / "web.7.save")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.save("web", path, timeout_s=60)
    assert await find(world.one, "web") is None
    assert await eventually(lambda: _ending(world)) is Ending.SAVED
    assert await world.files.head(path, len(COMPLETE)) == COMPLETE
    await restore(world, path)
    view = await see(world.two, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 8)
    assert not view.persistent
    assert await world.files.head(path, len(COMPLETE)) == COMPLETE  # libvirt leaves it: whoever uses it takes it away


async def test_torn_file_is_known_by_its_head_and_refused(world: HypervisorWorld, tmp_path: Path) -> None:
    path = str(tmp_path / "web.7.save")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.save("web", path, timeout_s=60)
    await world.tear(path)
    assert await world.files.head(path, len(COMPLETE)) != COMPLETE
    with pytest.raises(StartFailed):
        await restore(world, path)
    assert await find(world.two, "web") is None


async def test_file_of_another_run_or_another_guest_is_refused(world: HypervisorWorld, tmp_path: Path) -> None:
    path = str(tmp_path / "web.7.save")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.save("web", path, timeout_s=60)
    with pytest.raises(StartFailed, match="epoch 7, not of epoch 6"):
        await restore(world, path, saved=6)
    with pytest.raises(StartFailed, match=f"not web \\({UUID[:-1]}"):
        await restore(world, path, uuid=UUID[:-1] + ("0" if UUID[-1] != "0" else "1"))
    assert await find(world.two, "web") is None


async def test_missing_file_is_refused(world: HypervisorWorld, tmp_path: Path) -> None:
    with pytest.raises(StartFailed):
        await restore(world, str(tmp_path / "web.7.save"))


async def test_restore_beside_the_same_guest_is_refused_and_leaves_it(world: HypervisorWorld, tmp_path: Path) -> None:
    path = str(tmp_path / "web.7.save")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.save("web", path, timeout_s=60)
    await world.two.start(guest_xml("web", epoch=9))
    with pytest.raises(DomainExists):
        await restore(world, path, epoch=10)
    assert (await see(world.two, "web", DomainState.RUNNING)).tag == tag("web", 9)


async def test_guest_that_is_not_here_can_not_be_saved(world: HypervisorWorld, tmp_path: Path) -> None:
    with pytest.raises(DomainMissing):
        await world.one.save("web", str(tmp_path / "web.7.save"), timeout_s=60)


# --- what a host keeps


async def test_persistent_definition_is_read_with_its_marks(world: HypervisorWorld) -> None:
    assert await world.one.find_definition("web") is None
    await world.virsh_define(guest_xml("web"), autostart=True)
    xml = await world.one.find_definition("web")
    assert xml is not None
    assert parse_domain(xml).uuid == UUID
    (found,) = await world.one.definitions()
    assert (found.name, found.uuid, found.autostart, found.managed_save) == ("web", UUID, True, False)
    assert await world.two.definitions() == ()
    view = await find(world.one, "web")
    assert view is not None
    assert view.state is DomainState.SHUTOFF


async def test_same_definition_has_the_same_digest_whatever_its_metadata(world: HypervisorWorld) -> None:
    async def digest(xml: str) -> str:
        await world.virsh_define(xml)
        (found,) = await world.one.definitions()
        return found.definition

    first = await digest(guest_xml("web", epoch=1))
    assert await digest(guest_xml("web", epoch=2)) == first
    assert await digest(guest_xml("web", epoch=2).replace("<vcpu>1<", "<vcpu>2<")) != first


async def test_start_over_the_hosts_own_definition_leaves_that_as_it_was(world: HypervisorWorld) -> None:
    """The domain is persistent then; when it ends the host has what it had, not what was started."""
    await world.virsh_define(guest_xml("web", epoch=3))
    before = await world.one.find_definition("web"), await world.one.definitions()
    await world.one.start(guest_xml("web", epoch=7).replace("<vcpu>1<", "<vcpu>2<"))
    view = await see(world.one, "web", DomainState.RUNNING)
    assert (view.tag, view.persistent) == (tag("web", 7), True)
    assert (await world.one.find_definition("web"), await world.one.definitions()) == before
    await world.one.set_tag("web", tag("web", 8))
    await world.one.destroy("web")
    assert (await world.one.find_definition("web"), await world.one.definitions()) == before


async def test_migration_away_leaves_the_hosts_own_definition_and_nothing_at_the_target(
    world: HypervisorWorld,
) -> None:
    await world.virsh_define(guest_xml("web", epoch=3))
    before = await world.one.find_definition("web")
    await world.one.start(guest_xml("web", epoch=7))
    await world.one.migrate(world.order("web", epoch=8))
    await world.two.resume("web")
    assert not (await see(world.two, "web", DomainState.RUNNING)).persistent
    await world.two.destroy("web")
    await see_gone(world.two, "web")
    assert await world.one.find_definition("web") == before


async def test_definition_of_the_name_under_another_uuid_is_in_the_way_of_a_start(world: HypervisorWorld) -> None:
    await world.virsh_define(guest_xml("web", uuid=fresh_uuid()))
    with pytest.raises(DomainExists, match="web"):
        await world.one.start(guest_xml("web", epoch=7))


async def test_managed_save_is_seen_and_a_start_boots_beside_it(world: HypervisorWorld) -> None:
    await world.virsh_define(guest_xml("web"))
    await world.one.start(guest_xml("web", epoch=7))
    await world.virsh_managed_save("web")

    async def marks() -> HostDefinition | None:
        return next((one for one in await world.one.definitions() if one.managed_save), None)

    assert await eventually(marks)
    await world.one.start(guest_xml("web", epoch=8))
    view = await see(world.one, "web", DomainState.RUNNING)
    assert view.tag == tag("web", 8)
    assert await marks() is not None


# --- files


async def test_definition_is_read_and_one_that_is_not_there_is_told_apart(
    world: HypervisorWorld, tmp_path: Path
) -> None:
    assert await world.files.read_definition(str(tmp_path / "none.xml")) is None
    with pytest.raises(FileTrouble, match="no such file"):
        await world.files.rename(str(tmp_path / "none"), str(tmp_path / "other"))
    await world.files.remove(str(tmp_path / "none"))
    assert await world.files.head(str(tmp_path / "none"), 16) == b""


async def test_save_into_a_place_that_takes_nothing_leaves_the_guest_running(world: HypervisorWorld) -> None:
    path = "/proc/none/web.7.save"
    if isinstance(world, SimulatedWorld):
        world.fabric.files.broken.add(path)
    await world.one.start(guest_xml("web", epoch=7))
    with pytest.raises(SaveFailed):
        await world.one.save("web", path, timeout_s=60)
    await see(world.one, "web", DomainState.RUNNING)


async def _ending(world: HypervisorWorld) -> Ending | None:
    return world.one.find_ending("web")
