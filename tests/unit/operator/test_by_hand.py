"""What operators do is in the journal: who, why, until when; written with the change, and not without one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.clock import SystemClock
from vmha.model.errors import Rejected
from vmha.model.holds import PauseMode
from vmha.model.ids import Epoch, NodeName, VmName
from vmha.model.keys import decode, encode
from vmha.model.records import Hand, JournalEntry, Phase, Reason, RunEnd, Verb
from vmha.model.restart import RestartKind
from vmha.model.service import Service
from vmha.model.vm import Desired, FailoverDomain, FenceDeviceSpec, MigrationStyle, NodeSpec
from vmha.operator import domains, holds, nodes, service_verbs, services, vms
from vmha.operator.apply import commit, prepare
from vmha.operator.backup import back_up, restore
from vmha.operator.backup import prepare as prepare_restore
from vmha.operator.client import OperatorClient
from vmha.operator.document import load_document
from vmha.operator.errors import UnknownName
from vmha.operator.events import Wanted, past
from vmha.operator.requests import submit
from vmha.operator.story import sentences, story
from vmha.store.port import Put

WEB = VmName("web")


async def entries(cluster: Cluster, **about: str) -> list[JournalEntry]:
    found, _ = await past(cluster.client, Wanted(**about))
    return found


async def told(cluster: Cluster, **about: str) -> list[tuple[str, str]]:
    return [(entry.kind, entry.text) for entry in await entries(cluster, **about)]


@pytest.fixture
async def running(cluster: Cluster) -> Cluster:
    cluster.join("h1", "h2")
    cluster.elect()
    await vms.add_vm(cluster.client, "web", xml_of("web"), start=True)
    cluster.run("web", "h1")
    return cluster


async def test_freeze_and_its_end_say_who_why_and_until_when(running: Cluster) -> None:
    await holds.freeze(running.client, "web", reason="disk swap", for_s=7200.0)
    await holds.unfreeze(running.new_client("bob"), "web")
    begun, ended = (await entries(running, vm="web"))[-2:]
    assert (begun.kind, begun.text) == ("frozen", "frozen by operator for 2h: disk swap")
    assert begun.hand is not None
    assert (begun.hand.author, begun.hand.why) == ("operator", "disk swap")
    assert abs(begun.hand.until - begun.at - 7200.0) < 60.0
    assert (ended.kind, ended.text) == ("unfrozen", "unfrozen by bob; it was frozen by operator for 2h: disk swap")
    assert ended.hand == Hand(author="bob")
    assert begun.cause == ended.cause != ""


async def test_freeze_over_a_freeze_says_whose_it_was(running: Cluster) -> None:
    await holds.freeze(running.client, "web", reason="disk swap")
    await holds.freeze(running.new_client("bob"), "web")
    assert (await told(running))[-1] == ("frozen", "frozen by bob; before that it was frozen by operator: disk swap")


async def test_end_of_a_freeze_has_the_cause_of_what_waited_for_it(running: Cluster) -> None:
    await holds.freeze(running.client, "web")
    reason = Reason(rule="it-is-frozen", text="it is frozen by operator")
    fields = {"epoch": Epoch(4), "phase": Phase.STOPPED, "ended": RunEnd.CRASHED, "reason": reason}
    running.place("web", None, **fields)
    await holds.unfreeze(running.client, "web")
    assert (await entries(running))[-1].cause == "crashed-web-4"


@pytest.mark.parametrize(
    ("mode", "begun", "ended"),
    [
        (PauseMode.ALL, "the cluster is paused", "the cluster was paused"),
        (PauseMode.STARTS, "starts are paused in the whole cluster", "starts were paused in the whole cluster"),
    ],
)
async def test_pause_and_resume_are_told(running: Cluster, mode: PauseMode, begun: str, ended: str) -> None:
    await holds.pause(running.client, mode, reason="new switches", for_s=5400.0)
    await holds.resume(running.new_client("bob"))
    assert (await told(running))[-2:] == [
        ("cluster-paused", f"{begun} by operator for 1h30m: new switches"),
        ("cluster-resumed", f"resumed by bob; {ended} by operator for 1h30m: new switches"),
    ]
    first, second = (await entries(running))[-2:]
    assert first.cause == second.cause != ""


async def test_drain_and_undrain_are_told_of_the_node(running: Cluster) -> None:
    await nodes.drain(running.client, "h1", why="new memory")
    await nodes.undrain(running.new_client("bob"), "h1")
    assert await told(running, node="h1") == [
        ("drain", "drained by operator: new memory"),
        ("undrain", "undrained by bob; it was drained by operator: new memory"),
    ]
    drained, _ = await entries(running, node="h1")
    assert (drained.cause, drained.hand) == ("drain-h1", Hand(author="operator", why="new memory"))


async def apply(cluster: Cluster, text: str, *, prune: bool = False, by: str = "ann") -> None:
    client = cluster.new_client(by)
    await commit(client, await prepare(client, load_document(text, file="c.yaml", base=Path()), prune=prune))


async def test_drain_by_a_document_is_told_as_well(running: Cluster) -> None:
    for says in ("maintenance: true, maintenance_why: new memory", "maintenance: false", "labels: {rack: r1}"):
        await apply(running, f"nodes: [{{name: h1, {says}}}]")
    assert [one for one in await told(running, node="h1") if one[0] != "added"] == [
        ("drain", "drained by ann: new memory"),
        ("undrain", "undrained by ann; it was drained: new memory"),
        ("changed", "node h1 is changed by a document that ann applied: labels"),
    ]


XML = "<domain><name>{}</name><memory unit='MiB'>64</memory></domain>"


async def test_each_thing_that_a_document_creates_changes_and_removes_has_an_entry_with_it(running: Cluster) -> None:
    """The transaction's own, so that none is there without what it tells of."""
    db = f"{{name: db, desired: running, xml: {XML.format('db')!r}}}"
    await apply(
        running,
        f"nodes: [{{name: h1, labels: {{rack: hush}}}}]\nfailover_domains: [{{name: home, members: [{{node: h1}}]}}]\n"
        f"vms: [{db}, {{name: mail, xml: {XML.format('mail')!r}}}]\n"
        "services: [{name: shop, members: [db, mail]}]\nrules: [{name: r1, vms: [db], on: {rack: hush}}]\n",
    )
    by = "by a document that ann applied"
    assert await told(running, vm="db") == [("added", f"vm db is added {by}, and wanted running")]
    assert await told(running, vm="mail") == [("added", f"vm mail is added {by}")]
    assert (await entries(running, vm="db"))[0].cause == "assign-db-1"
    assert await told(running, node="h1") == [("added", f"node h1 is added {by}")]
    for what in ("failover domain home", "service shop", "rule r1"):
        assert ("added", f"{what} is added {by}") in await told(running)
    (entry,) = [kv for kv in running.etcd.list(running.keys.journal("")).items if b"vm mail is added" in kv.value]
    spec = running.etcd.get(running.keys.vm_spec(VmName("mail")))
    assert spec is not None
    assert spec.mod_revision == entry.mod_revision
    await apply(
        running,
        f"config: {{profile: tuned}}\nvms: [{{name: db, desired: stopped, priority: 7, xml: {XML.format('db')!r}}}]\n"
        "services: []\nrules: []\nfailover_domains: []\n",
        prune=True,
        by="bob",
    )
    by = "by a document that bob applied"
    assert (await told(running, vm="db"))[1:] == [
        ("changed", f"vm db is changed {by}: priority"),
        ("wanted", "wanted stopped: stopped by a document that bob applied"),
    ]
    assert (await told(running, vm="web"))[-1] == (
        "removed",
        f"vm web is removed {by}; its guest, if there is one, is left as it is",
    )
    for said in ("config is changed {}: profile", "service shop is removed {}", "rule r1 is removed {}"):
        assert said.format(by) in [text for _, text in await told(running)]
    assert {entry.hand and entry.hand.author for entry in await entries(running) if by in entry.text} == {"bob"}
    assert not any(b"hush" in kv.value for kv in running.etcd.list(running.keys.journal("")).items)


