"""The guard's lines read as the agent's do, though it may import nothing of what makes those."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import structlog

from vmha.fencing.guard import read_settings
from vmha.fencing.guard_log import LONGEST_VALUE, Form, cause_of_loss, form_of, logger, render
from vmha.model.ids import NodeName, SessionId
from vmha.node.logs import FORMS, processors
from vmha.policy.state.causes import of_loss

AT = 1_795_987_891.25
FIELDS: dict[str, Any] = {
    "cause": "lost-n1-4f2a9c",
    "session": "abc",
    "why": 'it said "no": a=b\\c\nand more',
    "pid": 7,
}


def as_the_agent(form: Form) -> str:
    """What the agent's renderer makes of the same fields."""
    last: Any = processors(form)[-1]
    line = {**FIELDS, "level": "warning", "event": "state changed", "timestamp": "2026-11-29T21:31:31.250000Z"}
    return str(last(structlog.get_logger(), "warning", line))


def test_a_line_is_the_agents_in_both_forms() -> None:
    assert sorted(Form) == sorted(FORMS)
    line = render("state changed", FIELDS, level="warning", at=AT, form=Form.JSON)
    assert json.loads(line) == json.loads(as_the_agent(Form.JSON))
    assert render("state changed", FIELDS, level="warning", at=AT, form=Form.LOGFMT) == as_the_agent(Form.LOGFMT)


def test_what_there_is_not_to_say_is_left_out() -> None:
    line = render("ended", {"cause": None, "why": "", "count": 0}, level="info", at=AT, form=Form.JSON)
    assert json.loads(line).keys() == {"timestamp", "level", "event", "count"}


def test_the_loss_of_a_session_is_named_as_the_leader_names_it() -> None:
    assert cause_of_loss("n1", "0123456789abcdef") == of_loss(NodeName("n1"), SessionId("0123456789abcdef"))


@pytest.mark.parametrize(("given", "form"), [('"logfmt"', Form.LOGFMT), ('"json"', Form.JSON), ('"xml"', Form.JSON)])
def test_form_is_the_nodes_and_none_keeps_the_guard_away(given: str, form: Form, tmp_path: Path) -> None:
    (tmp_path / "vmha.toml").write_text(f"log_format = {given}\n")
    assert read_settings(["--config", str(tmp_path / "vmha.toml")]).log_form is form
    assert form_of(None) is Form.JSON


def test_a_pipe_that_nobody_reads_holds_nothing_up() -> None:
    readable, writable = os.pipe()
    try:
        log = logger(writable, Form.JSON)
        for _ in range(200):  # more than a pipe holds
            log("state changed", why="x" * 2 * LONGEST_VALUE)
        first = os.read(readable, 4096).split(b"\n")[0]
        assert len(json.loads(first)["why"]) == LONGEST_VALUE
    finally:
        os.close(readable)
        os.close(writable)


def test_nobody_listening_is_nothing_to_die_of() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    logger(writable, Form.JSON)("ended")
    os.close(writable)
