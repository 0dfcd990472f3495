"""No command of a page is forgotten: it is played by a test that is named here, or its page says why it is not.

The commands of all are parsed, those of vmha by its command line (test_docs_commands.py), the others by a shell.
"""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.doc_story import MARKER, PAGES, PLACE, PROMPT, ROOT, story_with_lists

STORIES, VERBS = "tests/lab/test_docs_stories.py", "tests/real/test_docs_verbs.py"
TYPED, COPY = "tests/unit/test_docs_typed.py", "tests/compose/test_docs_install.py"
SERVICES = "tests/real/test_docs_services.py"
SEEN_FROM_A_DESK = "test_dashboard_is_begun_by_hand_and_seen_from_a_desk_as_its_page_says"
BEGUN = "test_guard_and_agent_are_begun_where_other_software_was"
PLAYED: dict[tuple[str, str], str] = {
    ("README.md", ""): f"{TYPED}::test_simulations_go_as_the_readme_says",
    ("README.md", "cluster"): f"{VERBS}::test_verbs_of_the_pages_do_at_a_cluster_what_they_say",
    ("docs/explanation/planner.md", ""): (
        "tests/unit/test_doc_story.py::test_worked_example_of_the_planner_goes_as_its_page_says"
    ),
    ("docs/explanation/planner.md", "cluster"): f"{VERBS}::test_verbs_of_the_pages_do_at_a_cluster_what_they_say",
    ("docs/howto/dashboard.md", ""): f"{TYPED}::test_users_of_the_dashboard_come_and_go_as_the_page_says",
    ("docs/howto/dashboard.md", "authority"): (
        f"{TYPED}::test_certificates_of_a_host_with_a_dashboard_are_issued_as_the_page_says"
    ),
    ("docs/howto/dashboard.md", "desk"): f"{SERVICES}::{SEEN_FROM_A_DESK}",
    ("docs/howto/dashboard.md", "host"): f"{SERVICES}::test_dashboard_becomes_a_service_as_its_page_says",
    ("docs/howto/dashboard.md", "kvm1"): f"{SERVICES}::{SEEN_FROM_A_DESK}",
    ("docs/howto/disaster-recovery.md", ""): (
        f"{STORIES}::test_disaster_recovery_goes_as_it_says_and_no_guest_notices"
    ),
    ("docs/howto/disaster-recovery.md", "host"): (
        f"{SERVICES}::test_etcd_is_restored_from_a_snapshot_as_its_page_says"
    ),
    ("docs/howto/fencing-with-ipmi.md", ""): (
        "tests/lab/test_cluster_fence.py::test_page_on_ipmi_goes_as_it_says_and_the_board_cuts_the_power"
    ),
    ("docs/howto/from-pacemaker.md", ""): (
        "tests/real/test_from_pacemaker.py::test_pacemaker_in_maintenance_mode_leaves_its_guests_alone_when_it_stops"
    ),
    ("docs/howto/from-pacemaker.md", "host"): f"{SERVICES}::{BEGUN}",
    ("docs/howto/from-pacemaker.md", "vmha"): f"{VERBS}::test_verbs_of_the_pages_do_at_a_cluster_what_they_say",
    ("docs/howto/from-rgmanager.md", ""): "tests/real/test_rgmanager.py::test_change_over_goes_as_its_page_says",
    ("docs/howto/from-rgmanager.md", "host"): f"{SERVICES}::{BEGUN}",
    ("docs/howto/from-rgmanager.md", "libvirt"): f"{SERVICES}::test_autostart_mark_is_taken_off_as_the_page_says",
    ("docs/howto/migration-transports.md", "tcp"): (
        f"{SERVICES}::test_libvirtd_listens_for_migrations_by_tcp_as_the_page_says"
    ),
    ("docs/howto/migration-transports.md", "tls"): (
        f"{SERVICES}::test_libvirtd_lets_hosts_alone_in_by_tls_as_the_page_says"
    ),
    ("docs/howto/tls.md", ""): f"{TYPED}::test_certificates_are_made_and_the_authority_is_changed_as_the_page_says",
    ("docs/howto/two-hosts-and-a-witness.md", ""): f"{VERBS}::test_verbs_of_the_pages_do_at_a_cluster_what_they_say",
    ("docs/howto/upgrade.md", ""): f"{VERBS}::test_verbs_of_the_pages_do_at_a_cluster_what_they_say",
    ("docs/howto/upgrade.md", "host"): (
        f"{SERVICES}::test_agent_that_is_restarted_after_an_upgrade_takes_its_session_up_again"
    ),
    ("docs/install.md", "copy"): (
        "tests/real/test_docs_packages.py::test_environment_is_mended_in_a_copy_of_the_checkout_as_the_page_says"
    ),
    ("docs/install.md", "host"): f"{SERVICES}::test_host_is_set_up_by_hand_as_the_page_says",
    ("docs/reference/api.md", ""): f"{TYPED}::test_token_is_made_as_the_page_says",
    ("docs/reference/api.md", "host"): f"{SERVICES}::test_program_asks_with_a_token_as_the_page_says",
    ("docs/tutorial/first-failover.md", ""): f"{STORIES}::test_tutorial_goes_as_it_says",
    ("docs/tutorial/three-hosts.md", "booted"): (
        "tests/real/test_docs_three_hosts.py::test_units_of_a_host_are_set_up_as_the_tutorial_writes_it"
    ),
    ("docs/tutorial/three-hosts.md", "copy"): f"{COPY}::test_package_is_installed_as_the_tutorial_says",
} | {
    ("docs/tutorial/three-hosts.md", place): (
        "tests/lab/test_three_hosts.py::test_three_hosts_become_a_cluster_and_one_of_them_is_lost_as_the_page_says"
    )
    for place in ("admin", "each", "kvm1", "kvm2")
}
"""Of a page, and of the place on it, who types its commands."""


