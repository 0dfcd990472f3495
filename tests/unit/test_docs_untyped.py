"""Commands of the pages that no test types as they stand: each is here, with the test that shows it or the reason.

A page says so itself before the block (tests/support/doc_story.py). A line that is typed where another page has it
needs no entry, nor does one that is typed with something around it.
"""

import re
from collections.abc import Iterator

from tests.support.doc_story import PAGES, ROOT, Told, story_with_lists

DASHBOARD, RGMANAGER = "docs/howto/dashboard.md", "docs/howto/from-rgmanager.md"
CONTAINERS, TUTORIAL = "docs/howto/containers.md", "docs/tutorial/three-hosts.md"

DEMO = "tests/lab/test_lab_demo.py::test_the_demo_shows_every_step_and_leaves_nothing"
APT = "tests/real/test_docs_packages.py::test_apt_would_install_what_a_page_names"
THREE = "tests/lab/test_three_hosts.py::test_three_hosts_become_a_cluster_and_one_of_them_is_lost_as_the_page_says"
WATCHED = (
    "tests/real/test_status_on_a_terminal.py::"
    "test_watched_status_is_drawn_over_what_was_there_and_gives_the_terminal_back"
)
WEB = "tests/unit/node/test_joining_web.py"
SHOWN = "tests/compose/test_compose.py::test_status_shows_three_nodes_that_a_guard_watches_over"
MOVED = "tests/compose/test_compose.py::test_vm_moves_live_from_one_container_to_another"
KILLED = "tests/compose/test_compose.py::test_killed_container_leaves_no_guest_and_its_vm_comes_back_elsewhere"
GATE = (
    "tests/compose/test_host_libvirt.py::"
    "test_guest_of_an_agent_that_stays_away_is_ended_and_the_gate_lets_no_hand_start_it"
)

SHOWN_BY: dict[tuple[str, str], str] = {
    ("README.md", "make demo"): DEMO,
    ("docs/install.md", "make demo"): DEMO,
    ("docs/tutorial/first-failover.md", "make demo"): DEMO,
    ("README.md", "vmha status --watch"): WATCHED,
    ("README.md", "docker compose up -d --build"): SHOWN,
    ("README.md", "docker compose exec agent-1 vmha status"): SHOWN,
    (CONTAINERS, "docker compose up -d --build"): SHOWN,
    (CONTAINERS, "docker compose exec agent-1 vmha status"): SHOWN,
    (CONTAINERS, "docker compose exec -T storage vmha-storage add web > web.xml"): MOVED,
    (CONTAINERS, "docker compose exec -T agent-1 vmha vm add web --xml - --start --wait < web.xml"): MOVED,
    (CONTAINERS, "docker compose exec agent-1 vmha vm migrate web --to agent-2"): MOVED,
    (CONTAINERS, "docker compose kill agent-2"): KILLED,
    (CONTAINERS, "docker compose exec agent-1 vmha status --watch"): WATCHED,
    (CONTAINERS, "docker compose exec agent-1 vmha vm why web"): KILLED,
    (CONTAINERS, "docker compose exec -T storage vmha-storage verdict web"): KILLED,
    (CONTAINERS, "docker compose start agent-2"): KILLED,
    (CONTAINERS, "mkdir -p /usr/local/lib/vmha"): GATE,
    (
        CONTAINERS,
        "docker run --rm --entrypoint tar vmha-agent -C /opt/vmha/lib/python3.11/site-packages -c vmha/__init__.py "
        "vmha/fencing | tar -x -C /usr/local/lib/vmha",
    ): GATE,
    (CONTAINERS, "install -D -m 755 deploy/compose/qemu /etc/libvirt/hooks/qemu"): GATE,
    (
        DASHBOARD,
        "vmha --endpoints $etcd node join --address 10.0.0.11 --certificates pki --web --web-role operator "
        "--web-listen 10.0.0.11:9780",
    ): f"{WEB}::test_where_others_reach_it_browsers_are_shown_a_certificate_of_the_authority_and_it_is_renewed",
    (
        DASHBOARD,
        "vmha --endpoints $etcd node join --address 10.0.0.11 --certificates node-kvm1 --web "
        "--web-certificates operator-web-kvm1",
    ): f"{WEB}::test_what_was_issued_elsewhere_is_put_there_too",
    ("docs/howto/fencing-with-ipmi.md", "apt-get install --no-install-recommends fence-agents ipmitool"): APT,
    ("docs/howto/fencing-with-ipmi.md", "vmha node confirm-off kvm1"): (
        "tests/real/test_confirm_off.py::"
        "test_question_names_the_vms_and_the_risk_and_the_name_typed_is_the_confirmation"
    ),
    ("docs/howto/tls.md", "export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=https://10.0.0.11:2379"): THREE,
    (
        "docs/howto/tls.md",
        "export ETCDCTL_CACERT=pki/ca.pem ETCDCTL_CERT=pki/issued/root-alice/cert.pem "
        "ETCDCTL_KEY=pki/issued/root-alice/key.pem",
    ): THREE,
    ("docs/howto/tls.md", "vmha cluster roles kvm1 kvm2 kvm3 --enable | sh"): THREE,
    (
        "docs/install.md",
        "vmha node join kvm1 --cluster prod --endpoints 10.0.0.11:2379,10.0.0.12:2379,10.0.0.13:2379 "
        "--address 10.0.0.11 --certificates node-kvm1 --peers-secret peers.secret",
    ): THREE,
    (
        TUTORIAL,
        "apt install etcd-server etcd-client libvirt-daemon-system qemu-system-x86 fence-agents ipmitool",
    ): APT,
}
BECAUSE: dict[tuple[str, str], str] = {
    ("README.md", "make test"): "it is what runs this",
    ("README.md", ". .venv/bin/activate"): "tests run in that environment already",
    ("docs/tutorial/first-failover.md", ". .venv/bin/activate"): "tests run in that environment already",
    (RGMANAGER, "clusvcadm -Z vm:web"): "foreign",
    (RGMANAGER, "service rgmanager stop"): "foreign",
    (RGMANAGER, "chkconfig rgmanager off"): "foreign",
    ("docs/reference/cli.md", "vmha vm story db --since 2h"): "what a long story looks like, once",
    ("docs/reference/cli.md", "vmha events --vm db"): "what a hand's entries look like, once",
    (
        "docs/reference/logs.md",
        "for host in kvm1 kvm2 kvm3; do ssh $host journalctl -u vmha-agent -u vmha-guard -o cat --since -1h; done | "
        "jq -c 'select(.cause == \"lost-kvm1-4f2a9c\")' | sort",
    ): "three hosts with sshd and a journal, and jq; that lines carry the cause: tests/sim/test_causes_in_the_log.py",
}
INSTEAD: dict[tuple[str, str], str] = {
    ("README.md", "vmha sim --seeds 20"): "twenty lives take longer than one that is cut short",
    ("docs/howto/disaster-recovery.md", "systemctl stop etcd"): "a lab's etcd has no unit; typed as written on a host",
    ("docs/howto/disaster-recovery.md", "systemctl start etcd"): "a lab's etcd has no unit; typed as written on a host",
    (
        "docs/howto/from-pacemaker.md",
        "systemctl disable --now pacemaker corosync",
    ): "Pacemaker's cluster is a file, which is told what its stop would tell it",
    (
        RGMANAGER,
        "for kvm in kvm1 kvm2 kvm3; do scp -pr fence root@$kvm:/etc/vmha/; done",
    ): "no other hosts: folders in their place",
    (
        TUTORIAL,
        "for n in 1 2 3; do scp -r pki/issued/*-kvm$n peers.secret root@10.0.0.1$n: ; done",
    ): "hosts of a lab have no sshd; the test carries it over",
    (TUTORIAL, "chgrp etcd /etc/etcd/*.key"): "a lab's hosts have one user; typed as written on a booted host",
    (
        TUTORIAL,
        "systemctl enable etcd && systemctl start --no-block etcd",
    ): "a lab's hosts have no systemd; typed as written on a booted host",
    (
        TUTORIAL,
        "systemctl enable libvirtd-tls.socket && systemctl stop libvirtd.service libvirtd.socket && "
        "systemctl start libvirtd-tls.socket libvirtd.service",
    ): "a lab's hosts have no systemd; typed as written on a booted host",
    (TUTORIAL, "ip link set eno1 down"): "a lab's hosts call it eth0",
}
"""Typed in another way than written (``run instead``), and why."""

