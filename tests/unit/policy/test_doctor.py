"""Each finding, by the facts that make it; and that the reference page and the code name the same ones."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import KEYS, SETTINGS, Book
from vmha.model.checkup import Barred, CheckupAnswer, Kept, Unserved
from vmha.model.domain_xml import default_uuid
from vmha.model.fence_answer import FenceAnswer, FenceSays
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import ArmedLevel, SessionRecord
from vmha.model.settings import FenceSecrets, Fencing
from vmha.model.store_health import MemberHealth, StoreHealth
from vmha.model.vm import FenceRole
from vmha.operator.doctor import sentences
from vmha.policy.plan import judge_all
from vmha.policy.telling.doctor import KINDS, Facts, Finding, Heard, Severity, examine
from vmha.store.port import Put

PAGE = Path(__file__).parents[3] / "docs/reference/doctor.md"
N1, N2 = NodeName("n1"), NodeName("n2")
WITH_PASSWORD = "<domain><devices><graphics type='vnc' passwd='hunter2'/></devices></domain>"
WEB_UUID = default_uuid("t", "web")


def member(endpoint: str, **fields: Any) -> MemberHealth:
    return MemberHealth(endpoint=endpoint, version="3.5.30", size_bytes=10_000_000, **fields)


STORE = StoreHealth(members=(member("e1", is_leader=True), member("e2"), member("e3")), member_count=3, least_ttl_s=2)


def said(node: NodeName, *, at: float = 100.0, **fields: Any) -> Heard:
    """At the same instant, reaching the other node."""
    other = N2 if node == N1 else N1
    given = {"reached": (other,), "kind": "kvm", "machines": ("pc-1", "pc-2"), "cpu": "<cpu/>", **fields}
    answer = CheckupAnswer(node=node, session=SessionId(f"s-{node}"), at=at, **given)
    return Heard(answer=answer, asked_at=99.9, heard_at=100.1)


def book() -> Book:
    made = Book().configure()
    for node in (N1, N2):
        made.node(node, armed=ArmedLevel.WATCHDOG)
    return made.elect().running("web", "n1")


def facts(made: Book, store: StoreHealth = STORE, again: Any = None, **answers: Heard) -> Facts:
    snapshot = made.snapshot()
    heard = {N1: said(N1), N2: said(N2)} | {NodeName(name): one for name, one in answers.items()}
    return Facts(
        snapshot=snapshot,
        verdicts=judge_all(snapshot, made.moment()),
        store=store,
        answers=heard,
        again={NodeName(name): said(NodeName(name), **fields).answer for name, fields in (again or {}).items()},
    )


def of_store(**fields: Any) -> Facts:
    return facts(book(), replace(STORE, **fields))


def with_member(**fields: Any) -> Facts:
    return of_store(members=(*STORE.members[:2], replace(STORE.members[2], **fields)))


def kept(**fields: Any) -> Facts:
    given = {"name": "web", "uuid": WEB_UUID, **fields}
    return facts(book(), n2=said(N2, domains=(Kept(**given),)))


def fenced(says: FenceSays, *, code: int | None = None, node: NodeName = N2, **fields: Any) -> Facts:
    answer = FenceAnswer(**{"agent": "fence_x", "role": FenceRole.POWER, "says": says, "code": code, **fields})
    return replace(facts(book()), fence={node: (answer,)})


def unserved(**fields: Any) -> Unserved:
    return Unserved(**{"server": "10.0.0.9:10809", "protocol": "nbd", "why": "refused", "vms": ("web",), **fields})


def fails(words: str) -> Facts:
    return fenced(FenceSays.NOTHING, code=1, words=f"exit code 1: {words} (action status of n2, expected ...)")


def unreadable() -> Book:
    made = book()
    made.txn([], [Put(f"{KEYS.prefix}domains/d", b"{}")])
    return made


def unanswered() -> Facts:
    known = facts(book())
    return replace(known, answers={N1: known.answers[N1]})


def without_leader() -> Book:
    made = book()
    made.delete(KEYS.leader)
    return made


def of_another_etcd() -> Book:
    """As it is restored: what n3 had said is in it, and n3 does not come to it."""
    made = book().node("n3", armed=ArmedLevel.WATCHDOG, store_id="ab1")
    made.delete(KEYS.beat(NodeName("n3")))
    made.delete(KEYS.session(NodeName("n3")))
    return made


def of_two_versions() -> Book:
    made = book()
    record = SessionRecord(node=N2, session=SessionId("s-n2"), since=1.0, version="0.0.9", address="n2")
    made.put(KEYS.session(N2), record)
    return made


@pytest.mark.parametrize(
    ("size", "quota", "is_told"),
    [
        (1_500_000_000, None, True),
        (1_500_000_000, 2 << 30, True),
        (1_500_000_000, 4 << 30, False),
        (3_000_000_000, 4 << 30, True),
        (90_000_000_000, 0, False),
    ],
)
def test_size_of_a_database_is_told_by_how_much_of_its_quota_it_fills(
    size: int, quota: int | None, is_told: bool
) -> None:
    found = examine(with_member(size_bytes=size, quota_bytes=quota))
    assert ("etcd-size" in {one.kind for one in found}) is is_told


MAKES: dict[str, Callable[[], Facts]] = {
    "etcd-member-down": lambda: with_member(trouble="no answer"),
    "etcd-alarm": lambda: of_store(alarms=("NOSPACE",)),
    "etcd-version": lambda: of_store(members=tuple(replace(one, version="3.5.3") for one in STORE.members)),
    "etcd-versions-differ": lambda: with_member(version="3.4.42"),
    "etcd-members": lambda: of_store(members=STORE.members[:2], member_count=2),
    "etcd-endpoints": lambda: of_store(members=STORE.members[:1]),
    "etcd-size": lambda: with_member(size_bytes=1_500_000_000),
    "etcd-quota": lambda: with_member(quota_bytes=500_000_000),
    "etcd-no-compaction": lambda: of_store(long_history=True),
    "etcd-slow-elections": lambda: of_store(least_ttl_s=5),
    "no-leader": lambda: facts(without_leader()),
    "unreadable-key": lambda: facts(unreadable()),
    "node-not-armed": lambda: facts(book().node("n2", armed=ArmedLevel.NONE)),
    "node-without-watchdog": lambda: facts(book().node("n2", armed=ArmedLevel.GUARD)),
    "node-not-fit": lambda: facts(book().node("n2", armed=ArmedLevel.WATCHDOG, eligible=False, why_not="is ill")),
    "node-silent": lambda: facts(book().offline("n3")),
    "node-at-another-etcd": lambda: replace(facts(of_another_etcd()), store_id="cdf"),
    "node-without-answer": unanswered,
    "agents-differ": lambda: facts(of_two_versions()),
    "clock-off": lambda: facts(book(), n2=said(N2, at=103.0)),
    "fence-says-off": lambda: fenced(FenceSays.OFF, code=2),
    "fence-missing": lambda: fenced(FenceSays.MISSING, words="no such program in PATH"),
    "fence-login": lambda: fails("Unable to connect/login to fencing device"),
    "fence-hangs": lambda: fenced(FenceSays.LATE),
    "fence-garbles": lambda: fenced(FenceSays.NOTHING, code=42, words="exit code 42: ~~~"),
    "fence-fails": lambda: fails("Connection timed out"),
    "fence-slow": lambda: fenced(FenceSays.ON, code=0, seconds=10.2),
    "fence-secret-readable": lambda: facts(
        book().node("n2", armed=ArmedLevel.WATCHDOG, spec={"fence": [{"agent": "fence_x", "options": {"passwd": "x"}}]})
    ),
    "fence-secrets-stored": lambda: facts(
        book().configure(SETTINGS.model_copy(update={"fencing": Fencing(secrets=FenceSecrets.STORED)}))
    ),
    "fence-not-asked": lambda: replace(facts(book().node("n2", armed=ArmedLevel.WATCHDOG, fence=True)), fence=None),
    "unreachable": lambda: facts(book(), n2=said(N2, reached=(), unreached={N1: "connection refused"})),
    "way-barred": lambda: facts(
        book(), n2=said(N2, barred=(Barred(to=N1, transport="ssh", vms=("web",), why="not accepted there"),))
    ),
    "ports-shut": lambda: facts(book(), again={N2: {"shut": {N1: "no answer"}}}),
    "qemu-distrusts": lambda: facts(book(), again={N2: {"distrusted": {N1: "certificate has expired"}}}),
    "tls-lets-all-in": lambda: facts(book(), n1=said(N1, by_tls=(N2,)), n2=said(N2, tls_lets_in="no list in its file")),
    "kinds-differ": lambda: facts(book(), n2=said(N2, kind="qemu")),
    "cpu-unfit": lambda: facts(book(), again={N2: {"unfit_cpus": (N1,)}}),
    "machine-missing": lambda: facts(book(), n2=said(N2, lacking={"web": "pc-9"})),
    "machines-differ": lambda: facts(book(), n2=said(N2, machines=("pc-1", "pc-2", "pc-3"))),
    "disk-unseen": lambda: facts(book(), n2=said(N2, unseen={"web": ("/dev/san/web",)})),
    "disk-unserved": lambda: facts(book(), n2=said(N2, unserved=(unserved(),))),
    "disk-server-silent": lambda: facts(book(), n2=said(N2, unserved=(unserved(is_spared=True),))),
    "vm-secret-readable": lambda: facts(book().running("db", "n1", xml=WITH_PASSWORD)),
    "autostart-mark": lambda: kept(runs=True, autostart=True),
    "definition-kept": kept,
    "name-clash": lambda: kept(uuid="0-other"),
    "uuid-clash": lambda: kept(name="copy"),
}


def test_cluster_in_which_all_is_well_has_no_finding() -> None:
    assert examine(facts(book())) == ()


def test_every_kind_has_facts_that_make_it() -> None:
    assert set(MAKES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_facts_make_this_finding_and_no_other(kind: str) -> None:
    found = examine(MAKES[kind]())
    assert {one.kind for one in found} == {kind}, found
    for one in found:
        assert one.severity is KINDS[kind][0]
        assert one.text
        assert one.remedy


def test_running_guest_of_the_cluster_is_no_clash_and_no_left_over() -> None:
    assert examine(kept(runs=True, ours=True)) == ()


def test_host_to_which_nobody_migrates_by_tls_may_let_in_by_it_whom_it_likes() -> None:
    """libvirtd's settings have no list as they are shipped, and most do not listen for TLS."""
    assert examine(facts(book(), n2=said(N2, tls_lets_in="no list in its file"))) == ()
    assert examine(facts(book(), n1=said(N1, by_tls=(N2,)))) == ()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Failed: Unable to obtain correct plug status or plug is not available", "fence-login"),
        ("Failed: No such device", "fence-fails"),
        ("Error: Unable to establish IPMI v2 / RMCP+ session", "fence-login"),
        ("> RAKP 2 HMAC is invalid", "fence-login"),
        ("admin@10.0.0.9: Permission denied (publickey,password).", "fence-login"),
        ("HTTP error 401: Unauthorized", "fence-login"),
        ("Failed: Login timed out", "fence-fails"),
        ("Could not resolve host: bmc-login.example", "fence-fails"),
        ("killed by 1401 bytes", "fence-fails"),
    ],
)
def test_what_a_fence_agent_says_tells_who_is_to_be_asked(words: str, kind: str) -> None:
    assert [one.kind for one in examine(fails(words))] == [kind]


