"""``--probe``: one line becomes one probe, or is refused with what would do."""

import pytest

from vmha.cli.probes import probes
from vmha.model.errors import Rejected
from vmha.model.health import Probe


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tcp 10.0.0.5:5432", Probe(tcp="10.0.0.5:5432")),
        ("http https://web/health", Probe(http="https://web/health")),
        ("agent", Probe(agent=True)),
        ("command /bin/check --for 'the db' a=b", Probe(command=("/bin/check", "--for", "the db", "a=b"))),
        (
            "name=db interval_s=5 start_gate=true failures=2 tcp [fe80::1]:80",
            Probe(name="db", interval_s=5.0, start_gate=True, failures=2, tcp="[fe80::1]:80"),
        ),
        ("shell=true command 'check | grep ok'", Probe(shell=True, command=("check | grep ok",))),
    ],
)
def test_line_becomes_a_probe(line: str, expected: Probe) -> None:
    assert probes([line]) == {"probes": (expected,)}


def test_nothing_given_changes_nothing_and_an_empty_one_takes_them_away() -> None:
    assert probes(None) == probes([]) == {}
    assert probes([""]) == {"probes": ()}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ping", "command PROGRAM"),
        ("tcp", "tcp HOST:PORT"),
        ("tcp web", "host:port"),
        ("every=5 agent", "'every' is no field"),
        ("interval_s=soon agent", "interval_s"),
        ("agent now", "can not be read"),
        ("command 'check", "No closing quotation"),
    ],
)
def test_line_that_can_not_be_read_is_refused(line: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        probes([line])
