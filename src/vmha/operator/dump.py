"""Everything that the store holds of a cluster in one document, to be handed to somebody who helps. Without secrets.

What is taken out is replaced by words, so that it shows that something was there: the options of fence agents but for
harmless ones, and passwords in vms' XML.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from vmha import __version__
from vmha.operator.client import OperatorClient
from vmha.operator.redaction import REDACTED, Redactor, secrets_of
from vmha.store.port import KeyValue

HARMLESS_OPTIONS = frozenset(
    {"ip", "ipaddr", "ipport", "plug", "port", "method", "lanplus", "ssl", "ssl_insecure", "cipher"}
)
"""Of the standard fence agent API: where the device is, and how it is spoken to."""

_IN_XML = re.compile(r"""(\b(?:passwd|password)\s*=\s*)(?:'[^']*'|"[^"]*")""")


async def dump(
    client: OperatorClient, *, host: Mapping[str, Any] | None = None, secrets: Iterable[str] = ()
) -> dict[str, Any]:
    """All keys below the cluster's prefix at one revision, the journal included; and what is said of this ``host``.

    ``secrets``: values that are to be taken out of what the host and the journal say, besides the store's own.

    Raises:
        Unavailable: the store does not answer.
    """
    listing = await client.store.list(client.keys.prefix)
    journal = client.keys.journal("")
    records = (kv.value for kv in listing.items if not kv.key.startswith(journal))
    redactor = Redactor([*secrets, *(secret for value in records for secret in secrets_of(_plain(value)))])
    keys = _keys(listing.items, client.keys.prefix)
    for key, about in keys.items():
        if (client.keys.prefix + key).startswith(journal):
            about["value"] = redactor.clean_all(about["value"])
    return {
        "vmha": __version__,
        "cluster": client.keys.cluster,
        "at": client.clock.wall(),
        "by": client.author,
        "revision": listing.revision,
        "alarms": list(await client.alarms()),
        "keys": keys,
        **({"host": redactor.clean_all(dict(host))} if host is not None else {}),
    }


def _plain(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


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
