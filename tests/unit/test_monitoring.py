"""Alert rules and the board: every metric in them is one that an agent gives, every query parses, every alert works."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from vmha.cli.root import app
from vmha.node.metric_names import METRICS, Kind

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/vmha-rules.yml"
RULES_TEST = DEPLOY / "prometheus/vmha-rules-test.yml"
BOARD = DEPLOY / "grafana/vmha.json"
TIMEOUT_S = 120

ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
GRAFANA_WORDS = {"$__rate_interval": "1m", "$job": "vmha"}


def board_queries() -> list[str]:
    panels = json.loads(BOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def scraped_names() -> set[str]:
    found = set()
    for one in METRICS.values():
        parts = ("_bucket", "_sum", "_count") if one.kind is Kind.HISTOGRAM else ("",)
        found |= {one.name + part for part in parts}
    return found


def promtool(*args: str) -> str:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_accepts_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))


def test_each_alert_is_raised_when_it_should_and_only_then() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(RULES_TEST))


def test_each_alert_has_a_case_in_which_it_is_raised_and_one_in_which_it_is_not() -> None:
    cases = [each for test in yaml.safe_load(RULES_TEST.read_text())["tests"] for each in test["alert_rule_test"]]
    loud = {case["alertname"] for case in cases if case["exp_alerts"]}
    quiet = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert loud == quiet == {alert["alert"] for alert in ALERTS}


@pytest.mark.parametrize("query", sorted({*board_queries(), *(alert["expr"] for alert in ALERTS)}))
def test_every_metric_that_is_asked_for_exists_with_the_labels_it_is_asked_by(query: str) -> None:
    names = set(re.findall(r"\bvmha_[a-z_]+", query))
    assert names - scraped_names() == set()
    for name, matchers in re.findall(r"\b(vmha_[a-z_]+)\{([^}]*)\}", query):
        about = METRICS[re.sub(r"_(bucket|sum|count)$", "", name) if name not in METRICS else name]
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert asked <= {*about.labels, "job", "instance"}, name


def test_every_query_of_the_board_parses(tmp_path: Path) -> None:
    """As the expression of a rule, for that is what promtool reads."""
    queries = board_queries()
    assert len(queries) > 20
    for word, value in GRAFANA_WORDS.items():
        queries = [query.replace(word, value) for query in queries]
    rules = [{"record": f"board:query{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))


def test_the_boards_panels_lie_beside_each_other_and_none_is_named_twice() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        mine = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not mine & taken, panel["title"]
        taken |= mine


def test_every_metric_is_in_an_alert_or_on_the_board_or_explains_one_that_is() -> None:
    shown = " ".join([*board_queries(), *(alert["expr"] for alert in ALERTS)])
    left = {name for name in METRICS if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", shown)}
    assert left == {"vmha_agent_info", "vmha_lease_age_seconds", "vmha_leader_known", "vmha_node_loss_unknown_nodes"}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_every_command_that_an_alert_advises_exists(alert: dict[str, Any]) -> None:
    for line in re.findall(r"'vmha ([^']+)'", " ".join(alert["annotations"].values())):
        group: Any = typer.main.get_command(app)
        for word in line.split():
            if getattr(group, "commands", None) is None or not re.fullmatch(r"[a-z-]+", word):
                break
            group = group.get_command(None, word)
            assert group is not None, line
