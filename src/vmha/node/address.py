"""Where this host is reached, if its settings do not say: the address from which it reaches etcd.

A name that nobody answers for is given little time: an agent that is restarted has a session to take up, and until it
has, its guests' time runs out.
"""

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

NAMES_TIME_S = 1.0
ETCD_PORT = 2379


async def own_address(endpoints: Iterable[str], *, names_time_s: float = NAMES_TIME_S) -> str:
    """Of IPv4 or IPv6; the host's own name where none is found. One that is only its own comes last."""
    found: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(names_time_s):
            for endpoint in endpoints:
                found += await _addresses_towards(endpoint)
    outward = [one for one in found if not ip_address(one.partition("%")[0]).is_loopback]
    return (outward or found or [socket.gethostname()])[0]


async def _addresses_towards(endpoint: str) -> list[str]:
    """Nothing is sent: the kernel is asked which way it would go."""
    found = []
    with suppress(OSError, ValueError):
        parts = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
        if not parts.hostname:
            return []
        ways = await asyncio.get_running_loop().getaddrinfo(
            parts.hostname, parts.port or ETCD_PORT, type=socket.SOCK_DGRAM
        )
        for family, kind, _, _, where in ways:
            with suppress(OSError), socket.socket(family, kind) as probe:
                probe.connect(where)
                found.append(str(probe.getsockname()[0]))
    return found
