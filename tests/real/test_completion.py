"""The tab key in real shells, against a real etcd: the names that exist are completed, whatever the shell.

Some two seconds each, most of it the interpreter's start.
"""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import RealEtcd
from vmha.cli.main import run

pytestmark = pytest.mark.real

DEADLINE_S = 60.0
CLUSTER = "tab"
DOCUMENT = """\
nodes: [{name: kvm-berlin}, {name: kvm-lyon}]
failover_domains: [{name: near, members: [{node: kvm-lyon}]}]
vms:
  - {name: "db:main", uuid: 11111111-1111-4111-8111-111111111111, memory_mib: 64, definition: {path: [/db]}}
  - {name: webshop, uuid: 22222222-2222-4222-8222-222222222222, memory_mib: 64, definition: {path: [/web]}}
services: [{name: shop, members: [webshop]}]
rules: [{name: apart-always, apart: [webshop, "db:main"]}]
"""
STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
SET_UP = {
    "bash": "PS1='%%> '; source {script}",
    "zsh": "PS1='%%> '; unsetopt zle_bracketed_paste; autoload -U compinit; compinit -u -D; source {script}",
}


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("completion")
    with RealEtcd() as etcd:
        env = {
            **{name: value for name, value in os.environ.items() if name in ("HOME", "LANG")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TERM": "dumb",
            "VMHA_ENDPOINTS": etcd.endpoints[0],
            "VMHA_CLUSTER": CLUSTER,
            "FOLDER": str(folder),
        }
        document = folder / "cluster.yaml"
        document.write_text(DOCUMENT)
        assert run(["--endpoints", etcd.endpoints[0], "--cluster", CLUSTER, "apply", str(document)]) == 0
        for shell in ("bash", "zsh", "fish"):
            said = subprocess.run(["vmha", "completion", shell], env=env, capture_output=True, check=True)
            (folder / f"vmha.{shell}").write_bytes(said.stdout)
        yield env


def type_into(shell: str, env: dict[str, str], keys: str, *, until: str) -> str:
    """What an interactive shell shows after ``keys``. Ends when ``until`` is among it."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(STARTS[shell][0], STARTS[shell], env)
    shown = ""
    end_at = time.monotonic() + DEADLINE_S  # noqa: TID251 (a real shell's time)

    def read_until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            left_s = end_at - time.monotonic()  # noqa: TID251
            assert left_s > 0, f"{text!r} is not shown: {shown!r}"
            if select.select([master], [], [], left_s)[0]:
                shown += os.read(master, 4096).decode(errors="replace")

    try:
        os.write(master, (SET_UP[shell].format(script=f"{env['FOLDER']}/vmha.{shell}") + "; echo re''ady\n").encode())
        read_until("ready\r\n")
        shown = ""
        os.write(master, keys.encode())
        read_until(until)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(master)
    return shown


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(
    ("keys", "until"),
    [
        ("vmha vm start we\t", "webshop"),
        ("vmha vm start db:m\t", "db:main"),
        ("vmha vm migrate webshop --to kvm-l\t", "kvm-lyon"),
        ("vmha node drain kvm-b\t", "kvm-berlin"),
        ("vmha service stop s\t", "shop"),
        ("vmha rule show ap\t", "apart-always"),
    ],
)
def test_a_name_that_exists_is_completed(shell: str, keys: str, until: str, env: dict[str, str]) -> None:
    type_into(shell, env, keys, until=until)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("vmha vm start w", ["webshop"]),
        ("vmha vm start ", ["db:main", "webshop"]),
        ("vmha vm migrate webshop --to ", ["kvm-berlin", "kvm-lyon"]),
        ("vmha domain remove ", ["near"]),
        ("vmha vm edit webshop --failover-domain=", ["--failover-domain=near"]),
    ],
)
def test_fish_offers_the_names_that_exist(line: str, offered: list[str], env: dict[str, str]) -> None:
    script = f"source {env['FOLDER']}/vmha.fish; complete --do-complete '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], env=env, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert [found.partition("\t")[0] for found in done.stdout.splitlines()] == offered, done.stderr
