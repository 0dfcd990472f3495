"""Another version of vmha on hosts of the lab: its source, patched, bound over the one that the agent starts from.

It says that it is 0.2.0 and reads schema 2, and it writes a field into two records that this version does not know. A
field of a vm's definition has another name in it, ``NEW_NAME`` for ``OLD_NAME``, as of schema 2: what stands there from
before is read through a function, and written anew under the new name alone.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import vmha
from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until
from vmha.lab.layout import LabDir

VERSION, SCHEMA, FIELD = "0.2.0", 2, "of_another_version"

OLD_NAME, NEW_NAME = "restart_window_s", "restart_within_s"

SOURCE = Path(vmha.__file__).resolve().parent
_INSIDE = "/var/lib/another-version"

_UPGRADE = f"""

def _of_schema_2(old: dict[str, object]) -> dict[str, object]:
    new = {{name: value for name, value in old.items() if name != "{OLD_NAME}"}}
    return {{"{NEW_NAME}": old["{OLD_NAME}"], **new}} if "{OLD_NAME}" in old else new


UPGRADES[VmSpec] = {{2: _of_schema_2}}
"""

_PATCHES = {
    "__init__.py": ((f'__version__ = "{vmha.__version__}"', f'__version__ = "{VERSION}"'),),
    "model/schema.py": (("\nNEWEST = 1\n", f"\nNEWEST = {SCHEMA}\n"),),
    "model/records.py": (
        ("    left_overs: tuple[LeftOver", f'    {FIELD}: str = "yes"\n    left_overs: tuple[LeftOver'),
        ("    saved: SavedImage | None", f'    {FIELD}: str = "yes"\n    saved: SavedImage | None'),
    ),
    "model/vm.py": (
        (
            "\nfrom vmha.model.settings import",
            "\nfrom vmha.model.schema import UPGRADES\nfrom vmha.model.settings import",
        ),
        (f"    {OLD_NAME}: ", f"    {NEW_NAME}: "),
    ),
    "policy/deciding/starting.py": ((f"spec.{OLD_NAME}", f"spec.{NEW_NAME}"),),
    "operator/rgmanager/vms.py": ((f'"{OLD_NAME}"', f'"{NEW_NAME}"'),),
}
_OF_VERBS = (f"{OLD_NAME}={OLD_NAME}", f"{NEW_NAME}={OLD_NAME}")
"""In cli/vm.py, where an option becomes a field: twice."""


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
        with (made / "model/vm.py").open("a") as file:
            file.write(_UPGRADE)
        verbs = (made / "cli/vm.py").read_text()
        assert verbs.count(_OF_VERBS[0]) == 2, OLD_NAME
        (made / "cli/vm.py").write_text(verbs.replace(*_OF_VERBS))
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

    def vmha(self, host: str, *words: str) -> str:
        """One verb of whatever version the host has."""
        line = " ".join(("env -u VMHA_LAB", sys.executable, "-m vmha", *words))
        return self.cluster.lab.sh(host, line)

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
