"""A large cluster on a screen: what needs attention and what was asked for; in a pipe and for programs everything."""

import json
from dataclasses import replace

import pytest

from tests.unit.cli.test_output import PIPED, SHOWN, node, vm
from vmha.cli.chosen import NODES_AT_MOST, VMS_AT_MOST, Chosen, pick
from vmha.cli.output import LONG, Screen, in_lines
from vmha.cli.status_view import WARNINGS_AT_MOST, render
from vmha.operator.errors import UnknownName
from vmha.policy.members.membership import Condition
from vmha.policy.telling.explain import VmState

ON_SCREEN = Screen(colour=False, width=160)
LARGE = replace(
    SHOWN,
    nodes=tuple(
        node(f"h{number}", **({"condition": Condition.SUSPECT, "why_not": "is silent"} if number == 7 else {}))
        for number in range(500)
    ),
    vms=(
        *(vm(f"web-{number}", VmState.RUNNING, f"h{number % 500}", "as wanted") for number in range(10_000)),
        vm("db", VmState.WAITING, None, "no node can take it"),
        replace(vm("mail", VmState.RUNNING, "h3", "as wanted"), frozen="alice"),
    ),
    warnings=tuple(f"trouble {number}" for number in range(300)),
)


def rows(lines: list[str]) -> list[str]:
    first = [line.split()[0] for line in lines if line.strip()]
    return [name for name in first if name.startswith(("h", "web", "db", "mail"))]


def test_screen_shows_what_is_not_as_it_should_be_and_how_to_see_the_rest() -> None:
    lines = render(LARGE, ON_SCREEN)
    assert rows(lines) == ["h7", "db", "mail"]
    text = "\n".join(lines)
    assert "nodes: 499 of 500 online; vms: 10001 running, 1 waiting" in text
    assert "... and 499 nodes of which there is nothing to say (--all, --node NODE)" in text
    assert "... and 10000 vms of which there is nothing to say (--all, --node NODE, --state STATE)" in text
    assert f"... and {300 - WARNINGS_AT_MOST} more (--all)" in text


def test_pipe_and_all_show_every_line() -> None:
    assert len(rows(render(LARGE, PIPED))) == len(rows(render(LARGE, ON_SCREEN, chosen=Chosen(every=True)))) == 10_502


def test_what_was_asked_for_is_shown_in_full_on_a_screen_too() -> None:
    of_a_node = rows(render(LARGE, ON_SCREEN, chosen=Chosen(nodes=("h3",))))
    assert of_a_node == ["h3", *(f"web-{number}" for number in range(3, 10_000, 500)), "mail"]
    waiting = render(LARGE, ON_SCREEN, chosen=Chosen(states=("waiting",)))
    assert rows(waiting) == ["h7", "db"]
    both = render(LARGE, ON_SCREEN, chosen=Chosen(nodes=("h3",), states=("waiting",)))
    assert both[-1] == "No vm is there in such a state."
    assert len(pick(LARGE, Chosen(states=("running",)), ON_SCREEN).vms) == 10_001


def test_more_trouble_than_a_screen_takes_is_counted() -> None:
    ill = tuple(replace(one, state=VmState.WAITING) for one in LARGE.vms)
    part = pick(replace(LARGE, vms=ill), Chosen(), ON_SCREEN)
    assert len(part.vms) == VMS_AT_MOST
    assert f"{len(ill) - VMS_AT_MOST} more vms that are not as they should be" in part.of_vms


def test_small_cluster_is_shown_as_it_is() -> None:
    assert pick(SHOWN, Chosen(), ON_SCREEN).vms == SHOWN.vms
    few = LARGE.nodes[:NODES_AT_MOST]
    assert pick(replace(SHOWN, nodes=few), Chosen(), ON_SCREEN).nodes == few


def test_node_that_is_not_there_is_refused_with_the_near_names() -> None:
    with pytest.raises(UnknownName, match="did you mean"):
        pick(LARGE, Chosen(nodes=("h4999",)), ON_SCREEN)


@pytest.mark.parametrize("size", [0, 2, LONG + 1])
def test_json_of_any_length_is_the_same_for_programs(size: int) -> None:
    many = [{"n": n, "of": ["ü", None]} for n in range(size)]
    value = {"name": "x\ny", "list": many, "map": {str(n): n for n in range(size)}}
    assert json.loads(in_lines(value)) == value
    assert json.loads(in_lines(value["list"])) == value["list"]
    lines = in_lines(value).splitlines()
    assert len(lines) < 2 * size + 20 or size < LONG
