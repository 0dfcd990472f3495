"""Certificates for tests, made by openssl: an authority, a server on the loopback address, and clients."""

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a folder; ``issue`` adds ``NAME.crt`` and ``NAME.key`` to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.ca = folder / "ca.crt"
        self._run("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.crt")

    def issue(
        self, name: str, *, usage: str, at: str = "IP:127.0.0.1,DNS:localhost", days: int = 2
    ) -> tuple[Path, Path]:
        """A certificate and its key for ``name``; usage is ``serverAuth``, ``clientAuth`` or both with a comma.

        One of -1 days has expired.
        """
        (self.folder / "ext").write_text(f"subjectAltName={at}\nextendedKeyUsage={usage}\n")
        self._run(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        signing = f"-CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile ext"
        self._run(f"x509 -req -in {name}.csr {signing} -out {name}.crt")
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def _run(self, command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=self.folder, check=True, capture_output=True, timeout=60)
