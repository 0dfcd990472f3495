"""What of N+1 is news: an answer that is another one than the last that was told."""

from dataclasses import replace

from tests.support.clusters import cluster
from vmha.model.ids import LeaseId, NodeName, Revision, VmName
from vmha.model.records import Stored
from vmha.policy.state.snapshot import Snapshot
from vmha.policy.state.steps import Waiting
from vmha.policy.telling.survival import Loss, Survival
from vmha.policy.telling.survival_news import COSTS, SURVIVED, News, is_same, news_of

YES = Survival(running=3)
UNKNOWN = Survival(running=3, unknown=(NodeName("n1"),))
READING = cluster("n1", "n2").snapshot()


def no(*vms: str, on: str = "n1") -> Survival:
    waiting = tuple(Waiting(vm=VmName(vm), text="no room") for vm in vms)
    return Survival(running=3, losses=(Loss(node=NodeName(on), vms=waiting),))


def told(news: News | None) -> Snapshot:
    """As the store reads once that was told."""
    assert news
    stored = Stored(news.record, Revision(7), Revision(7), LeaseId(0)) if news.record else None
    return replace(READING, survival=stored)


def test_cluster_that_survives_has_nothing_to_tell_nor_has_one_that_does_not_know() -> None:
    assert news_of(YES, READING, wall=5.0) is None
    assert news_of(UNKNOWN, READING, wall=5.0) is None
    assert news_of(UNKNOWN, told(news_of(no("db"), READING, wall=5.0)), wall=6.0) is None


def test_loss_that_costs_vms_is_told_once_by_whoever_leads() -> None:
    news = news_of(no("db", "mail"), READING, wall=5.0)
    assert news
    assert (news.kind, news.expected) == (COSTS, 0)
    assert news.text.startswith("would not survive the loss of n1: db, mail would not come back")
    assert news.record
    assert (news.record.vms, news.record.at) == (2, 5.0)
    assert news_of(no("db", "mail"), told(news), wall=9.0) is None


def test_other_vms_are_news_and_another_place_of_the_same_is_not() -> None:
    before = told(news_of(no("db", "mail"), READING, wall=5.0))
    assert news_of(no("db", "mail", on="n2"), before, wall=9.0) is None
    news = news_of(no("db"), before, wall=9.0)
    assert news
    assert (news.kind, news.expected) == (COSTS, 7)


def test_cluster_that_survives_again_tells_it_and_takes_the_record_away() -> None:
    news = news_of(YES, told(news_of(no("db"), READING, wall=5.0)), wall=9.0)
    assert news
    assert (news.kind, news.record, news.expected) == (SURVIVED, None, 7)
    assert news.text == "survives the loss of any one node"
    emptied = news_of(Survival(), told(news_of(no("db"), READING, wall=5.0)), wall=9.0)
    assert emptied
    assert emptied.text == "nothing runs that the loss of a node would cost"


def test_the_same_answer_at_another_time_is_the_same_news() -> None:
    one, later = (news_of(no("db"), READING, wall=wall) for wall in (5.0, 15.0))
    assert is_same(one, later)
    assert is_same(None, None)
    assert not is_same(one, None)
    assert not is_same(one, news_of(no("mail"), READING, wall=15.0))


def test_answer_that_lacks_nodes_is_told_after_a_yes_and_changes_no_other_no() -> None:
    """Which nodes were looked at in time may differ from one look to the next: that is no news."""
    lacking = replace(no("db"), unknown=(NodeName("n2"),))
    news = news_of(lacking, READING, wall=5.0)
    assert news
    assert news.text.endswith("db would not come back (no room); 1 node not looked at (vmha plan --if 'any node lost')")
    assert news_of(replace(no("mail"), unknown=(NodeName("n2"),)), told(news), wall=9.0) is None
    assert news_of(no("mail"), told(news), wall=9.0)