def test_device_that_was_ended_by_a_signal_or_has_no_exit_code_of_the_api_garbles() -> None:
    for code in (-11, 3, 127, 255):
        (found,) = examine(fenced(FenceSays.NOTHING, code=code, words="login failed"))
        assert found.kind == "fence-garbles"


def test_device_that_says_off_of_a_node_that_is_gone_says_what_it_should() -> None:
    assert examine(fenced(FenceSays.OFF, code=2, node=NodeName("n9"))) == ()
    (found,) = examine(fenced(FenceSays.OFF, code=2, role=FenceRole.STORAGE))
    assert found.text == "n2 is alive, and fence_x says that its storage access is off"


def test_device_that_only_tells_whether_it_is_reached_is_fine_when_it_is() -> None:
    assert examine(fenced(FenceSays.READY, code=0)) == ()


def test_clock_within_the_time_that_the_question_took_is_right() -> None:
    slow = replace(said(N2, at=98.0), asked_at=97.0, heard_at=110.0)
    assert examine(facts(book(), n2=slow)) == ()
    behind = examine(facts(book(), n2=said(N2, at=90.0)))
    assert [one.text for one in behind] == ["the clock of n2 is 9.9 s behind the one here"]


def test_errors_come_before_warnings() -> None:
    found: tuple[Finding, ...] = examine(
        facts(book().node("n2", armed=ArmedLevel.GUARD), n2=said(N2, unreached={N1: "refused"}))
    )
    assert [one.severity for one in found] == [Severity.ERROR, Severity.WARNING]


