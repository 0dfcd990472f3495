"""What the cluster does, a sentence each: the scenarios of docs/examples/sim, played by the real agents and leader."""

from functools import cache
from pathlib import Path

import pytest

from vmha.sim.play import Played, play
from vmha.sim.quiet import silence_logs
from vmha.sim.report import GapLine, Report, report_on
from vmha.sim.scenario_file import load_scenario

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "sim"
HANDOVER_S = 0.01


@cache
def played(name: str) -> tuple[Played, Report]:
    silence_logs()
    file = EXAMPLES / f"{name}.yaml"
    done = play(load_scenario(file.read_text(), file=str(file)))
    return done, report_on(done)


def report(name: str) -> Report:
    return played(name)[1]


def ends_on(name: str, vm: str) -> str | None:
    return next(line.node for line in report(name).vms if line.name == vm)


def moves(name: str, vm: str) -> list[tuple[str, str | None]]:
    return [(move.what, move.to) for move in report(name).moves[vm] if move.what != "waits"]


def gaps(name: str, vm: str) -> list[GapLine]:
    """Those that a user would notice."""
    return [gap for gap in report(name).gaps if gap.vm == vm and gap.seconds > HANDOVER_S]


def kinds(name: str) -> list[str]:
    return [line.kind for line in report(name).journal]


@pytest.mark.parametrize("name", sorted(file.stem for file in EXAMPLES.glob("*.yaml")))
def test_every_example_keeps_the_invariants_and_comes_to_rest(name: str) -> None:
    verdict = report(name).verdict
    assert verdict.holds, verdict
    assert verdict.restless == ""


def test_lost_node_has_its_vms_recovered_and_the_one_that_prefers_it_comes_home_by_migration() -> None:
    assert moves("lost-node", "web") == [("start", "n1"), ("start", "n2"), ("migrate", "n1"), ("handed over", "n1")]
    assert ends_on("lost-node", "web") == "n1"
    (gap,) = gaps("lost-node", "web")
    assert (gap.host_before, gap.host_after) == ("n1", "n2")


def test_lost_node_is_not_taken_over_before_its_guard_must_have_acted() -> None:
    (gap,) = gaps("lost-node", "web")
    timing = played("lost-node")[0].scenario.config.clockwork
    assert gap.seconds >= timing.dead_after_s - timing.beat_s


def test_power_switch_that_answers_makes_recovery_wait_for_no_deadline() -> None:
    name = "lost-node-with-power-switch"
    assert ends_on(name, "web") == "n2"
    assert gaps(name, "web")[0].seconds < played(name)[0].scenario.config.clockwork.dead_after_s
    assert "power_off_confirmed" in next(move.text for move in report(name).moves["web"] if move.to == "n2")


def test_node_that_reboots_quickly_answers_for_its_own_guests() -> None:
    assert moves("quick-reboot", "web") == [("start", "n1"), ("start", "n1")]
    assert "released" in report("quick-reboot").moves["web"][-1].text


def test_cut_node_ends_its_guests_before_others_start_them_and_gets_them_back_when_healed() -> None:
    history = [fact for fact in played("network-cut")[0].history if fact.vm == "web"]
    ended = next(fact.time for fact in history if fact.host == "n1" and fact.deed == "ends")
    started = next(fact.time for fact in history if fact.host == "n2" and fact.deed == "runs")
    assert ended < started
    assert ends_on("network-cut", "web") == "n1"


def test_cut_shorter_than_the_suspicion_moves_nothing() -> None:
    assert moves("short-network-cut", "web") == [("start", "n1")]
    assert gaps("short-network-cut", "web") == []


def test_leaders_own_host_is_lost_and_another_leads_on() -> None:
    recovery = next(line for line in report("leaders-host-lost").journal if line.kind == "recover")
    assert recovery.by != "n1"
    assert ends_on("leaders-host-lost", "web") == "n3"
    assert gaps("leaders-host-lost", "db") == []


def test_preferred_node_that_joins_gets_its_vm_by_live_migration() -> None:
    assert moves("failback", "web") == [("start", "n2"), ("migrate", "n1"), ("handed over", "n1")]
    assert gaps("failback", "web") == []


def test_nofailback_keeps_the_vm_where_it_runs() -> None:
    assert ends_on("nofailback", "web") == "n2"
    assert moves("nofailback", "web") == [("start", "n1"), ("start", "n2")]


def test_restricted_vm_without_a_node_waits_and_says_what_each_node_says() -> None:
    (blocked,) = report("restricted-without-node").verdict.blocked
    assert blocked.vm == "oracle"
    assert "n1 is offline" in blocked.reason
    assert "n2 is not in the restricted failover domain licensed" in blocked.reason


