"""A real etcd with the certificates of ``vmha pki`` and the roles of ``vmha cluster roles``, and stores on it.

Whatever etcd denies to one of these stores is noted, so that a test can say that nothing was.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.etcd import RealEtcd
from vmha.model.ids import NodeName
from vmha.model.keys import Keys
from vmha.operator.etcd_roles import commands
from vmha.pki.authority import CA, CERT, KEY, Authority, Kind
from vmha.store.etcd import EtcdStore
from vmha.store.port import Denied
from vmha.store.tls_files import TlsFiles

CLUSTER = "t"


class NotingStore(EtcdStore):
    """The product's store; ``denied`` is what etcd would not let it do."""

    def __init__(self, endpoints: Sequence[str], denied: list[str], **options: Any) -> None:
        super().__init__(endpoints, **options)
        self._denied = denied

    async def _call(self, method: Any, request: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return await super()._call(method, request, *arguments, **options)
        except Denied as error:
            self._denied.append(f"{error}: {request}")
            raise


class Secured:
    """``etcd``, the authority, and where each holder's files are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create(folder / "pki", cluster=CLUSTER, now=now(), days=30)
        self.denied: list[str] = []
        self.ca = folder / "etcd-ca.pem"
        self.etcd = RealEtcd(tls=self)

    def issue(self, name: str, *, usage: str) -> tuple[Path, Path]:
        """The member's certificate, for ``RealEtcd``."""
        self.give("etcd", "server")
        self.hand_out_ca()
        home = self.home("etcd", "server")
        return home / CERT, home / KEY

    def hand_out_ca(self) -> None:
        """To the member, which reads it when it starts."""
        shutil.copy(self.authority.ca, self.ca)

    def home(self, kind: str, name: str) -> Path:
        """Where the files are in use, as on that one's host."""
        return self.folder / f"{kind}-{name}"

    def give(self, kind: str, name: str) -> TlsFiles:
        """Issues files and puts them where they are used, in the place of older ones."""
        issued = self.authority.issue(Kind(kind), name, ("127.0.0.1",), now=now(), days=2)
        return self.put(issued.folder)

    def put(self, folder: Path) -> TlsFiles:
        home = self.folder / folder.name
        home.mkdir(exist_ok=True)
        for file in (CA, KEY, CERT):
            shutil.copy(folder / file, home / file)
        return self.files(folder.name)

    def files(self, who: str) -> TlsFiles:
        home = self.folder / who
        return TlsFiles(ca=home / CA, cert=home / CERT, key=home / KEY)

    def open(self, who: str, endpoints: Sequence[str] | None = None) -> NotingStore:
        return NotingStore(endpoints or self.etcd.endpoints, self.denied, tls=self.files(who))

    def open_for(self) -> Callable[[str, list[str]], EtcdStore]:
        """For ``real_cluster``: nodes as nodes, the operator as one."""
        return lambda who, endpoints: self.open("operator-alice" if who == "operator" else f"node-{who}", endpoints)

    def run(self, script: str) -> None:
        """As etcd's root, with etcdctl."""
        root = self.files("root-admin")
        shell = {
            "PATH": os.environ["PATH"],
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": ",".join(self.etcd.endpoints),
            "ETCDCTL_CACERT": str(root.ca),
            "ETCDCTL_CERT": str(root.cert),
            "ETCDCTL_KEY": str(root.key),
        }
        done = subprocess.run(["sh"], input=script, env=shell, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@contextmanager
def secured(folder: Path, *nodes: str) -> Iterator[Secured]:
    """Auth is on, and the roles are what the product prints for these nodes."""
    made = Secured(folder)
    for kind, name in (
        ("root", "admin"),
        ("operator", "alice"),
        ("restore", "alice"),
        ("reader", "wall"),
        *(("node", n) for n in nodes),
    ):
        made.give(kind, name)
    with made.etcd:
        made.run("\n".join(commands(Keys(CLUSTER), [NodeName(node) for node in nodes], enable=True)))
        yield made


def now() -> datetime:
    return datetime.now(UTC)