def test_vms_that_a_host_lacks_something_for_are_counted_where_they_are_too_many_to_be_named() -> None:
    found = examine(facts(book(), n2=said(N2, unseen={"web": ("/dev/san/web",)}, more=99)))
    assert [one.text for one in found if "99 more vms" in one.text]


def test_server_of_disks_that_a_node_does_not_reach_is_told_once_with_the_vms_that_need_it() -> None:
    many = unserved(vms=("a", "b", "c", "d"), more=96)
    (found,) = examine(facts(book(), n2=said(N2, unserved=(many,))))
    assert found.text == (
        "n2 may run a, b, c and 97 more, and does not reach the disks at 10.0.0.9:10809 (nbd): refused"
    )
    assert found.about == ("n2", "10.0.0.9:10809", "a", "b", "c", "d")
    texts = [one.text for one in examine(facts(book(), n2=said(N2, unserved=(unserved(),), more_unserved=7)))]
    assert "n2 does not reach 7 more servers of disks, not told one by one" in texts


def test_findings_with_one_remedy_share_it_and_a_long_list_of_them_is_cut_short() -> None:
    made = book()
    for number in range(3, 13):
        made.node(f"n{number}", armed=ArmedLevel.GUARD)
    known = facts(made)
    everybody = {name: said(name) for name in known.snapshot.nodes}
    found = examine(replace(known, answers=everybody))
    assert len(found) == 10
    lines = sentences(found, at_most=5)
    assert len([line for line in lines if line.startswith("warning: n")]) == 5
    assert "warning: ... and 5 more (--all) [node-without-watchdog]" in lines
    assert len([line for line in lines if line.startswith("  -> ")]) == 1
    assert lines[-1] == "0 errors, 10 warnings."
    assert len(sentences(found)) == 12
    assert sentences(found[:1])[-1] == "0 errors, 1 warning."


def test_the_reference_page_names_every_finding_with_its_severity_and_remedy() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|[^|]*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    known = [(kind, str(severity), remedy) for kind, (severity, remedy) in KINDS.items()]
    assert rows == known