async def test_document_of_a_thousand_vms_is_applied_and_told_of_each(cluster: Cluster) -> None:
    names = [f"v{number:04d}" for number in range(1000)]
    text = "".join(f"  - {{name: {name}, desired: running, xml: {XML.format(name)!r}}}\n" for name in names)
    await apply(cluster, f"vms:\n{text}")
    found = [entry for entry in await entries(cluster) if entry.kind == "added"]
    assert sorted(entry.vm or "" for entry in found) == names
    begun = [text for _, text in sentences(await story(cluster.client, "v0999"), lambda at: "noon")]
    assert begun == ["vm v0999 is added by a document that ann applied, and wanted running"]
    await apply(cluster, "vms: []", prune=True)
    assert len([entry for entry in await entries(cluster) if entry.kind == "removed"]) == 1000


async def test_each_thing_that_a_backup_puts_back_has_an_entry(running: Cluster) -> None:
    await nodes.label(running.client, "h1", {"rack": "r1"})
    for number in range(130):
        await vms.add_vm(running.client, f"v{number:03d}", xml_of(f"v{number:03d}"))
    await holds.freeze(running.client, "v000", reason="disk swap", for_s=7200.0)
    held = await back_up(running.client)
    running.delete(running.keys.vm_spec(VmName("v129")))
    running.delete(running.keys.freeze(VmName("v000")))
    await vms.edit(running.client, "web", priority=9)
    ann = running.new_client("ann")
    await restore(ann, await prepare_restore(ann, held, file="b", force=True))
    by = "by a backup that ann put back"
    assert (await told(running, vm="v129"))[-1] == ("added", f"vm v129 is added {by}")
    assert (await told(running, vm="web"))[-1] == ("changed", f"vm web is changed {by}: priority")
    (frozen,) = [entry for entry in await entries(running, vm="v000") if f"frozen, {by}" in entry.text]
    assert frozen.text == f"frozen, {by}, as it was by operator for 2h: disk swap"
    assert frozen.hand is not None
    assert (frozen.hand.author, frozen.hand.why, frozen.hand.until > frozen.at) == ("ann", "disk swap", True)
    empty = Cluster()
    bob = empty.new_client("bob")
    await restore(bob, await prepare_restore(bob, held, file="b"))
    found = [
        entry.vm for entry in await entries(empty) if entry.text.endswith("is added by a backup that bob put back")
    ]
    assert len([vm for vm in found if vm]) == 131


