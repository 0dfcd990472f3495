"""Everything that the store holds of a cluster in one document, to be handed to somebody who helps. Without secrets.

What is taken out is replaced by words, so that it shows that something was there: the options of fence agents but for
harmless ones, and passwords in vms' XML.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from vmha import __version__
from vmha.operator.client import OperatorClient
from vmha.store.port import KeyValue

REDACTED = "(taken out)"

HARMLESS_OPTIONS = frozenset(
    {"ip", "ipaddr", "ipport", "plug", "port", "method", "lanplus", "ssl", "ssl_insecure", "cipher"}
)
"""Of the standard fence agent API: where the device is, and how it is spoken to."""

_IN_XML = re.compile(r"""(\b(?:passwd|password)\s*=\s*)(?:'[^']*'|"[^"]*")""")


async def dump(client: OperatorClient) -> dict[str, Any]:
    """All keys below the cluster's prefix at one revision, the journal included.

    Raises:
        Unavailable: the store does not answer.
    """
    listing = await client.store.list(client.keys.prefix)
    return {
        "vmha": __version__,
        "cluster": client.keys.cluster,
        "at": client.clock.wall(),
        "by": client.author,
        "revision": listing.revision,
        "alarms": list(await client.alarms()),
        "keys": _keys(listing.items, client.keys.prefix),
    }


def _keys(items: Iterable[KeyValue], prefix: str) -> dict[str, Any]:
    return {
        kv.key.removeprefix(prefix): {
            "created": kv.create_revision,
            "modified": kv.mod_revision,
            "lease": f"{kv.lease:x}" if kv.lease else "",
            "value": _readable(kv.value),
        }
        for kv in sorted(items, key=lambda kv: kv.key)
    }


def _readable(value: bytes) -> Any:
    """A value put by hand may be anything. As text it could hold a secret that nobody can recognise: only its size."""
    try:
        return without_secrets(json.loads(value))
    except (ValueError, RecursionError):
        return {"unreadable_bytes": len(value)}


def without_secrets(value: Any) -> Any:
    """A record as plain data, its secrets taken out."""
    match value:
        case {"agent": _, "options": dict() as options}:
            kept = {name: text if name in HARMLESS_OPTIONS else REDACTED for name, text in options.items()}
            return {**{name: without_secrets(part) for name, part in value.items()}, "options": kept}
        case dict():
            return {name: without_secrets(part) for name, part in value.items()}
        case list():
            return [without_secrets(part) for part in value]
        case str():
            return _IN_XML.sub(rf"\g<1>'{REDACTED}'", value)
        case _:
            return value
