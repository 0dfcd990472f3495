"""The verdict of a witness disk, on rings written by hand."""

from collections.abc import Iterator
from pathlib import Path

from vmha.lab.witness.disk import make_disk
from vmha.lab.witness.entry import HEAD_OFFSET, RING_ENTRIES, RING_OFFSET, SECTOR, Entry, find_entry, pack_entry
from vmha.lab.witness.verdict import Verdict, judge, read_disk


class Guest:
    """One instance of the guest as ``tick.asm`` behaves: memory of its own, the disk in common."""

    def __init__(self, disk: "Disk", nonce: int) -> None:
        self.disk, self.nonce, self.tick, self.foreign = disk, nonce, 0, 0

    def clone(self) -> "Guest":
        """What a migration leaves when both sides go on."""
        other = Guest(self.disk, self.nonce)
        other.tick, other.foreign = self.tick, self.foreign
        return other

    def run(self, ticks: int = 1) -> "Guest":
        for _ in range(ticks):
            self.disk.write(self.next(self.disk.head))
        return self

    def next(self, head: Entry | None) -> Entry:
        """The entry it writes after having read ``head``."""
        boots = head.boots if head else 0
        if head is None or (head.nonce, head.tick) != (self.nonce, self.tick):
            if self.tick == 0:
                boots += 1
            else:
                self.foreign += 1
        self.tick += 1
        seq = (head.seq if head else 0) + 1
        return Entry(seq=seq, nonce=self.nonce, tick=self.tick, foreign=self.foreign, boots=boots, rtc=(14, 5, 59))


class Disk:
    def __init__(self) -> None:
        self.head: Entry | None = None
        self.ring: dict[int, Entry] = {}

    def write(self, entry: Entry) -> None:
        self.ring[entry.seq % RING_ENTRIES] = entry
        self.head = entry

    def boot(self, nonce: int) -> Guest:
        return Guest(self, nonce)

    def verdict(self) -> Verdict:
        return judge(self.head, self.ring.values())


def test_a_fresh_disk_has_nothing_to_tell() -> None:
    verdict = Disk().verdict()
    assert (verdict.boots, verdict.ticks, verdict.instances, verdict.ran_twice, verdict.last) == (0, 0, 0, False, None)


def test_one_boot_that_ticks_on_is_clean() -> None:
    disk = Disk()
    disk.boot(0xA).run(500)
    verdict = disk.verdict()
    assert (verdict.boots, verdict.ticks, verdict.instances) == (1, 500, 1)
    assert not verdict.ran_twice
    assert not verdict.wrapped


def test_a_restart_is_a_second_boot_and_no_double() -> None:
    disk = Disk()
    disk.boot(0xA).run(20)
    disk.boot(0xB).run(20)
    verdict = disk.verdict()
    assert (verdict.boots, verdict.ticks, verdict.instances, verdict.ran_twice) == (2, 40, 2, False)


def test_power_lost_between_ring_and_head_is_no_double() -> None:
    disk = Disk()
    guest = disk.boot(0xA).run(20)
    lost = guest.next(disk.head)
    disk.ring[lost.seq % RING_ENTRIES] = lost
    assert not disk.verdict().ran_twice
    disk.boot(0xB).run(20)
    assert (disk.verdict().boots, disk.verdict().ran_twice) == (2, False)


def test_two_boots_at_once_are_convicted_by_a_nonce_that_returns() -> None:
    disk = Disk()
    first, second = disk.boot(0xA).run(5), disk.boot(0xB)
    for _ in range(5):
        second.run()
        first.run()
    verdict = disk.verdict()
    assert verdict.ran_twice
    assert verdict.returns == 9
    assert verdict.foreign > 0
    assert verdict.boots == 2


def test_boot_that_the_disks_own_count_lost_to_an_older_guest_is_counted() -> None:
    disk = Disk()
    first, second = disk.boot(0xA).run(5), disk.boot(0xB)
    late = first.next(disk.head)
    second.run()
    disk.write(late)
    second.run(3)
    assert disk.head is not None
    assert disk.head.boots == 1
    assert disk.verdict().boots == 2


def test_an_old_instance_that_wakes_for_a_single_tick_is_convicted() -> None:
    disk = Disk()
    old = disk.boot(0xA).run(5)
    disk.boot(0xB).run(5)
    assert not disk.verdict().ran_twice
    old.run()
    assert (disk.verdict().ran_twice, disk.verdict().returns) == (True, 1)


def test_a_migrated_clone_running_twice_is_convicted_though_the_nonce_is_one() -> None:
    disk = Disk()
    source = disk.boot(0xA).run(10)
    target = source.clone()
    source.run()
    target.run()
    verdict = disk.verdict()
    assert (verdict.instances, verdict.returns) == (1, 0)
    assert verdict.ran_twice
    assert verdict.tick_breaks == 1
    assert verdict.foreign == 1


def test_clones_that_write_the_same_slot_are_convicted_too() -> None:
    disk = Disk()
    source = disk.boot(0xA).run(10)
    target = source.clone()
    head = disk.head
    for entry in (source.next(head), target.next(head)):  # both had read the same head
        disk.write(entry)
    source.run(3)
    target.run(1)
    assert disk.verdict().ran_twice


def test_a_wrapped_ring_says_so_and_is_not_taken_for_a_double() -> None:
    disk = Disk()
    disk.boot(0xA).run(10)
    disk.boot(0xB).run(RING_ENTRIES)
    verdict = disk.verdict()
    assert verdict.wrapped
    assert (verdict.boots, verdict.ticks, verdict.instances, verdict.ran_twice) == (2, RING_ENTRIES + 10, 1, False)


def test_a_double_older_than_the_ring_is_still_told_by_the_instance_that_lives() -> None:
    disk = Disk()
    survivor, other = disk.boot(0xA).run(5), disk.boot(0xB).run(5)
    survivor.run(1)
    other.run(1)
    survivor.run(RING_ENTRIES + 1)
    verdict = disk.verdict()
    assert (verdict.returns, verdict.tick_breaks, verdict.instances) == (0, 0, 1)
    assert verdict.ran_twice


def test_an_entry_survives_the_way_through_its_sector() -> None:
    entry = Entry(seq=2**40, nonce=0x1234_5678_9ABC_DEF0, tick=77, foreign=3, boots=9, rtc=(23, 59, 7))
    assert find_entry(pack_entry(entry)) == entry
    assert find_entry(bytes(SECTOR)) is None
    assert find_entry(b"VMHATICK") is None


def test_a_disk_image_is_read_as_the_guest_wrote_it(tmp_path: Path) -> None:
    disk, path = Disk(), tmp_path / "vm.img"
    disk.boot(0xA).run(30)
    disk.boot(0xB).run(12)
    make_disk(path)
    assert read_disk(path).ticks == 0
    with path.open("r+b") as file:
        for offset, entry in sectors(disk):
            file.seek(offset)
            file.write(pack_entry(entry))
    assert read_disk(path) == disk.verdict()


def sectors(disk: Disk) -> Iterator[tuple[int, Entry]]:
    assert disk.head
    yield HEAD_OFFSET, disk.head
    for slot, entry in disk.ring.items():
        yield RING_OFFSET + slot * SECTOR, entry
