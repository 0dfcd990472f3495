"""The way from Pacemaker, as far as it goes without one: the page's commands, on a cluster that is a file.

Pacemaker's own scheduler says what would become of the guests.
"""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.doc_story import ROOT, code_blocks, play
from tests.unit.operator.cluster import xml_of
from vmha.operator.document import load_document

pytestmark = pytest.mark.real

PAGE = (ROOT / "docs/howto/from-pacemaker.md").read_text()


@pytest.fixture
def cib(tmp_path: Path) -> Path:
    """Two nodes, and ``web`` runs at home, on kvm1."""
    running = tmp_path / "cib.xml"
    made = ROOT / "tests/data/pacemaker/cib.xml"
    nodes = ["--node-up", "kvm1", "--node-up", "kvm2"]
    simulate(made, *nodes, "--simulate", "--save-output", str(running))
    assert "web" in simulate(running)
    assert "Started kvm1" in simulate(running)
    return running


def simulate(cib: Path, *words: str) -> str:
    command = ["crm_simulate", "--xml-file", str(cib), *words]
    env = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


def planned(cib: Path) -> list[str]:
    """What Pacemaker would do with resources."""
    said = simulate(cib, "--simulate")
    return said.split("Transition Summary:")[1].split("Executing Cluster Transition:")[0].split("\n* ")[0].split()


def test_pacemaker_in_maintenance_mode_leaves_its_guests_alone_when_it_stops(cib: Path, tmp_path: Path) -> None:
    settings = {"CIB_file": str(cib), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    played = [line for line, _ in play(PAGE, environment=settings, directory=tmp_path)]
    assert "crm_attribute --name maintenance-mode --update true" in played
    assert "crm_simulate --simulate --live-check" in played
    assert "--name shutdown" in played[-1]
    assert planned(cib) == []
    assert "Started kvm1 (unmanaged)" in simulate(cib)


def test_without_it_a_host_that_stops_pacemaker_loses_its_guests(cib: Path) -> None:
    """Or the test before this one would show nothing."""
    command = "crm_attribute --node kvm1 --name shutdown --lifetime reboot --update 1"
    env = {"CIB_file": str(cib), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    subprocess.run(command.split(), env=env, check=True, timeout=60)
    assert {"web", "kvm1", "kvm2"} <= set(planned(cib))


def test_document_that_takes_the_place_of_the_constraints_is_one(tmp_path: Path) -> None:
    (text,) = code_blocks(PAGE, "yaml")
    (tmp_path / "web.xml").write_text(xml_of("web"))
    loaded = load_document(text, file="vmha.yaml", base=tmp_path)
    assert [vm.name for vm in loaded.document.vms or ()] == ["web"]