FOREIGN = {
    "clusvcadm": "RGManager's own, of the cluster that is left behind; vmha's of that name goes by the same parser"
    " (test_docs_commands.py), and has no part in this",
    "service": "of the system that RGManager ran on, Red Hat Enterprise Linux 6: rgmanager's script",
    "chkconfig": "of the same system; Debian has none",
}
"""Programs that are neither vmha's nor of a package that a test could install."""

OURS = {"vmha"}
SHELL = {".", "done", "echo", "export", "for", "set", "umask"}
OF_THE_SYSTEM = set(
    re.findall(
        r"\S+",
        """
        apt apt-get base64 cat chgrp chown cp crm_attribute crm_resource crm_simulate curl docker etcdctl fence_ipmilan
        head install ip jq ln make mkdir mv pip python3 rm scp sed sh sort ssh systemctl systemd-sysusers tar virsh
        """,
    )
)


def untyped() -> Iterator[tuple[str, str]]:
    typed = {one.written for page in PAGES for one in told(page) if not one.not_run}
    yield from ((page, one.written) for page in PAGES for one in told(page) if one.not_run and one.written not in typed)


def told(page: str) -> list[Told]:
    return story_with_lists((ROOT / page).read_text())


def programs(line: str) -> set[str]:
    """What a line has a shell run: the first word of each command."""
    line = re.sub(r"'[^']*'", "''", line)
    found = set()
    for part in re.split(r"&&|[|;&(]|\bdo\b", line):
        words = [word for word in part.split() if not re.match(r"\w+=|>|<|\d*>|!$", word)]
        if words:
            found.add(words[0].rpartition("/")[2] if words[0] != "." else ".")
    return found


def test_every_command_that_no_test_types_is_here_with_its_test_or_reason() -> None:
    assert not set(SHOWN_BY) & set(BECAUSE)
    assert set(untyped()) == {*SHOWN_BY, *BECAUSE}


def test_tests_that_show_them_exist() -> None:
    for test in sorted(set(SHOWN_BY.values())):
        file, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_every_command_that_is_typed_otherwise_is_here_with_its_reason() -> None:
    other = {
        (page, one.written)
        for page in PAGES
        for one in told(page)
        if not one.not_run and one.written not in one.line and one.line != one.written
    }
    assert other == set(INSTEAD)


def test_programs_that_pages_type_are_known_and_foreign_ones_are_typed_by_no_test() -> None:
    found = {(program, page, one.not_run) for page in PAGES for one in told(page) for program in programs(one.written)}
    assert {program for program, _, _ in found} == OURS | SHELL | OF_THE_SYSTEM | set(FOREIGN)
    of_others = {(page, bool(why)) for program, page, why in found if program in FOREIGN}
    assert of_others == {(RGMANAGER, True)}
    foreign = {line.split()[0] for (_, line), why in BECAUSE.items() if why == "foreign"}
    assert foreign == set(FOREIGN)