async def test_backup_with_a_password_is_put_back_and_says_who_can_read_it(running: Cluster) -> None:
    device = FenceDeviceSpec(agent="fence_x", options={"password": "hunter2"})
    running.put(running.keys.node_spec(NodeName("h1")), NodeSpec(name="h1", fence=(device,)))
    held = await back_up(running.client)
    empty = Cluster()
    plan = await prepare_restore(empty.client, held, file="b")
    assert plan.warnings == ("fence_x of h1: password can be read by everybody who reads the cluster",)
    await restore(empty.client, plan)
    spec = (await empty.client.read()).nodes[NodeName("h1")].spec
    assert spec is not None
    assert spec.value.fence == (device,), "it goes on being fenced"
    assert (await prepare_restore(empty.client, held, file="b")).warnings == ()


async def test_failover_domain_that_comes_with_a_vm_is_told(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db"), node_preference=("h2", "h1"))
    assert ("added", "failover domain db is added by operator") in await told(running)


async def test_service_that_is_frozen_is_told_of_each_of_its_vms(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db"))
    await services.put_service(running.client, Service(name="shop", members=("db", "web")))
    await service_verbs.freeze(running.client, "shop", reason="audit")
    await service_verbs.unfreeze(running.client, "shop")
    for vm in ("db", "web"):
        assert (await told(running, vm=vm))[-2:] == [
            ("frozen", "frozen by operator: audit"),
            ("unfrozen", "unfrozen by operator; it was frozen by operator: audit"),
        ]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda client: submit(client, Verb.MIGRATE, vm="web", node="h2"), "migrate to h2"),
        (lambda client: submit(client, Verb.MIGRATE, vm="web", style=MigrationStyle.PAUSE), "migrate (pause)"),
        (lambda client: submit(client, Verb.RESTART, vm="web", kind=RestartKind.RESET), "restart (reset)"),
        (lambda client: submit(client, Verb.RELOCATE, vm="web"), "relocate"),
    ],
)
async def test_what_is_asked_for_is_told_with_the_cause_of_its_request(
    running: Cluster, ask: Callable[[OperatorClient], Awaitable[object]], said: str
) -> None:
    await ask(running.client)
    (request,) = (await running.client.read()).requests
    newest = (await entries(running, vm="web"))[-1]
    assert (newest.kind, newest.text) == ("asked", f"operator asks for: {said}")
    assert (newest.cause, newest.hand) == (f"request-{request}", Hand(author="operator"))


