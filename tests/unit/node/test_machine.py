"""Which machine this is: the same at each boot, and another for each machine."""

from pathlib import Path

import pytest

from vmha.node.machine import read_host


@pytest.fixture
def ids(tmp_path: Path) -> tuple[Path, ...]:
    (tmp_path / "machine-id").write_text("1b2c\n")
    return (tmp_path / "machine-id", tmp_path / "not-there")


def card(network: Path, name: str, address: str, *, real: bool = True, part_of_another: bool = False) -> Path:
    folder = network / name
    folder.mkdir(parents=True)
    (folder / "address").write_text(f"{address}\n")
    if real:
        (folder / "device").mkdir()
    if part_of_another:
        (folder / "device" / "physfn").mkdir()
    return folder


def test_clone_with_the_same_ids_is_another_machine_by_its_network_cards(tmp_path: Path, ids: tuple[Path, ...]) -> None:
    card(tmp_path / "a", "eth0", "52:54:00:00:00:01")
    card(tmp_path / "b", "eth0", "52:54:00:00:00:02")
    assert read_host(ids, tmp_path / "a") != read_host(ids, tmp_path / "b")
    assert read_host(ids, tmp_path / "a").startswith("1b2c/")


def test_what_comes_and_goes_with_guests_makes_it_no_other_machine(tmp_path: Path, ids: tuple[Path, ...]) -> None:
    network = tmp_path / "net"
    card(network, "eth0", "52:54:00:00:00:01")
    before = read_host(ids, network)
    card(network, "vnet0", "fe:54:00:00:00:09", real=False)
    card(network, "virbr0", "52:54:00:00:00:07", real=False)
    card(network, "eth0v1", "52:54:00:00:00:08", part_of_another=True)
    assert read_host(ids, network) == before


def test_card_in_a_bond_counts_by_its_own_address(tmp_path: Path, ids: tuple[Path, ...]) -> None:
    card(tmp_path / "alone", "eth0", "52:54:00:00:00:01")
    bonded = card(tmp_path / "bonded", "eth0", "52:54:00:00:00:99")
    (bonded / "bonding_slave").mkdir()
    (bonded / "bonding_slave" / "perm_hwaddr").write_text("52:54:00:00:00:01\n")
    assert read_host(ids, tmp_path / "alone") == read_host(ids, tmp_path / "bonded")


def test_without_any_card_the_ids_are_all_there_is(tmp_path: Path, ids: tuple[Path, ...]) -> None:
    assert read_host(ids, tmp_path / "none") == "1b2c"