def test_drained_node_sends_its_vms_away_without_stopping_them() -> None:
    assert [what for what, _ in moves("drain", "db")] == ["adopted", "migrate", "handed over"]
    assert gaps("drain", "db") == []
    assert gaps("drain", "web") == []


def test_undrained_node_gets_back_only_the_vm_that_prefers_it() -> None:
    assert ends_on("drain", "web") == "n1"
    assert ends_on("drain", "db") != "n1"


def test_vm_that_can_not_start_on_one_node_is_started_on_the_next() -> None:
    assert moves("failing-start", "web") == [("start", "n1"), ("ended (start_failed)", None), ("start", "n2")]
    refusals = dict(report("failing-start").moves["web"][-1].refusals)
    assert "no such disk" in refusals["n1"]


def test_failed_migration_leaves_the_vm_running_where_it_was() -> None:
    assert moves("failing-migration", "web")[-1] == ("stays", "n1")
    assert ends_on("failing-migration", "web") == "n1"
    assert gaps("failing-migration", "web") == []
    assert report("failing-migration").steps[0]["result"].startswith("failed: web stays on n1")


def test_crashed_vm_is_restarted_on_its_own_node() -> None:
    assert moves("crash-restarts-in-place", "web")[-1] == ("start", "n2")
    assert gaps("crash-restarts-in-place", "web")[0].seconds < 1.0


def test_crashed_vm_with_recovery_relocate_is_started_elsewhere() -> None:
    assert ends_on("crash-relocates", "web") != "n2"


def test_crashed_vm_with_recovery_disable_stays_down_until_enabled() -> None:
    steps = report("crash-disables").steps
    assert "disabled" in steps[1]["result"]
    (gap,) = gaps("crash-disables", "web")
    assert gap.until_s is not None
    assert gap.until_s > steps[2]["at_s"]


def test_hand_made_migration_to_a_member_is_adopted_and_not_undone() -> None:
    assert moves("hand-migration-adopted", "web")[-1] == ("adopted", "n2")
    assert ends_on("hand-migration-adopted", "web") == "n2"
    assert gaps("hand-migration-adopted", "web") == []


def test_vm_that_was_migrated_out_of_the_cluster_is_never_started_again_by_it() -> None:
    assert ends_on("hand-migration-out", "web") == "elsewhere"
    line = next(line for line in report("hand-migration-out").vms if line.name == "web")
    assert (line.state, line.epoch) == ("departed", 1)


def test_graceful_shutdown_moves_the_vms_first_and_nobody_is_fenced() -> None:
    assert ends_on("graceful-shutdown", "web") == "n2"
    assert gaps("graceful-shutdown", "web") == []
    assert "fenced" not in kinds("graceful-shutdown")


def test_etcd_outage_shorter_than_the_hold_touches_nothing() -> None:
    for vm in ("web", "db"):
        assert moves("short-etcd-outage", vm)[1:] == []
        assert gaps("short-etcd-outage", vm) == []


def test_etcd_outage_longer_than_the_hold_ends_the_guests_and_brings_them_back() -> None:
    outage_begins_s, outage_ends_s = 10.0, 40.0
    hold_s = played("long-etcd-outage")[0].scenario.config.clockwork.hold_s
    for vm in ("web", "db"):
        (gap,) = gaps("long-etcd-outage", vm)
        assert gap.until_s is not None
        assert outage_begins_s < gap.from_s <= outage_begins_s + hold_s
        assert gap.until_s > outage_ends_s


def test_frozen_host_is_reset_by_its_watchdog_before_its_vm_runs_elsewhere() -> None:
    done, _ = played("frozen-host")
    history = [fact for fact in done.history if fact.vm == "web"]
    ended = next(fact.time for fact in history if fact.host == "n1" and fact.deed == "ends")
    assert ended < next(fact.time for fact in history if fact.host == "n2" and fact.deed == "runs")
    assert ends_on("frozen-host", "web") == "n1"


def test_every_move_names_a_node_of_its_scenario() -> None:
    for file in EXAMPLES.glob("*.yaml"):
        nodes = {node.name for node in played(file.stem)[0].scenario.nodes}
        for line in report(file.stem).moves.values():
            assert {move.to for move in line} - {None} <= nodes


def test_for_a_lost_vm_that_fits_nowhere_one_that_runs_is_moved_and_keeps_running() -> None:
    assert moves("make-room", "mail")[1:] == [("migrate", "n2"), ("handed over", "n2")]
    assert moves("make-room", "db")[-1] == ("start", "n3")
    assert (gaps("make-room", "mail"), gaps("make-room", "web")) == ([], [])
    texts = [line.text for line in report("make-room").journal]
    assert "moved to n2 to make room for db on n3" in texts
    assert "room is made for it on n3: mail moves to n2" in texts
    assert any(text.endswith("; mail made room for it") for text in texts)