async def say(client: OperatorClient, verb: str, why: str) -> None:
    match verb:
        case "start":
            await vms.set_desired(client, "off", Desired.RUNNING, why=why)
        case "stop":
            await vms.set_desired(client, "web", Desired.STOPPED, why=why)
        case "enable":
            await vms.enable(client, "off", why=why)
        case "migrate":
            await submit(client, Verb.MIGRATE, vm="web", node="h2", why=why)
        case "restart":
            await submit(client, Verb.RESTART, vm="web", why=why)
        case "relocate":
            await submit(client, Verb.RELOCATE, vm="web", node="h2", why=why)
        case "freeze":
            await holds.freeze(client, "web", reason=why)
        case "pause":
            await holds.pause(client, PauseMode.ALL, reason=why)
        case _:
            await nodes.drain(client, "h1", why=why)


VERBS = ("start", "stop", "enable", "migrate", "restart", "relocate", "freeze", "pause", "drain")


@pytest.mark.parametrize("verb", VERBS)
async def test_what_somebody_does_is_told_with_his_own_words_for_it(running: Cluster, verb: str) -> None:
    await vms.add_vm(running.client, "off", xml_of("off"))
    await say(running.new_client("ann"), verb, "  disk\n swap ")
    newest = (await entries(running))[-1]
    assert newest.hand == Hand(author="ann", why="disk swap")
    assert newest.text.endswith(": disk swap")
    if newest.vm:
        last = [text for _, text in sentences(await story(running.client, newest.vm), lambda at: "noon")][-1]
        assert last.endswith(": disk swap")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("why", "said"), [("x" * 201, "201 characters"), ("\udcff", "it is no text")])
async def test_words_that_are_none_or_too_long_are_refused_and_nothing_is_done(
    running: Cluster, verb: str, why: str, said: str
) -> None:
    await vms.add_vm(running.client, "off", xml_of("off"))
    before = running.contents()
    with pytest.raises(Rejected, match=f"reason: .*{said}"):
        await say(running.client, verb, why)
    assert running.contents() == before


async def test_why_a_vm_is_wanted_so_is_kept_with_who_wanted_it(running: Cluster) -> None:
    spec = await vms.set_desired(running.new_client("ann"), "web", Desired.STOPPED, why="disk swap")
    assert spec.desired_why == "stopped by ann: disk swap"


async def test_word_that_a_node_is_off_is_told_with_the_loss_of_its_session(running: Cluster) -> None:
    await nodes.confirm_off(running.client, "h1")
    newest = (await entries(running, node="h1"))[-1]
    assert (newest.text, newest.cause) == ("operator asks for: confirm-off", "lost-h1-s-h1")


async def test_what_is_so_already_is_not_told_and_takes_no_lease(running: Cluster) -> None:
    await nodes.drain(running.client, "h2")
    before, leases = running.contents(), len(running.etcd.back_up().leases)
    await nodes.drain(running.client, "h2", why="once more")
    await holds.unfreeze(running.client, "web")
    await holds.resume(running.client)
    await nodes.undrain(running.client, "h1")
    with pytest.raises(UnknownName):
        await holds.freeze(running.client, "wbe")
    with pytest.raises(Rejected):
        await holds.freeze(running.client, "web", for_s=-1.0)
    assert (running.contents(), len(running.etcd.back_up().leases)) == (before, leases)


