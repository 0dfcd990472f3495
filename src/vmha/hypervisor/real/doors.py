"""Where a guest's memory comes in, tried as QEMU would: a port of its range, and the certificates that it would show.

The door is the last free port of the range: libvirt takes the first one, so that a migration that comes meanwhile does
not find its port taken. Whoever knocks is told ``HELLO`` and let go. With certificates of QEMU's the door asks for the
visitor's own, as QEMU does; that it takes them shows that the two hosts trust each other.
"""

import asyncio
import contextlib
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from vmha.hypervisor.ways import FIRST_PORT, LAST_PORT
from vmha.model.checkup import Door

QEMU_CONF = Path("/etc/libvirt/qemu.conf")
CERTIFICATES = "/etc/pki/qemu"
HELLO = b"vmha\n"
_SETTING = re.compile(r'^\s*(\w+)\s*=\s*"?([^"\n]*?)"?\s*$', re.MULTILINE)

_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QemuSettings:
    """What libvirt's qemu.conf says of migrations. ``has_secret``: the key needs a password that libvirt keeps."""

    first_port: int = FIRST_PORT
    last_port: int = LAST_PORT
    certificates: str = CERTIFICATES
    verifies: bool = True
    has_secret: bool = False


def read_settings(text: str) -> QemuSettings:
    said = dict(_SETTING.findall(text))

    def number(name: str, otherwise: int) -> int:
        value = said.get(name, "")
        return int(value) if _PORT.fullmatch(value) and 0 < int(value) < 65536 else otherwise

    def of_tls(name: str, otherwise: str) -> str:
        return said.get(f"migrate_tls_x509_{name}") or said.get(f"default_tls_x509_{name}") or otherwise

    return QemuSettings(
        first_port=number("migration_port_min", FIRST_PORT),
        last_port=number("migration_port_max", LAST_PORT),
        certificates=of_tls("cert_dir", CERTIFICATES),
        verifies=of_tls("verify", "1") != "0",
        has_secret=bool(of_tls("secret_uuid", "")),
    )


class Doors:
    """Those of this host. ``conf``: where libvirt's settings of QEMU are."""

    def __init__(self, conf: Path = QEMU_CONF) -> None:
        self._conf = conf
        self._open: set[asyncio.Task[None]] = set()

    async def open(self, *, for_s: float) -> Door | None:
        settings = await asyncio.to_thread(_settings, self._conf)
        context, trouble = await asyncio.to_thread(_context, settings, ssl.PROTOCOL_TLS_SERVER)
        listening = _listen(settings)
        if listening is None:
            return None
        port = listening.getsockname()[1]
        server = await asyncio.start_server(_greet, sock=listening, ssl=context)
        task = asyncio.create_task(_close_after(server, for_s), name=f"door {port}")
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return Door(port=port, encrypts=context is not None, trouble=trouble)

    async def close(self) -> None:
        for task in (tasks := list(self._open)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def knock(self, address: str, port: int, *, encrypted: bool, timeout_s: float) -> str:
        """'' when it was opened, or the address is none at all: libvirt's own way tells of that. Else why not."""
        context = None
        if encrypted:
            settings = await asyncio.to_thread(_settings, self._conf)
            context, trouble = await asyncio.to_thread(_context, settings, ssl.PROTOCOL_TLS_CLIENT)
            if context is None:
                return f"here {trouble}" if trouble else ""
        try:
            async with asyncio.timeout(timeout_s):
                return await _knock(address, port, context)
        except TimeoutError:
            return f"no answer within {timeout_s:g} s: something on the way drops it"
        except ConnectionRefusedError:
            return "refused, though its agent listens there: something on the way rejects it"
        except ssl.SSLCertVerificationError as error:
            return f"the certificate of {address} is not accepted here: {error.verify_message}"
        except ssl.SSLError as error:
            said = (error.reason or str(error)).lower().replace("_", " ")
            return f"{address} does not accept the certificate from here: {said}"
        except socket.gaierror:
            return ""
        except OSError as error:
            return (error.strerror or str(error) or type(error).__name__).lower()


async def _knock(address: str, port: int, context: ssl.SSLContext | None) -> str:
    """To a door that encrypts one can come without a certificate, and learns that it is there."""
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=address if context else None
    )
    try:
        if context is not None and await reader.read(len(HELLO)) != HELLO:
            return f"{address} closes the connection: it does not accept the certificate from here"
    finally:
        writer.transport.abort()
    return ""


async def _greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(HELLO)
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def _close_after(server: asyncio.Server, seconds: float) -> None:
    try:
        await asyncio.sleep(seconds)
    finally:
        server.close()


def _listen(settings: QemuSettings) -> socket.socket | None:
    """Of both families where there are both, as QEMU does."""
    for port in range(settings.last_port, settings.first_port - 1, -1):
        for family, anywhere in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
            listening: socket.socket | None = None
            try:
                listening = socket.socket(family, socket.SOCK_STREAM)
                if family == socket.AF_INET6:
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                listening.bind((anywhere, port))
            except OSError:
                if listening is not None:
                    listening.close()
                continue  # taken, or no such family on this host
            return listening
    return None


def _settings(conf: Path) -> QemuSettings:
    try:
        return read_settings(conf.read_text(errors="replace"))
    except OSError:
        return QemuSettings()


def _context(settings: QemuSettings, side: int) -> tuple[ssl.SSLContext | None, str]:
    """None with a trouble: there are none that can be used. None without: nobody but libvirt can open the key."""
    if settings.has_secret:
        return None, ""
    folder = Path(settings.certificates)
    is_server = side == ssl.PROTOCOL_TLS_SERVER
    authority, whose = folder / "ca-cert.pem", "server" if is_server else "client"
    context = ssl.SSLContext(side)
    if not is_server:
        context.hostname_checks_common_name = True
    try:
        if not authority.exists():
            return None, f"QEMU has no certificates: there is no {authority}"
        context.load_verify_locations(authority)
        certificate = folder / f"{whose}-cert.pem"
        if is_server or certificate.exists():
            if not certificate.exists():
                return None, f"QEMU has no certificate: there is no {certificate}"
            context.load_cert_chain(certificate, folder / f"{whose}-key.pem", password=_nobody_knows)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        return None, f"the certificates in {folder} can not be used: {error}"
    context.verify_mode = ssl.CERT_REQUIRED if settings.verifies or not is_server else ssl.CERT_NONE
    return context, ""


def _nobody_knows() -> str:
    raise ValueError("the key is locked by a password")
