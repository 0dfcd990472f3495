"""Which QEMUs are ours: libvirt's run directory and /proc as files, in all their odd shapes."""

import os
from pathlib import Path

import pytest

from vmha.fencing.qemu_processes import Guest, QemuProcesses

UUID = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


class Host:
    """A /proc and a libvirt run directory made of files, in the shapes that libvirt 9 and Linux 6 write."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.run = root / "qemu"
        self.proc.mkdir()
        self.run.mkdir()
        (self.proc / "self").mkdir()
        (self.run / "driver.pid").write_text("7")
        (self.run / "autostarted").touch()
        (self.run / "passt").mkdir()

    def process(
        self, pid: int, argv: list[str], *, command: str = "qemu-system-x86", state: str = "S", threads: int = 4
    ) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(exist_ok=True)
        fields = [state, "1", *["0"] * 15, str(threads), "0", str(pid * 1000), *["0"] * 30]
        (folder / "stat").write_text(f"{pid} ({command}) {' '.join(fields)}\n")
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))

    def qemu(self, pid: int, name: str, uuid: str, **more: str | int) -> None:
        argv = ["/usr/bin/qemu-system-x86_64", "-name", f"guest={name.replace(',', ',,')},debug-threads=on", "-S"]
        self.process(pid, [*argv, "-uuid", uuid, "-display", "none"], **more)  # type: ignore[arg-type]

    def status(
        self,
        name: str,
        uuid: str,
        pid: int,
        *,
        cluster: str | None = "c1",
        metadata: str = "",
        state: str = "state='running' reason='booted'",
        tag: str = 'epoch="3"',
    ) -> None:
        if cluster is not None:
            metadata += f'<vmha:vm xmlns:vmha="https://vmha.dev/xmlns/domain/1" cluster="{cluster}" {tag}/>'
        (self.run / f"{name}.pid").write_text(f"{pid}\n")
        (self.run / f"{name}.xml").write_text(
            f"<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n<domstatus {state} pid='{pid}'>\n"
            f"  <vcpus><vcpu id='0' pid='62'/></vcpus>\n  <domain type='qemu' id='1'>\n    <name>{name}</name>\n"
            f"    <uuid>{uuid}</uuid>\n    <metadata>{metadata}</metadata>\n  </domain>\n</domstatus>\n"
        )

    def look(self) -> QemuProcesses:
        return QemuProcesses("c1", str(self.run), str(self.proc))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def guest(pid: int, name: str, uuid: str = UUID) -> Guest:
    return Guest(uuid=uuid, name=name, pid=pid, start_ticks=pid * 1000)


def test_a_domain_with_our_tag_is_found(host: Host) -> None:
    host.qemu(58, "web, front", UUID)
    host.status("web, front", UUID, 58)
    scan = host.look().scan()
    assert scan.guests == (guest(58, "web, front"),)
    assert scan.unclear == ()


@pytest.mark.parametrize("cluster", [None, "another", ""])
def test_a_domain_without_our_tag_is_left_alone(host: Host, cluster: str | None) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58, cluster=cluster)
    assert host.look().scan(frozenset({OTHER})).is_empty


def test_a_tag_of_another_namespace_is_none(host: Host) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58, cluster=None, metadata='<v:vm xmlns:v="https://else.example/1" cluster="c1"/>')
    assert host.look().scan().is_empty


@pytest.mark.parametrize("told", [UUID, UUID.upper(), "web"])
def test_a_guest_that_was_told_is_found_with_and_without_a_status_file(host: Host, told: str) -> None:
    host.qemu(58, "web", UUID)
    assert host.look().scan(frozenset({told})).guests == (guest(58, "web"),)
    host.status("web", UUID, 58, cluster=None)
    assert host.look().scan(frozenset({told})).guests == (guest(58, "web"),)


def test_a_program_that_only_mentions_the_uuid_is_no_guest(host: Host) -> None:
    host.process(60, ["/usr/bin/grep", "-uuid", UUID], command="grep")
    host.process(61, ["/bin/sh", "qemu-system-x86_64", "-uuid", UUID], command="sh")
    assert host.look().scan(frozenset({UUID})).is_empty


def test_a_pid_that_now_belongs_to_another_program_is_not_ours(host: Host) -> None:
    host.status("web", UUID, 58)
    host.process(58, ["/usr/sbin/sshd"], command="sshd")
    assert host.look().scan().is_empty
    host.qemu(58, "other", OTHER)
    assert host.look().scan().is_empty


def test_a_status_file_whose_process_is_gone_counts_for_nothing(host: Host) -> None:
    host.status("web", UUID, 58)
    assert host.look().scan().is_empty
    host.qemu(58, "web", UUID, state="Z", threads=1)
    assert host.look().scan().is_empty


def test_a_zombie_whose_threads_still_run_is_not_gone(host: Host) -> None:
    host.status("web", UUID, 58)
    host.process(58, [], state="Z", threads=3)
    scan = host.look().scan()
    assert scan.guests == ()
    assert "dying" in scan.unclear[0]


def test_a_child_of_libvirtd_that_is_about_to_become_the_guest_is_not_nothing(host: Host) -> None:
    host.status("web", UUID, 58)
    host.process(58, ["/usr/sbin/libvirtd"], command="rpc-libvirtd")
    assert "about to become" in host.look().scan().unclear[0]


@pytest.mark.parametrize("namespace", ["a b", "a}b", "{", "&#9;", "https://vmha.dev/xmlns/domain/1}vm"])
def test_foreign_metadata_of_any_namespace_hides_no_guest_and_makes_no_strangers_unclear(
    host: Host, namespace: str
) -> None:
    """libvirt takes them all. A guest that is unclear would keep its node from ever being found empty."""
    foreign = f"<x:vm xmlns:x='{namespace}' cluster='c1'>y<z/></x:vm>"
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58, metadata=foreign)
    host.qemu(59, "stranger", OTHER)
    host.status("stranger", OTHER, 59, cluster=None, metadata=foreign)
    scan = host.look().scan()
    assert (scan.guests, scan.unclear) == ((guest(58, "web"),), ())


@pytest.mark.parametrize("declared", ["utf-16", "no-such", "rot13", "shift_jis"])
def test_encoding_that_a_status_file_names_ends_no_look(host: Host, declared: str) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58)
    text = (host.run / "web.xml").read_text()
    (host.run / "bad.xml").write_text(f"<?xml version='1.0' encoding='{declared}'?>{text}")
    assert host.look().scan().guests == (guest(58, "web"),)


@pytest.mark.parametrize("text", ["", "<domstatus", "<domain/>", "<!DOCTYPE a []><domstatus/>", "<domstatus/>"])
def test_an_unreadable_status_file_of_a_live_process_is_unclear_not_absent(host: Host, text: str) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58)
    (host.run / "web.xml").write_text(text)
    scan = host.look().scan()
    assert scan.guests == ()
    assert "process 58 runs" in scan.unclear[0]
    assert host.look().scan(frozenset({UUID})).guests == (guest(58, "web"),)


def test_a_run_directory_that_can_not_be_read_is_unclear_and_a_missing_one_is_empty(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "file").touch()
    assert QemuProcesses("c1", str(tmp_path / "file"), str(tmp_path / "proc")).scan().unclear
    assert QemuProcesses("c1", str(tmp_path / "none"), str(tmp_path / "proc")).scan().is_empty


@pytest.mark.parametrize("part", ["proc/58/stat", "qemu/web.pid"])
def test_a_guest_of_which_something_can_not_be_read_is_unclear_not_absent(host: Host, part: str) -> None:
    """As where the host has no descriptor, or its kernel no memory, left for one more file."""
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58)
    look = host.look()
    assert look.scan().guests == (guest(58, "web"),)
    path = host.run.parent / part
    path.unlink()
    path.mkdir()
    scan = look.scan()
    assert [words for words in scan.unclear if "Is a directory" in words], scan


def test_a_guest_whose_command_line_can_not_be_read_is_unclear_not_absent(host: Host) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58)
    make_unreadable(host.proc / "58/cmdline")
    scan = host.look().scan()
    assert [words for words in scan.unclear if "Is a directory" in words], scan


def make_unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


def test_what_may_be_swapped_out_is_read_once(host: Host) -> None:
    """A command line is in its process's memory, which is on the disk where the host swaps; so are files of a tmpfs."""
    host.qemu(58, "web", UUID)
    host.qemu(59, "db", OTHER)
    host.process(60, ["/usr/sbin/sshd", "-D"], command="sshd")
    host.status("web", UUID, 58)
    look, told = host.look(), frozenset({OTHER})
    found = look.scan(told)
    assert found.guests == (guest(58, "web"), guest(59, "db", OTHER))
    for pid in (58, 59, 60):
        make_unreadable(host.proc / f"{pid}/cmdline")
    for name in ("web.pid", "web.xml"):
        path = host.run / name
        before = path.stat()
        path.write_bytes(bytes(before.st_size))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look.scan(told) == found


