"""The book of silences: beats and promises begin the count anew, seeing the same beat again does not."""

from vmha.model.ids import NodeName, Revision
from vmha.policy.members.silence import SilenceBook

N1 = NodeName("n1")


def test_promise_counts_as_a_beat() -> None:
    book = SilenceBook()
    book.saw(N1, Revision(5), 10.0)
    assert book.promised(N1, 14.0)
    book.saw(N1, Revision(5), 15.0)  # a new listing shows the old beat
    assert book.silence_s(16.0) == {N1: 2.0}
    book.saw(N1, Revision(6), 17.0)
    assert book.silence_s(18.0) == {N1: 1.0}


def test_promise_to_a_node_that_has_no_beat_counts_nothing() -> None:
    book = SilenceBook()
    assert not book.promised(N1, 14.0)
    assert book.silence_s(16.0) == {}
