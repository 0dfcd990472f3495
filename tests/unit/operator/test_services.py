"""Services as an operator gives them: what is refused, in which words, what is written, and what is shown."""

import pytest
import yaml

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.test_apply import apply
from vmha.model.errors import Rejected
from vmha.model.ids import NodeName, VmName
from vmha.model.service import Service
from vmha.model.vm import Desired, FailoverDomain, FailoverDomainMember
from vmha.operator import vms
from vmha.operator.domains import add_domain, remove_domain
from vmha.operator.errors import RefusedByCluster, UnknownName
from vmha.operator.export import export
from vmha.operator.holds import freeze
from vmha.operator.overview import overview
from vmha.operator.service_verbs import freeze as freeze_service
from vmha.operator.service_verbs import unfreeze as unfreeze_service
from vmha.operator.service_view import ServiceState, service_in_words, service_line
from vmha.operator.services import MOST_MEMBERS, find_service, put_service, remove_service, set_desired
from vmha.operator.why import sentences, why

SHOP = Service(name="shop", members=("db", "app"))


@pytest.fixture
async def shop(cluster: Cluster) -> Cluster:
    cluster.join("h1", "h2")
    cluster.elect()
    for name in ("db", "app", "other"):
        await vms.add_vm(cluster.client, name, xml_of(name))
        await vms.set_desired(cluster.client, name, Desired.STOPPED)
    await put_service(cluster.client, SHOP)
    return cluster


async def desired(cluster: Cluster) -> dict[str, Desired]:
    snapshot = await cluster.client.read()
    return {name: vms.find_spec(snapshot, name).value.desired for name in SHOP.members}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (("other", "ap"), "there is no vm 'ap': did you mean app"),
        (("app", "db", "app"), "app: named twice"),
        ((), "a service needs at least one vm"),
        (("other", "alone"), "alone is exclusive"),
        (("other", "db"), "db is in service shop"),
        (("other", "needed"), "other -> needed -> other"),
    ],
)
async def test_members_that_do_not_fit_are_refused_by_name_and_nothing_is_written(
    shop: Cluster, members: tuple[str, ...], words: str
) -> None:
    await vms.add_vm(shop.client, "alone", xml_of("alone"), exclusive=1)
    await vms.add_vm(shop.client, "needed", xml_of("needed"))
    await vms.edit(shop.client, "other", depends_on=["needed"])
    before = shop.contents()
    with pytest.raises((Rejected, ValueError), match=words):
        await put_service(shop.client, Service(name="second", members=members))
    assert shop.contents() == before


async def test_member_can_not_become_what_does_not_fit(shop: Cluster) -> None:
    with pytest.raises(Rejected, match="app: it is in service shop: app is exclusive"):
        await vms.edit(shop.client, "app", exclusive=1)
    with pytest.raises(Rejected, match="in a circle"):
        await vms.edit(shop.client, "db", depends_on=["app"])


async def test_another_service_of_the_name_is_replaced_only_when_asked_for(shop: Cluster) -> None:
    assert await put_service(shop.client, SHOP) == SHOP
    other = Service(name="shop", members=("app",))
    with pytest.raises(Rejected, match="--replace"):
        await put_service(shop.client, other)
    await put_service(shop.client, other, replace=True)
    assert find_service(await shop.client.read(), "shop") == other


async def test_removed_service_leaves_its_vms_as_they_are(shop: Cluster) -> None:
    before = {key: value for key, value in shop.state().items() if "/services/" not in key}
    await remove_service(shop.client, "shop")
    assert shop.state() == before
    with pytest.raises(UnknownName, match="there is no service 'shop'"):
        await remove_service(shop.client, "shop")


async def test_failover_domain_that_a_service_names_stays(shop: Cluster) -> None:
    home = FailoverDomain(name="home", members=(FailoverDomainMember(node="h1"),))
    with pytest.raises(Rejected, match="home"):
        await put_service(shop.client, Service(name="shop", members=("db",), failover_domain="home"), replace=True)
    await add_domain(shop.client, home)
    await put_service(shop.client, Service(name="shop", members=("db",), failover_domain="home"), replace=True)
    with pytest.raises(Rejected, match="named by service shop"):
        await remove_domain(shop.client, "home")


