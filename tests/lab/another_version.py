"""Another version of vmha on hosts of the lab: its source, patched, bound over the one that the agent starts from.

It says that it is 0.2.0 and reads schema 2, and it writes a field into two records that this version does not know.
"""

import compileall
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import vmha
from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from vmha.lab.layout import LabDir

VERSION, SCHEMA, FIELD = "0.2.0", 2, "of_another_version"

SOURCE = Path(vmha.__file__).resolve().parent
_INSIDE = "/var/lib/another-version"

_PATCHES = {
    "__init__.py": ((f'__version__ = "{vmha.__version__}"', f'__version__ = "{VERSION}"'),),
    "model/schema.py": (("\nNEWEST = 1\n", f"\nNEWEST = {SCHEMA}\n"),),
    "model/records.py": (
        ("    left_overs: tuple[LeftOver", f'    {FIELD}: str = "yes"\n    left_overs: tuple[LeftOver'),
        ("    saved: SavedImage | None", f'    {FIELD}: str = "yes"\n    saved: SavedImage | None'),
    ),
}


@dataclass(frozen=True, kw_only=True)
class AnotherVersion:
    cluster: Cluster

    def prepare(self, *hosts: str) -> None:
        """Copies of it, compiled, on the hosts' own disks."""
        lab = self.cluster.lab.path
        made = lab.parent / "another-version"
        shutil.copytree(SOURCE, made, ignore=shutil.ignore_patterns("__pycache__"))
        for name, patches in _PATCHES.items():
            text = (made / name).read_text()
            for old, new in patches:
                assert text.count(old) == 1, (name, old)
                text = text.replace(old, new)
            (made / name).write_text(text)
        compileall.compile_dir(made, quiet=2)
        for host in hosts:
            shutil.copytree(made, LabDir(lab).node(host) / _INSIDE[1:])

    def install(self, host: str) -> None:
        self.cluster.lab.sh(host, f"mount --bind {_INSIDE} {SOURCE}")
        self._restart(host, VERSION)

    def uninstall(self, host: str) -> None:
        self.cluster.lab.sh(host, f"while mountpoint -q {SOURCE}; do umount -l {SOURCE}; done")
        self._restart(host, vmha.__version__)

    def forget_schema(self) -> None:
        """No verb does that: the cluster is to be as it was for those who come after."""
        self.cluster.lab.sh("h1", "etcdctl del /vmha/lab/schema")

    def record(self, key: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            self.cluster.lab.sh("h1", f"etcdctl get --print-value-only /vmha/lab/{key}")
        )
        return found

    def _restart(self, host: str, version: str) -> None:
        old = self.cluster.lab.sh(host, "pgrep -f 'vmha agent'").split()[0]
        self.cluster.lab.sh(host, f"kill -TERM {old}")

        def has_joined() -> bool:
            node = next(node for node in self.cluster.status()["nodes"] if node["name"] == host)
            pids = self.cluster.lab.sh(host, "pgrep -f 'vmha agent'", code=None).split()
            return node["version"] == version and bool(pids) and old not in pids

        wait_until(f"an agent of vmha {version} runs on {host}", has_joined)