@dataclass(kw_only=True)
class Block:
    """``at``: the line where it begins. ``why_not``: it is not run."""

    at: int
    on: str
    why_not: str
    lines: list[str] = field(default_factory=list)

    @property
    def has_commands(self) -> bool:
        return any(PROMPT.fullmatch(line) for line in self.lines)


def blocks(text: str) -> list[Block]:
    """The fenced ones, also those within lists."""
    found: list[Block] = []
    before: list[str] = []
    is_inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip()
        if bare.startswith("```"):
            if not is_inside:
                told = {one[1]: one[2] for mark in before if (one := MARKER.fullmatch(mark))}
                on = next((one[1] for mark in before if (one := PLACE.fullmatch(mark))), "")
                found.append(Block(at=number, on=on, why_not=told.get("not run", "")))
            is_inside, before = not is_inside, []
        elif is_inside:
            found[-1].lines.append(bare)
        else:
            before = [*before, bare] if bare.startswith("<!--") else []
    return found


def forgotten(page: str, text: str) -> list[str]:
    return [
        f"{page}:{block.at}: {block.lines[0]}"
        for block in blocks(text)
        if block.has_commands and not block.why_not and (page, block.on) not in PLAYED
    ]


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_are_played_or_it_says_why_not(page: str) -> None:
    assert forgotten(page, (ROOT / page).read_text()) == []


def test_block_that_nobody_plays_is_found() -> None:
    block = "```console\n$ vmha status\n```\n"
    assert forgotten("docs/new.md", block) == ["docs/new.md:1: $ vmha status"]
    assert forgotten("docs/new.md", f"1. So:\n\n   {block}") != []
    assert forgotten("docs/new.md", f"<!-- not run: it asks a cluster -->\n{block}") == []
    assert forgotten("docs/new.md", f"<!-- on: there -->\n{block}") != []
    assert forgotten("docs/new.md", block.replace("console", "")) != [], "whatever it is called"


def test_tests_that_play_pages_exist_and_each_has_something_to_play() -> None:
    for (page, on), test in PLAYED.items():
        file, _, name = test.partition("::")
        source = (ROOT / file).read_text()
        assert Path(page).name in source, f"{file} does not read {page}"
        assert re.search(rf"^(async )?def {name or 'test_'}", source, re.MULTILINE), test
        played = [block for block in blocks((ROOT / page).read_text()) if block.on == on and not block.why_not]
        assert any(block.has_commands for block in played), (page, on)


def test_what_is_not_ours_is_what_a_shell_reads() -> None:
    """All of a page's commands, also those that are not run."""
    wrong = {}
    for page in PAGES:
        typed = [told.line for told in story_with_lists((ROOT / page).read_text())]
        done = subprocess.run(
            ["bash", "-n"], input="\n".join(typed), capture_output=True, text=True, check=False, timeout=30
        )
        if done.returncode:
            wrong[page] = done.stderr
    assert wrong == {}
