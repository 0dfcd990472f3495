"""Another version of vmha on hosts of the lab: its source, patched, bound over the one that the agent starts from.

It says that it is 0.2.0 and reads schema 2, and it writes a field into two records that this version does not know.
"""

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
        """Copies of it on the hosts' own disks, with what is compiled of it already: an agent is to be back soon."""
        lab = self.cluster.lab.path
        made = lab.parent / "another-version"
        shutil.copytree(SOURCE, made)
        for name, patches in _PATCHES.items():
            text = (made / name).read_text()
            for old, new in patches:
                assert text.count(old) == 1, (name, old)
                text = text.replace(old, new)
            (made / name).write_text(text)
        for host in hosts:
            shutil.copytree(made, LabDir(lab).node(host) / _INSIDE[1:])

    def install(self, host: str) -> None:
        self.cluster.lab.sh(host, f"mount --bind {_INSIDE} {SOURCE}")
        self._restart(host)
        self._await(host, VERSION)

    def uninstall(self, host: str) -> None:
        """Back to this version. The host has a session, or its agent would not come back."""
        self._unbind(host)
        self._restart(host)
        self._await(host, vmha.__version__)

    def forget(self, *hosts: str) -> None:
        """As it was, for those who come after. No verb takes a schema back: no agent that reads it is left here."""
        for host in hosts:
            self._unbind(host)
            self._restart(host)
        self.cluster.lab.sh("h1", "etcdctl del /vmha/lab/schema")
        for host in hosts:
            self._await(host, vmha.__version__)

    def record(self, key: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            self.cluster.lab.sh("h1", f"etcdctl get --print-value-only /vmha/lab/{key}")
        )
        return found

    def _unbind(self, host: str) -> None:
        self.cluster.lab.sh(host, f"while mountpoint -q {SOURCE}; do umount -l {SOURCE}; done")

    def _restart(self, host: str) -> None:
        """Gone at once, whatever it was doing; the host's init starts the next one."""
        self.cluster.lab.sh(host, "pkill -KILL -f 'vmha agent'", code=None)

    def _await(self, host: str, version: str) -> None:
        """It keeps a session, and says so."""

        def has_joined() -> bool:
            status = self.cluster.status()
            return next(node for node in status["nodes"] if node["name"] == host)["version"] == version

        wait_until(f"an agent of vmha {version} runs on {host}", has_joined)
