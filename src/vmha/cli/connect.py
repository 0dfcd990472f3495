"""Which cluster is meant, and a connection to it that ends in a clear error within 5 s when nobody answers.

Endpoints and cluster are each looked for in this order: the command line, the environment, the configuration file, a
running lab. The message of every failure says where the endpoint in use came from.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vmha.cli.exits import Unreachable
from vmha.model.errors import Rejected, Retryable

if TYPE_CHECKING:
    from vmha.operator.client import OperatorClient
    from vmha.store.port import Store

CONFIG_FILE = Path("/etc/vmha/vmha.toml")
DEFAULT_LAB = Path("/var/lib/vmha-lab")
"""Where root's lab lies."""
DEFAULT_CLUSTER = "vmha"
"""The name of a cluster that nobody named."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the cluster is. ``source`` says who named the endpoints; ``next_step`` what to try when none answers."""

    endpoints: tuple[str, ...]
    cluster: str
    source: str
    next_step: str
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    etcd_user: str = ""
    etcd_password_file: str = ""


def find_place(
    *, endpoints: str | None = None, cluster: str | None = None, environ: Mapping[str, str] | None = None
) -> Place:
    """Args are what the command line gave.

    Raises:
        Rejected: nothing names an endpoint (the message says what to set), or the configuration file is broken.
    """
    env = os.environ if environ is None else environ
    path, file = Path(env.get("VMHA_CONFIG") or CONFIG_FILE), settings_of(env)
    found, source, is_lab = _find_endpoints(endpoints, env, path, file)
    name = cluster or env.get("VMHA_CLUSTER") or ("lab" if is_lab else file.get("cluster")) or DEFAULT_CLUSTER
    tls = file.get("tls") if isinstance(file.get("tls"), dict) else {}
    listed = ",".join(found)
    next_step = (
        "'vmha lab status'; 'vmha lab start etcd-1' where its etcd is off, 'vmha lab up' where there is no lab"
        if is_lab
        else f"'etcdctl --endpoints {listed} endpoint health', or another endpoint with --endpoints or $VMHA_ENDPOINTS"
    )

    def tls_file(variable: str, key: str) -> Path | None:
        value = env.get(variable) or (tls or {}).get(key)
        return Path(value) if value else None

    return Place(
        endpoints=found,
        cluster=_checked_cluster(str(name)),
        source=source,
        next_step=next_step,
        ca=tls_file("VMHA_CA", "ca"),
        cert=tls_file("VMHA_CERT", "cert"),
        key=tls_file("VMHA_KEY", "key"),
        etcd_user=str(env.get("VMHA_ETCD_USER") or file.get("etcd_user") or ""),
        etcd_password_file=str(env.get("VMHA_ETCD_PASSWORD_FILE") or file.get("etcd_password_file") or ""),
    )


