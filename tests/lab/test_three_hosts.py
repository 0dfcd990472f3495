"""The tutorial for three real hosts, typed into three hosts of a lab and a fourth that is nobody's: etcd, TLS and all.

What a lab has no systemd for is started by hand, as the page's own comments say; one host has that as written, in
tests/real/test_docs_three_hosts.py, and the package is tested elsewhere.
"""

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.bmc import FIRST_PORT, give_password, serve_bmc
from tests.lab.conftest import LabRun, running_lab, wait_until
from tests.support.bmc import options
from tests.support.doc_story import LOOK_S, ROOT, Told, is_shown, story
from vmha.lab.boxplan import HOME
from vmha.lab.guests import add_witness
from vmha.lab.layout import LabDir

pytestmark = pytest.mark.lab

ADMIN = "h4"
HOSTS = ("h1", "h2", "h3")
PLACES = {"admin": (ADMIN,), "each": HOSTS, "kvm1": ("h1",), "kvm2": ("h2",), "copy": (), "booted": ()}
ETCD = "set -a; . /etc/default/etcd; setsid etcd </dev/null >/run/etcd.log 2>&1 &"
START = f"""#!/bin/sh
setsid {sys.executable} -m vmha.fencing.guard --config /etc/vmha/vmha.toml </dev/null >/run/guard.log 2>&1 &
setsid {sys.executable} -m vmha agent --config /etc/vmha/vmha.toml </dev/null >/run/agent.log 2>&1 &
"""


@dataclass(kw_only=True)
class Site:
    """``kept``: what was exported in the shell of each host, which stays open for the page's reader.

    ``typed``: what prints nothing that the page shows; it is carried out with the next line that does.
    """

    lab: LabRun
    kept: dict[str, list[str]] = field(default_factory=dict)
    typed: dict[str, list[str]] = field(default_factory=dict)

    def type(self, told: Told, host: str) -> None:
        if told.line.startswith("export "):
            self.kept.setdefault(host, []).append(told.line.replace("n=1", f"n={host[-1]}"))
        elif told.only_looks:
            self.carry_out()

            def is_printed() -> bool:
                return is_shown(told.shown, self._run(host, told.line, code=None))

            wait_until(f"{told.line} prints {told.shown}", is_printed, LOOK_S)
        elif told.shown:
            self.carry_out()
            printed = self._run(host, told.line)
            assert is_shown(told.shown, printed), f"{told.line}: {told.shown}\n{printed}"
        else:
            self.typed.setdefault(host, []).append(told.line)

    def carry_out(self) -> None:
        for host, lines in self.typed.items():
            self._run(host, "\n".join(lines))
        self.typed.clear()

    def _run(self, host: str, script: str, code: int | None = 0) -> str:
        return self.lab.sh(host, "\n".join(["set -e", f"cd {HOME}", *self.kept.get(host, ()), script]), code=code)

    def home(self, host: str) -> Path:
        return LabDir(self.lab.path).node(host) / HOME[1:]

    def etc(self, host: str) -> Path:
        return self.lab.path / host / "etc"

    def come_back(self, host: str) -> None:
        """What systemd does at boot; a lab's own settings of vmha, written at each power-on, are not this host's."""
        wait_until(f"{host} is on", lambda: self.lab.node(host)["power"] == "on")
        shutil.copytree(self.kept_settings, self.etc(host) / "vmha", dirs_exist_ok=True)
        self._run(host, f"{ETCD}\n/etc/vmha/start")

    @property
    def kept_settings(self) -> Path:
        return self.lab.path / "settings-of-kvm1"

    def copy_over(self) -> None:
        """What the page's scp does."""
        for host in HOSTS:
            shutil.copy(self.home(ADMIN) / "to/peers.secret", self.home(host))
            for folder in self.home(ADMIN).glob(f"to/*-kvm{host[-1]}"):
                shutil.copytree(folder, self.home(host) / folder.name)


@pytest.fixture
def site() -> Iterator[Site]:
    for lab in running_lab("-n", "4"):
        site = Site(lab=lab)
        for host in HOSTS:
            etc = site.etc(host)
            for path in (etc / "vmha").iterdir():  # what a lab brings
                path.unlink()
            (etc / "default").mkdir(exist_ok=True)
            (etc / "etcd.example").write_text(here((ROOT / "deploy/etcd/etcd.default").read_text()))
            (etc / "vmha/start").write_text(START)
            (etc / "vmha/start").chmod(0o755)
        fence = {f"kvm{host[-1]}": board(serve_bmc(lab, host, on=ADMIN)) for host in HOSTS}
        for host in HOSTS:
            give_password(lab, host)
        nodes = [{"name": name, "fence": [device]} for name, device in fence.items()]
        (site.home(ADMIN) / "fence.yaml").write_text(yaml.safe_dump({"nodes": nodes}))
        (site.home(ADMIN) / "web.xml").write_text(add_witness(LabDir(lab.path), "web").xml)
        yield site


def board(port: int) -> dict[str, Any]:
    given = {**options(port), "ip": "10.97.0.4", "password_script": "/etc/vmha/bmc-password"}
    del given["password"]
    return {"agent": "fence_ipmilan", "options": given}


def here(text: str) -> str:
    """Addresses of the page's hosts are those of the lab's."""
    text = text.replace("10.0.0.1", "10.97.0.").replace(r"10\.0\.0\.11", r"10\.97\.0\.1")
    text = text.replace("--ip=10.0.9.11 ", f"--ip=10.97.0.4 --ipport={FIRST_PORT + 1} ")
    return text.replace("/usr/share/doc/vmha/examples/etcd.default", "/etc/etcd.example")


def test_three_hosts_become_a_cluster_and_one_of_them_is_lost_as_the_page_says(site: Site) -> None:
    page = here((ROOT / "docs/tutorial/three-hosts.md").read_text())
    for told in story(page):
        if told.not_run:
            continue
        for host in PLACES[told.on]:
            site.type(told, host)
        if told.on == "kvm1":
            shutil.copytree(site.etc("h1") / "vmha", site.kept_settings)
        if told.line.endswith("--action=on"):
            site.come_back("h1")
        if "cp -r pki/issued" in told.line:
            site.carry_out()
            site.copy_over()
    ticks = site.lab.verdict("web")["ticks"]
    wait_until("it ticks where it came to", lambda: site.lab.verdict("web")["ticks"] > ticks + 5)
    verdict = site.lab.verdict("web")
    assert (verdict["ran_twice"], verdict["migrations_survived"], verdict["boots"]) == (False, 3, 2), verdict
