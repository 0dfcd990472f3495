"""Each finding, by the facts that make it; and that the reference page and the code name the same ones."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.clusters import KEYS, Book
from vmha.model.checkup import CheckupAnswer, Kept
from vmha.model.domain_xml import default_uuid
from vmha.model.ids import NodeName, SessionId
from vmha.model.records import ArmedLevel, SessionRecord
from vmha.model.store_health import MemberHealth, StoreHealth
from vmha.policy.doctor import KINDS, Facts, Finding, Heard, Severity, examine
from vmha.policy.plan import judge_all
from vmha.store.port import Put

PAGE = Path(__file__).parents[3] / "docs/reference/doctor.md"
N1, N2 = NodeName("n1"), NodeName("n2")
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


def facts(made: Book, store: StoreHealth = STORE, unfit: Any = None, **answers: Heard) -> Facts:
    snapshot = made.snapshot()
    heard = {N1: said(N1), N2: said(N2)} | {NodeName(name): one for name, one in answers.items()}
    return Facts(
        snapshot=snapshot,
        verdicts=judge_all(snapshot, made.moment()),
        store=store,
        answers=heard,
        unfit_cpus=unfit or {},
    )


def of_store(**fields: Any) -> Facts:
    return facts(book(), replace(STORE, **fields))


def with_member(**fields: Any) -> Facts:
    return of_store(members=(*STORE.members[:2], replace(STORE.members[2], **fields)))


def kept(**fields: Any) -> Facts:
    given = {"name": "web", "uuid": WEB_UUID, **fields}
    return facts(book(), n2=said(N2, domains=(Kept(**given),)))


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


def of_two_versions() -> Book:
    made = book()
    record = SessionRecord(node=N2, session=SessionId("s-n2"), since=1.0, version="0.0.9", address="n2")
    made.put(KEYS.session(N2), record)
    return made


MAKES: dict[str, Callable[[], Facts]] = {
    "etcd-member-down": lambda: with_member(trouble="no answer"),
    "etcd-alarm": lambda: of_store(alarms=("NOSPACE",)),
    "etcd-version": lambda: of_store(members=tuple(replace(one, version="3.5.3") for one in STORE.members)),
    "etcd-versions-differ": lambda: with_member(version="3.4.42"),
    "etcd-members": lambda: of_store(members=STORE.members[:2], member_count=2),
    "etcd-endpoints": lambda: of_store(members=STORE.members[:1]),
    "etcd-size": lambda: with_member(size_bytes=1_500_000_000),
    "etcd-no-compaction": lambda: of_store(long_history=True),
    "etcd-slow-elections": lambda: of_store(least_ttl_s=5),
    "no-leader": lambda: facts(without_leader()),
    "unreadable-key": lambda: facts(unreadable()),
    "node-not-armed": lambda: facts(book().node("n2", armed=ArmedLevel.NONE)),
    "node-without-watchdog": lambda: facts(book().node("n2", armed=ArmedLevel.GUARD)),
    "node-not-fit": lambda: facts(book().node("n2", armed=ArmedLevel.WATCHDOG, eligible=False, why_not="is ill")),
    "node-silent": lambda: facts(book().offline("n3")),
    "node-without-answer": unanswered,
    "agents-differ": lambda: facts(of_two_versions()),
    "clock-off": lambda: facts(book(), n2=said(N2, at=103.0)),
    "unreachable": lambda: facts(book(), n2=said(N2, reached=(), unreached={N1: "connection refused"})),
    "kinds-differ": lambda: facts(book(), n2=said(N2, kind="qemu")),
    "cpu-unfit": lambda: facts(book(), unfit={N2: (N1,)}),
    "machine-missing": lambda: facts(book(), n2=said(N2, lacking={"web": "pc-9"})),
    "machines-differ": lambda: facts(book(), n2=said(N2, machines=("pc-1", "pc-2", "pc-3"))),
    "disk-unseen": lambda: facts(book(), n2=said(N2, unseen={"web": ("/dev/san/web",)})),
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


def test_the_reference_page_names_every_finding_with_its_severity_and_remedy() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (error|warning) \|[^|]*\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    known = [(kind, str(severity), remedy) for kind, (severity, remedy) in KINDS.items()]
    assert rows == known
