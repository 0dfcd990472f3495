"""Witness guests on real hosts: what the disk and the storage server say of a run, a migration and a double start."""

from collections.abc import Iterator

import pytest

from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir

from .conftest import LabRun, running_lab, wait_until

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[LabRun]:
    yield from running_lab("--nodes", "2")


def create(lab: LabRun, name: str) -> None:
    """Make a witness guest and start it on h1 by hand."""
    witness = add_witness(LabDir(lab.path), name)
    for host in ("h1", "h2"):
        (lab.path / host / "var/lib" / f"{name}.xml").write_text(witness.xml)
    start(lab, name, "h1")


def start(lab: LabRun, name: str, host: str) -> None:
    lab.sh(host, f"virsh create /var/lib/{name}.xml")


def await_ticks(lab: LabRun, name: str, more: int = 10) -> None:
    goal = lab.verdict(name)["ticks"] + more
    wait_until(f"{name} ticks", lambda: lab.verdict(name)["ticks"] >= goal, timeout_s=60)


def migrate(lab: LabRun, name: str) -> None:
    lab.sh("h1", f"virsh migrate --live --p2p {name} qemu+tcp://10.97.0.2/system tcp://10.97.0.2")


def test_memory_survives_a_migration(lab: LabRun) -> None:
    create(lab, "mover")
    await_ticks(lab, "mover")
    migrate(lab, "mover")
    await_ticks(lab, "mover")
    verdict = lab.verdict("mover")
    assert not verdict["ran_twice"]
    assert (verdict["boots"], verdict["instances"], verdict["migrations_survived"]) == (1, 1, 1)
    assert verdict["writer"].startswith("h2#")
    assert lab.sh("h2", "virsh list --name").split() == ["mover"]


def test_a_guest_lost_with_its_host_and_started_again_is_a_second_boot(lab: LabRun) -> None:
    create(lab, "phoenix")
    await_ticks(lab, "phoenix")
    lab.run("kill", "h1")
    start(lab, "phoenix", "h2")
    await_ticks(lab, "phoenix")
    verdict = lab.verdict("phoenix")
    assert (verdict["boots"], verdict["ran_twice"], verdict["double_writers"]) == (2, False, 0)
    assert verdict["longest_gap_s"] > 0.2

    def is_shorter_since_the_mark() -> bool:  # unless it had no processor for as long as a boot takes
        assert "never two" in lab.run("verdict", "phoenix", "--mark")
        await_ticks(lab, "phoenix")
        return bool(lab.verdict("phoenix")["longest_gap_s"] < verdict["longest_gap_s"])

    wait_until("the gap of its boot is not counted after a mark", is_shorter_since_the_mark)
    lab.run("start", "h1")


def test_a_guest_started_on_two_hosts_is_convicted_by_disk_and_server(lab: LabRun) -> None:
    create(lab, "twin")
    await_ticks(lab, "twin")
    start(lab, "twin", "h2")
    wait_until("the second boot", lambda: lab.verdict("twin")["boots"] == 2, timeout_s=60)
    await_ticks(lab, "twin")
    verdict = lab.verdict("twin")
    assert verdict["ran_twice"]
    assert verdict["double_writers"] > 0
    assert verdict["returns"] > 0
    assert "RAN TWICE" in lab.run("verdict", "twin")
    assert [event["export"] for event in lab.events("storage-double-writer")][:1] == ["twin"]


def test_a_guest_lives_through_a_short_cut_of_its_storage(lab: LabRun) -> None:
    create(lab, "patient")
    await_ticks(lab, "patient")
    lab.run("cut", "h1", "--link", "storage")
    wait_until("it waits", lambda: lab.verdict("patient")["since_last_tick_s"] > 1)
    lab.run("heal", "h1", "--link", "storage")
    await_ticks(lab, "patient")
    verdict = lab.verdict("patient")
    assert (verdict["boots"], verdict["ran_twice"]) == (1, False)


def test_an_unknown_guest_is_named_with_the_near_ones(lab: LabRun) -> None:
    add_witness(LabDir(lab.path), "database")
    assert "did you mean database?" in lab.run("verdict", "databse", code=4)
    assert "database" in lab.run("vm", "list").split()
    assert "has not ticked" in lab.run("verdict", "database")
