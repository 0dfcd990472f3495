"""Exclusive vms and needs as an operator gives them: what is refused, in which words, and what is shown."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from tests.unit.operator.test_apply import apply
from vmha.cli.relations import relations
from vmha.model.errors import Rejected
from vmha.model.ids import VmName
from vmha.model.relations import Dependency, Need
from vmha.model.vm import Desired
from vmha.operator import vms
from vmha.operator.document import load_document
from vmha.operator.errors import UnknownName
from vmha.operator.export import export
from vmha.operator.overview import overview
from vmha.operator.why import sentences, why


async def add(cluster: Cluster, name: str, *needs: str, **fields: Any) -> None:
    await vms.add_vm(cluster.client, name, xml_of(name), depends_on=needs, **fields)


async def test_a_vm_needs_only_vms_that_there_are(cluster: Cluster) -> None:
    await add(cluster, "database")
    before = cluster.contents()
    with pytest.raises(UnknownName, match="there is no vm 'databse': did you mean database"):
        await add(cluster, "app", "databse")
    with pytest.raises(UnknownName, match="there is no vm 'nothing'"):
        await vms.edit(cluster.client, "database", depends_on=["nothing"])
    assert cluster.contents() == before


async def test_a_circle_is_refused_and_named(cluster: Cluster) -> None:
    await add(cluster, "db")
    await add(cluster, "app", "db")
    await add(cluster, "front", "app")
    before = cluster.contents()
    with pytest.raises(Rejected, match="db -> front -> app -> db"):
        await vms.edit(cluster.client, "db", depends_on=["front"])
    with pytest.raises(Rejected, match="db -> db"):
        await vms.edit(cluster.client, "db", depends_on=["db"])
    assert cluster.contents() == before


async def test_two_who_close_a_circle_at_the_same_time_do_not(cluster: Cluster) -> None:
    """The second write compares what it was decided upon, reads again, and finds the circle."""
    await add(cluster, "a")
    await add(cluster, "b")
    other, read = cluster.new_client("other"), cluster.client.reading
    raced: list[bool] = []

    async def reading(**given: Any) -> Any:
        found = await read(**given)
        if not raced:
            raced.append(True)
            await vms.edit(other, "b", depends_on=["a"])
        return found

    cluster.client.reading = reading  # type: ignore[method-assign]
    with pytest.raises(Rejected, match="in a circle"):
        await vms.edit(cluster.client, "a", depends_on=["b"])


DOCUMENT = """\
vms:
  - name: db
    exclusive: true
    xml: <domain><name>db</name><memory unit='MiB'>64</memory></domain>
  - name: app
    depends_on: [db, {vm: cache, mode: soft, start_delay_s: 5}]
    xml: <domain><name>app</name><memory unit='MiB'>64</memory></domain>
  - name: cache
    xml: <domain><name>cache</name><memory unit='MiB'>64</memory></domain>
"""


async def test_a_document_gives_needs_by_name_or_in_full(cluster: Cluster) -> None:
    await apply(cluster, DOCUMENT)
    snapshot = await cluster.client.read()
    app, db = (snapshot.vms[VmName(name)].spec for name in ("app", "db"))
    assert app is not None
    assert db is not None
    needs = (Dependency(vm="db"), Dependency(vm="cache", mode=Need.SOFT, start_delay_s=5.0))
    assert (app.value.depends_on, db.value.exclusive) == (needs, 1)
    assert (await apply(cluster, export(snapshot))).is_empty


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[db,", "[dbx,"), ["c.yaml:6: vms[app].depends_on[0]", "'dbx': there is no such vm", "app, cache, db"]),
        (("[db,", "[cache,"), ["vms[app].depends_on", "cache: named twice"]),
        (("mode: soft", "mode: firm"), ["c.yaml:6", "'firm'", "'hard' or 'soft'"]),
        (("exclusive: true", "exclusive: -1"), ["c.yaml:3: vms[db].exclusive", "-1"]),
        (("exclusive: true", "depends_on: [app]"), ["vms[db].depends_on[0]", "db -> app -> db"]),
        (("{vm: cache,", "{vn: cache,"), ["depends_on[1].vn: unknown key", "vm, mode, start_delay_s"]),
    ],
)
async def test_what_is_wrong_in_a_document_is_told_with_its_place(
    cluster: Cluster, change: tuple[str, str], said: list[str]
) -> None:
    before = cluster.contents()
    with pytest.raises(Rejected) as refused:
        await apply(cluster, DOCUMENT.replace(*change))
    for words in said:
        assert words in str(refused.value)
    assert cluster.contents() == before


def test_needs_are_read_from_a_command_line() -> None:
    given = relations(True, None, ["db", "cache:soft", "mq:hard+30"])
    soft, hard = {"vm": "cache", "mode": "soft"}, {"vm": "mq", "mode": "hard", "start_delay_s": "30"}
    assert given == {"exclusive": 1, "depends_on": [{"vm": "db"}, soft, hard]}
    assert relations(None, None, [""]) == {"depends_on": []}
    assert relations(False, None, None) == {"exclusive": 0}
    assert relations(None, 3, None) == {"exclusive": 3}
    assert relations(None, None, None) == {}
    with pytest.raises(Rejected, match="exclude each other"):
        relations(False, 2, None)
    with pytest.raises(Rejected, match="names no vm"):
        relations(None, None, ["db", ""])


async def test_why_tells_the_start_order_and_what_is_waited_for(cluster: Cluster) -> None:
    cluster.join("h1")
    cluster.elect()
    await add(cluster, "db", start=True)
    await add(cluster, "app", "db", start=True)
    await add(cluster, "front", "app", exclusive=2, start=True)
    told = why(await cluster.client.read(), "front", wall=2.0)
    lines = sentences(told)
    assert "It needs app (hard), which is not ready." in lines
    assert "Start order: db, app, front." in lines
    assert "It is exclusive, with rank 2." in lines
    assert "app, which it needs, is not ready" in told.waiting
    cluster.run("db", "h1")
    assert "It is needed by app: stopped with it, started after it." in sentences(
        why(await cluster.client.read(), "db", wall=2.0)
    )


async def test_status_warns_of_company_that_an_exclusive_vm_has(cluster: Cluster) -> None:
    cluster.join("h1")
    cluster.elect()
    await add(cluster, "gpu", exclusive=1, desired=Desired.RUNNING)
    await add(cluster, "web", desired=Desired.RUNNING)
    cluster.run("gpu", "h1")
    cluster.run("web", "h1")
    shown = overview(await cluster.client.read(), cluster="test", wall=2.0)
    assert "vm gpu is exclusive, and shares h1 with web" in shown.warnings


def test_a_document_of_before_there_were_needs_is_read_as_it_was() -> None:
    text = "vms: [{name: a, xml: <domain><name>a</name></domain>}]"
    (entry,) = load_document(text, file="c.yaml", base=Path()).document.vms or ()
    assert (entry.exclusive, entry.depends_on) == (0, ())  # type: ignore[attr-defined]