def test_what_was_read_of_a_process_is_no_news_of_the_next_one_with_its_number(host: Host) -> None:
    host.qemu(58, "web", UUID)
    look, told = host.look(), frozenset({UUID, OTHER})
    assert look.scan(told).guests == (guest(58, "web"),)
    (host.proc / "58/stat").write_text((host.proc / "58/stat").read_text().replace(" 58000 ", " 58001 "))
    (host.proc / "58/cmdline").write_text(f"qemu-system-x86_64\0-name\0guest=db\0-uuid\0{OTHER}\0")
    assert look.scan(told).guests == (Guest(uuid=OTHER, name="db", pid=58, start_ticks=58001),)


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/sbin/libvirtd"], "rpc-libvirtd"),
        (["/usr/sbin/libvirtd"], "qemu-autostart"),
        (["/bin/sh", "/usr/local/bin/qemu-system-x86_64.sh"], "qemu-system-x86"),
        ([], "qemu-system-x86"),  # in the midst of becoming it
    ],
)
@pytest.mark.parametrize("has_status", [True, False])
def test_a_process_that_becomes_a_guest_is_found_however_often_it_was_looked_at(
    host: Host, argv: list[str], command: str, has_status: bool
) -> None:
    host.process(58, argv, command=command)
    if has_status:
        host.status("web", UUID, 58)
    look, told = host.look(), frozenset({UUID})
    for _ in range(2):
        assert look.scan(told).guests == ()
    host.qemu(58, "web", UUID)
    assert look.scan(told).guests == (guest(58, "web"),)


