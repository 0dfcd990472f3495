"""From RGManager's cluster.conf to a cluster in a real etcd, and RGManager's commands on it, as processes."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from tests.support.doc_story import ROOT, play
from tests.support.etcd import RealEtcd

pytestmark = pytest.mark.real

SAMPLE = Path(__file__).parents[1] / "data/rgmanager/vmfarm.cluster.conf"
VMS = ("db1", "web1", "build1", "gpu1", "appl1")
PROGRAMS = {"vmha": "vmha.cli.main", "clusvcadm": "vmha.cli.clusvcadm", "clustat": "vmha.cli.clustat"}
DEADLINE_S = 60.0


def put_definitions(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for name in VMS:
        xml = f"<domain type='kvm'>\n  <name>{name}</name>\n  <memory unit='MiB'>64</memory>\n</domain>\n"
        (folder / f"{name}.xml").write_text(xml)


def test_an_old_cluster_is_imported_applied_and_asked_by_old_scripts(tmp_path: Path) -> None:
    document = tmp_path / "vmha.yaml"
    put_definitions(tmp_path)
    with RealEtcd() as etcd:
        environ = {**os.environ, "VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": "vmfarm"}

        def call(program: str, *args: str | Path) -> subprocess.CompletedProcess[str]:
            code = f"import sys; sys.argv[0] = {program!r}; from {PROGRAMS[program]} import main; main()"
            command = [sys.executable, "-c", code, *map(str, args)]
            return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

        made = call("vmha", "import", SAMPLE, "--xml-dir", tmp_path, "-o", document)
        assert (made.returncode, made.stderr) == (0, "")
        dry = call("vmha", "apply", document, "--dry-run")
        assert (dry.returncode, "12 created" in dry.stdout) == (0, True), dry
        assert call("vmha", "apply", document).returncode == 0

        root = fromstring(call("clustat", "-x").stdout)
        groups = {group.attrib["name"]: group.attrib["state_str"] for group in root.iter("group")}
        named = [*(f"vm:{name}" for name in VMS), "service:appliance"]
        assert groups == dict.fromkeys(named, "stopped")  # adding a vm starts nothing
        assert [node.attrib["state"] for node in root.iter("node")] == ["0", "0", "0"]

        off = call("clusvcadm", "-d", "vm:db1")
        assert (off.returncode, off.stdout) == (0, "Local machine disabling vm:db1...Success\n")
        assert call("clustat", "-s", "vm:db1").returncode == 119
        etcd.freeze(0)
        assert call("clusvcadm", "-e", "vm:web1").stdout == "Could not connect to cluster service\n"
        assert call("clustat", "-Q").returncode == 1
        etcd.thaw(0)


def test_change_over_goes_as_its_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/howto/from-rgmanager.md").read_text().replace("/etc/cluster/cluster.conf", str(SAMPLE))
    put_definitions(tmp_path / "definitions")
    with RealEtcd() as etcd:
        environment = {"VMHA_ENDPOINTS": etcd.endpoints[0], "VMHA_CLUSTER": "vmfarm"}
        played = dict(play(page, environment=environment, directory=tmp_path, in_process=True))
    assert "12 created" in played["vmha apply vmha.yaml --dry-run"]
    programs = re.findall(r"passwd_script: (\S+)", (tmp_path / "vmha.yaml").read_text())
    assert len(programs) == 3
    for program in programs:
        on_a_node = f"{tmp_path}/kvm2{program}"
        assert subprocess.run([on_a_node], capture_output=True, text=True, timeout=30, check=True).stdout == "x\n"
    assert "5 stopped" in played["vmha status"]