async def test_entry_is_written_in_the_transaction_of_the_change_and_expires(running: Cluster) -> None:
    await holds.freeze(running.client, "web")
    (entry,) = running.etcd.list(running.keys.journal("")).items[-1:]
    frozen = running.etcd.get(running.keys.freeze(WEB))
    assert frozen is not None
    assert entry.mod_revision == frozen.mod_revision
    assert running.etcd.back_up().leases[entry.lease] >= 7 * 86400


async def test_entry_of_a_change_whose_answer_was_lost_is_there_once(running: Cluster) -> None:
    running.etcd.lose_answer("operator", done=True)
    await holds.freeze(running.client, "web")
    assert [kind for kind, _ in await told(running, vm="web")].count("frozen") == 1


async def test_lease_that_the_store_does_not_know_any_more_keeps_nobody_from_acting(running: Cluster) -> None:
    await holds.freeze(running.client, "web")
    running.etcd.revoke(running.etcd.list(running.keys.journal("")).items[-1].lease)
    assert await holds.unfreeze(running.client, "web") is not None
    assert [kind for kind, _ in await told(running)] == ["unfrozen"]


class Still(SystemClock):
    def wall(self) -> float:
        return 1_790_000_000.0


async def test_two_operators_at_the_same_instant_overwrite_nothing_of_each_other(running: Cluster) -> None:
    clients = [OperatorClient(running.client.store, running.keys, Still(), author=name) for name in ("ann", "bob")]
    for client, node in zip(clients, ("h1", "h2"), strict=True):
        await nodes.drain(client, node)
    assert [text for kind, text in await told(running) if kind == "drain"] == ["drained by ann", "drained by bob"]


async def test_story_of_a_vm_tells_of_its_freeze_and_until_when(running: Cluster) -> None:
    await holds.freeze(running.client, "web", reason="disk swap", for_s=7200.0)
    await holds.unfreeze(running.client, "web")
    lines = [text for _, text in sentences(await story(running.client, "web"), lambda at: "noon")][-2:]
    assert lines == [
        "it is frozen by operator for 2h: disk swap (until noon)",
        "-> it is unfrozen by operator; it was frozen by operator for 2h: disk swap",
    ]


async def test_events_of_a_name_that_nobody_knows_suggest_the_near_ones(running: Cluster) -> None:
    for about, near in (({"node": "h11"}, "there is no node 'h11': did you mean h1"), ({"vm": "wbe"}, "mean web")):
        with pytest.raises(UnknownName, match=near):
            await entries(running, **about)
    with pytest.raises(UnknownName, match="there is no node 'rack-7': there are h1, h2"):
        await entries(running, node="rack-7")


async def test_events_of_a_node_are_those_about_it_and_those_that_it_told(running: Cluster) -> None:
    running.tell("1", "told by h1")
    assert await told(running, node="h2") == []
    await nodes.drain(running.client, "h2")
    assert await told(running, node="h1") == [("VmStarted", "told by h1")]
    assert await told(running, node="h2") == [("drain", "drained by operator")]


async def test_events_of_what_was_removed_are_still_told(running: Cluster) -> None:
    running.tell("1", "it ran", vm="gone")
    assert await told(running, vm="gone") == [("VmStarted", "it ran")]
    assert await told(running, vm="gone", node="h2") == []


def test_entry_of_a_later_version_is_read_without_what_is_not_known() -> None:
    entry = JournalEntry(id="1", at=1.0, by=NodeName("operator"), kind="blessed", text="x", hand=Hand(author="ann"))
    later = (
        encode(entry).replace(b'"author":"ann"', b'"author":"ann","badge":7').replace(b'"id":', b'"by_whom":[],"id":')
    )
    assert decode(JournalEntry, later, where="journal/1") == entry
    earlier = encode(entry).replace(b',"hand":{"author":"ann","why":"","until":0.0}', b"")
    assert decode(JournalEntry, earlier, where="journal/1") == replace(entry, hand=None)