def test_a_guest_is_unclear_when_neither_its_status_nor_its_pid_can_be_read(host: Host) -> None:
    host.qemu(58, "web", UUID)
    for name in ("web.xml", "web.pid"):
        (host.run / name).mkdir()
    assert host.look().scan().unclear


def test_a_process_that_can_not_be_read_is_not_called_gone(host: Host) -> None:
    host.qemu(58, "web", UUID)
    (host.proc / "58/stat").unlink()
    (host.proc / "58/stat").mkdir()
    with pytest.raises(IsADirectoryError):
        host.look().still_runs(guest(58, "web"))
    assert host.look().scan(frozenset({UUID})).unclear


def test_a_changed_status_file_is_read_again(host: Host) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58, cluster=None)
    look = host.look()
    assert look.scan().is_empty
    host.status("web", UUID, 58)
    assert look.scan().guests == (guest(58, "web"),)
    (host.run / "web.xml").unlink()
    assert look.scan().is_empty


def test_one_unreadable_file_does_not_hide_the_others(host: Host) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58)
    host.status("bad", OTHER, 59)
    (host.run / "bad.xml").write_text("garbage")
    assert host.look().scan().guests == (guest(58, "web"),)


def test_a_process_is_told_by_its_start_time_not_by_its_number(host: Host) -> None:
    host.qemu(58, "web", UUID)
    look = host.look()
    assert look.still_runs(guest(58, "web"))
    assert not look.still_runs(Guest(uuid=UUID, name="web", pid=58, start_ticks=1))
    assert not look.still_runs(guest(59, "web"))


def test_a_command_with_parentheses_and_blanks_does_not_confuse_it(host: Host) -> None:
    host.qemu(58, "web", UUID, command="qemu) S 1 (x")
    host.status("web", UUID, 58)
    assert host.look().scan().guests == (guest(58, "web"),)


@pytest.mark.parametrize(
    ("state", "tag", "came_in"),
    [
        ("state='paused' reason='user'", 'epoch="3" handover="standing"', 3),
        ("state='paused' reason='user'", 'epoch="3" handover="paused"', 3),
        ("state='paused' reason='user'", 'epoch="3" handover="second"', None),  # a second copy that was paused
        ("state='paused' reason='user'", 'epoch="3"', None),  # a hand has suspended it
        ("state='paused' reason='migration'", 'epoch="3" handover="standing"', None),  # still coming in
        ("state='running' reason='migrated'", 'epoch="3" handover="standing"', None),  # let go an instant ago
        ("state='running' reason='migrated'", 'epoch="3"', 3),  # libvirt has let it go on
        ("state='running' reason='post-copy'", 'epoch="3"', 3),
        ("state='running' reason='unpaused'", 'epoch="3"', None),
        ("state='running' reason='booted'", 'epoch="3"', None),
        ("state='paused'", 'epoch="3" handover="standing"', None),
        ("state='paused' reason='user'", 'epoch="-3" handover="standing"', None),
        ("state='paused' reason='user'", f'epoch="{"9" * 400}" handover="standing"', None),
        ("state='paused' reason='user'", 'handover="standing"', None),
    ],
)
def test_what_came_in_and_was_not_let_go_by_us_is_known_by_its_epoch(
    host: Host, state: str, tag: str, came_in: int | None
) -> None:
    host.qemu(58, "web", UUID)
    host.status("web", UUID, 58, state=state, tag=f'name="x" {tag}')
    assert [(found.vm, found.came_in) for found in host.look().scan().guests] == [("x", came_in)]