def find_cluster(given: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """The cluster's name alone; what the command line gave counts first. Raises: Rejected."""
    env = os.environ if environ is None else environ
    return _checked_cluster(str(given or env.get("VMHA_CLUSTER") or settings_of(env).get("cluster") or DEFAULT_CLUSTER))


def find_cluster_meant(
    *, endpoints: str | None = None, cluster: str | None = None, environ: Mapping[str, str] | None = None
) -> str:
    """As ``find_place`` has it, a lab's say; where nothing names an endpoint, the name alone. Raises: Rejected."""
    try:
        return find_place(endpoints=endpoints, cluster=cluster, environ=environ).cluster
    except Rejected:
        return find_cluster(cluster, environ)


def settings_of(environ: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """This node's settings file as it is written; nothing when there is none. Raises: Rejected when it is broken."""
    env = os.environ if environ is None else environ
    return _read_config(Path(env.get("VMHA_CONFIG") or CONFIG_FILE), required=bool(env.get("VMHA_CONFIG")))


def name_of_this_host() -> str:
    """What it would be called as a node. Raises: Rejected."""
    import socket

    return str(settings_of().get("node") or socket.gethostname().split(".")[0])


def lab_dir(environ: Mapping[str, str]) -> Path:
    """Where this user's lab lies unless told otherwise."""
    if environ.get("VMHA_LAB"):
        return Path(environ["VMHA_LAB"])
    if os.geteuid() == 0:
        return DEFAULT_LAB
    state = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local/state")
    return Path(state) / "vmha/lab"


@asynccontextmanager
async def connected(place: Place) -> AsyncGenerator["OperatorClient", None]:
    """A client of the cluster. Connects on first use."""
    from vmha.model.clock import SystemClock
    from vmha.model.keys import Keys
    from vmha.operator.client import OperatorClient

    store = open_store(place)
    try:
        yield OperatorClient(store, Keys(place.cluster), SystemClock(), author=author())
    finally:
        await store.close()


def open_store(place: Place) -> "Store":
    """Raises: Rejected: a certificate is named, and nobody to trust; to speak without TLS then is not what is meant."""
    from vmha.store.channels import load_login
    from vmha.store.etcd import EtcdStore
    from vmha.store.tls_files import TlsFiles

    if place.ca is None and (given := place.cert or place.key):
        raise Rejected(f"TLS to etcd: {given} without the authority's certificate", accepted="$VMHA_CA, or ca in [tls]")
    tls = TlsFiles(ca=place.ca, cert=place.cert, key=place.key) if place.ca else None
    return EtcdStore(place.endpoints, tls=tls, login=load_login(place.etcd_user, place.etcd_password_file))


def run(place: Place, work: "Callable[[OperatorClient], Awaitable[T]]") -> T:
    """Do something with the cluster, on an event loop of its own.

    Raises:
        Unreachable: the store did not answer.
    """

    found: list[T] = []

    async def with_client() -> None:
        # Not the task's result: asyncio.run's change of the SIGINT handler (Python 3.11) composes an error message that
        # contains the whole result, twice, and throws it away. With 10,000 vms that took 0.7 s.
        asyncio.get_running_loop().set_exception_handler(_unless_of_a_former_loop)
        async with connected(place) as client:
            found.append(await work(client))

    try:
        asyncio.run(with_client())
    except Retryable as error:
        raise unreachable(place, error) from error
    return found[0]


def _unless_of_a_former_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """gRPC has one queue for all loops: after Ctrl-C the next loop hears of the calls that the last one broke off."""
    error = context.get("exception")
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        loop.default_exception_handler(context)


def unreachable(place: Place, error: Retryable) -> Unreachable:
    """One line: what did not answer, who named it, and the next thing to try."""
    from vmha.store.port import NoSpace

    if isinstance(error, NoSpace):
        return Unreachable(f"cluster {place.cluster} can be read, not changed: {error}")
    return Unreachable(
        f"cannot reach cluster {place.cluster}: {error}; endpoint from {place.source}. Try {place.next_step}"
    )


def author() -> str:
    """Who asks, for people to read: the person behind sudo rather than root."""
    name = os.environ.get("SUDO_USER")
    if not name:
        import pwd

        try:
            name = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            name = f"uid {os.getuid()}"
    return f"{name}@{os.uname().nodename}"


def _find_endpoints(
    given: str | None, env: Mapping[str, str], path: Path, file: Mapping[str, Any]
) -> tuple[tuple[str, ...], str, bool]:
    if given:
        return _split(given, "--endpoints"), "--endpoints", False
    if env.get("VMHA_ENDPOINTS"):
        return _split(env["VMHA_ENDPOINTS"], "$VMHA_ENDPOINTS"), "$VMHA_ENDPOINTS", False
    socket = lab_dir(env) / "etcd.sock"
    lab = (f"unix:{socket}",), f"the lab in {socket.parent}", True
    if env.get("VMHA_LAB"):  # said aloud, so it comes before the file that lies there for everybody
        return lab
    if "endpoints" in file:
        named = file["endpoints"]
        if not isinstance(named, list) or not named or not all(isinstance(item, str) for item in named):
            raise Rejected(f"{path}: endpoints: {named!r}", accepted='a list like ["10.0.0.1:2379"]')
        return tuple(named), str(path), False
    if socket.exists():
        return lab
    raise Rejected(
        f"no cluster is named: set --endpoints or $VMHA_ENDPOINTS (host:2379,...), or endpoints in {path}; "
        "or start a cluster on this machine with: vmha lab up"
    )


def _split(text: str, where: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise Rejected(f"{where}: {text!r}", accepted="host:port,host:port,...")
    return parts


def _read_config(path: Path, *, required: bool) -> Mapping[str, Any]:
    if not required and not path.exists():
        return {}
    import tomllib

    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except FileNotFoundError:
        if required:
            raise Rejected(f"$VMHA_CONFIG: there is no file {path}") from None
        return {}
    except PermissionError:
        if required:
            raise Rejected(f"$VMHA_CONFIG: {path} can not be read") from None
        print(f"vmha: {path} can not be read by you and is left out", file=sys.stderr)
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Rejected(f"{path}: {error}", accepted="TOML") from error


def _checked_cluster(name: str) -> str:
    import re

    from vmha.model.document import NAME_PATTERN

    if not re.match(NAME_PATTERN, name):
        raise Rejected(f"cluster: {name!r}", accepted="letters, digits and _.+:@-, beginning with a letter or digit")
    return name