async def test_how_a_vm_is_wanted_is_told_with_the_cause_of_what_follows(running: Cluster) -> None:
    assert (await told(running, vm="web"))[:2] == [
        ("added", "vm web is added by operator"),
        ("wanted", "wanted running: started by operator"),
    ]
    await vms.set_desired(running.client, "web", Desired.STOPPED)
    await vms.set_desired(running.client, "web", Desired.STOPPED)
    await vms.set_desired(running.new_client("bob"), "web", Desired.DISABLED)
    running.place("web", None, ended=RunEnd.ASKED, epoch=Epoch(1))
    await vms.enable(running.client, "web")
    assert [(entry.text, entry.cause) for entry in (await entries(running, vm="web"))[1:]] == [
        ("wanted running: started by operator", "assign-web-1"),
        ("wanted stopped: stopped by operator", "stop-web-1"),
        ("wanted disabled: disabled by bob", "stop-web-1"),
        ("wanted running: enabled by operator", "assign-web-2"),
    ]


async def test_how_a_service_is_wanted_is_told_of_those_of_its_vms_that_were_not(running: Cluster) -> None:
    await vms.add_vm(running.client, "db", xml_of("db"))
    await services.put_service(running.client, Service(name="shop", members=("db", "web")))
    await services.set_desired(running.client, "shop", Desired.RUNNING)
    assert [entry.vm for entry in await entries(running) if entry.text.startswith("wanted running: service")] == ["db"]


async def test_definitions_are_told_by_the_names_of_their_fields_and_never_by_values(running: Cluster) -> None:
    secret = "<domain type='qemu'><name>web</name><memory unit='MiB'>96</memory><x passwd='hush'/></domain>"
    await vms.edit(running.client, "web", xml=secret, priority=7)
    await nodes.label(running.client, "h1", {"rack": "hush"})
    await domains.add_domain(
        running.client, FailoverDomain.model_validate({"name": "home", "members": [{"node": "h1"}]})
    )
    await domains.remove_domain(running.client, "home")
    await vms.remove_vm(running.client, "web")
    texts = [text for kind, text in await told(running) if kind in ("added", "changed", "removed")][1:]
    assert texts == [
        "vm web is changed by operator: xml, priority, memory_mib",
        "node h1 is changed by operator: labels",
        "failover domain home is added by operator",
        "failover domain home is removed by operator",
        "vm web is removed by operator; its guest, if there is one, is left as it is",
    ]
    assert not any(b"hush" in kv.value for kv in running.etcd.list(running.keys.journal("")).items)


async def test_document_is_told_as_a_whole_and_of_vms_that_are_wanted_otherwise(running: Cluster) -> None:
    names = [f"vm{number:02d}" for number in range(25)]
    text = "config: {profile: tuned}\nvms:\n"
    text += "".join(f"  - {{name: {name}, xml: {XML.format(name)!r}}}\n" for name in names)
    text += f"  - {{name: web, desired: stopped, xml: {XML.format('web')!r}}}\n"
    await commit(running.client, await prepare(running.client, load_document(text, file="c.yaml", base=Path())))
    newest = await entries(running)
    (document,) = [entry.text for entry in newest if entry.kind == "applied"]
    assert document.startswith("a document is applied by operator: changed config, vm web; created vm vm00, vm vm01")
    assert document.endswith("vm vm19 and 5 more") or "and 5 more" in document
    said = [(entry.vm, entry.text) for entry in newest if entry.kind == "wanted"][-1]
    assert said == ("web", "wanted stopped: stopped by a document that operator applied")


async def test_document_that_changes_nothing_is_not_told(running: Cluster) -> None:
    loaded = load_document("config: {profile: default}", file="c.yaml", base=Path())
    before = running.contents()
    await commit(running.client, await prepare(running.client, loaded))
    assert running.contents() == before


@pytest.mark.parametrize("date", ["at", "since", "until"])
async def test_entry_of_a_date_that_nobody_can_show_is_passed_over(running: Cluster, date: str) -> None:
    """Put by a hand, it would end whoever shows the journal."""
    known = await entries(running)
    hand = Hand(author="x", until=1e300 if date == "until" else 0.0)
    dates = {} if date == "until" else {date: -1e300}
    bad = replace(known[0], id="bad", hand=hand, **dates)
    await running.client.store.txn([], [Put(running.keys.journal("bad"), encode(bad))])
    assert await entries(running) == known