async def test_start_and_stop_are_one_word_for_all_and_a_disabled_one_has_to_be_enabled(shop: Cluster) -> None:
    await set_desired(shop.client, "shop", Desired.RUNNING)
    assert await desired(shop) == {"db": Desired.RUNNING, "app": Desired.RUNNING}
    await vms.set_desired(shop.client, "app", Desired.DISABLED)
    await set_desired(shop.client, "shop", Desired.STOPPED)
    assert await desired(shop) == {"db": Desired.STOPPED, "app": Desired.DISABLED}
    with pytest.raises(Rejected, match="app of service shop is disabled"):
        await set_desired(shop.client, "shop", Desired.RUNNING)
    assert await desired(shop) == {"db": Desired.STOPPED, "app": Desired.DISABLED}
    await set_desired(shop.client, "shop", Desired.RUNNING, is_enable=True)
    assert await desired(shop) == {"db": Desired.RUNNING, "app": Desired.RUNNING}


async def test_frozen_one_keeps_all_from_being_started_or_stopped(shop: Cluster) -> None:
    await freeze(shop.client, "app", reason="hands off")
    with pytest.raises(RefusedByCluster, match="frozen"):
        await set_desired(shop.client, "shop", Desired.RUNNING)
    assert await desired(shop) == {"db": Desired.STOPPED, "app": Desired.STOPPED}


async def test_how_a_service_is_in_one_word(shop: Cluster) -> None:
    async def state() -> tuple[ServiceState, str | None]:
        line = service_line(await shop.client.read(), "shop", wall=shop.client.clock.wall())
        return line.state, line.node

    assert await state() == (ServiceState.STOPPED, None)
    await set_desired(shop.client, "shop", Desired.RUNNING)
    assert await state() == (ServiceState.WAITING, None)
    shop.run("db", "h1")
    assert await state() == (ServiceState.PARTLY, "h1")
    shop.run("app", "h1")
    assert await state() == (ServiceState.RUNNING, "h1")
    shop.delete(shop.keys.observation(NodeName("h1"), VmName("app")))
    shop.run("app", "h2")
    assert await state() == (ServiceState.APART, "h1")
    snapshot = await shop.client.read()
    shown = overview(snapshot, cluster="test", wall=shop.client.clock.wall())
    assert "the vms of service shop are being brought together: db on h1, app on h2" in shown.warnings
    line = service_line(snapshot, "shop", wall=shop.client.clock.wall())
    assert service_in_words(line) == "service shop is apart: db is running on h1, app is running on h2"
    told = sentences(why(snapshot, "app", wall=shop.client.clock.wall()))
    assert "It is in service shop (db, app); db leads it, on h1." in told


async def test_service_goes_out_by_export_and_comes_in_by_apply(shop: Cluster) -> None:
    document = yaml.safe_load(export(await shop.client.read()))
    assert document["services"] == [{"name": "shop", "members": ["db", "app"]}]
    document["services"] = [{"name": "shop", "members": ["app", "db"], "recovery": "relocate"}]
    await apply(shop, yaml.safe_dump(document))
    assert find_service(await shop.client.read(), "shop").members == ("app", "db")
    await apply(shop, "services: []\n", prune=True)
    assert (await shop.client.read()).services == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: [{name: shop, members: [db, ap]}]", "services.*members: there is no vm 'ap'"),
        ("services: [{name: new, members: [db]}]", "db is in service shop"),
        ("services: [{name: shop, members: [db], failover_domain: hom}]", "no such failover domain"),
        ("services: [{name: shop, members: [db], recovery: disable}]", "recovery"),
        ("services: [{name: shop, members: [db], memers: 3}]", "memers"),
    ],
)
async def test_what_does_not_fit_in_a_document_is_named(shop: Cluster, text: str, words: str) -> None:
    before = shop.contents()
    with pytest.raises(Rejected, match=words):
        await apply(shop, text)
    assert shop.contents() == before


async def test_service_of_as_many_vms_as_are_accepted_is_started_stopped_and_frozen_as_one(cluster: Cluster) -> None:
    names = tuple(f"vm{number}" for number in range(MOST_MEMBERS + 1))
    for name in names:
        await vms.add_vm(cluster.client, name, xml_of(name))
    with pytest.raises(Rejected, match=r"51 vms \(accepted: at most 50"):
        await put_service(cluster.client, Service(name="big", members=names))
    await put_service(cluster.client, Service(name="big", members=names[1:]))
    for wanted in (Desired.RUNNING, Desired.STOPPED, Desired.DISABLED):
        await set_desired(cluster.client, "big", wanted)
    await freeze_service(cluster.client, "big")
    assert len(await unfreeze_service(cluster.client, "big")) == MOST_MEMBERS
