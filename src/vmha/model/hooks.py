"""Hooks: programs and web addresses that are told what happened. Which events there are, and who wants which.

An event is an entry of the journal; its name says what an operator would call it. Entries of a kind that has no name
here (a later version's) keep their kind as their name, and go to whoever wants everything.
"""

import difflib
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from vmha.model.document import NAME_PATTERN, Document
from vmha.model.source import AbsolutePath

EVENTS: dict[str, str] = {
    "assign": "vm-placed",
    "recover": "vm-recovered",
    "adopt": "vm-adopted",
    "adopted": "vm-adopted",
    "claimed": "vm-starting",
    "runs": "vm-running",
    "start-failed": "vm-start-failed",
    "stop": "vm-stopping",
    "stopped": "vm-stopped",
    "release": "vm-given-up",
    "withdraw": "vm-withdrawn",
    "guest": "vm-guest-restart-asked",
    "guest-begun": "vm-guest-restart-begun",
    "guest-done": "vm-guest-restarted",
    "guest-failed": "vm-guest-restart-failed",
    "guest-paused": "vm-guest-paused",
    "guest-resumed": "vm-guest-resumed",
    "guest-hung": "vm-guest-hung",
    "guest-answers": "vm-guest-answers",
    "frozen": "vm-frozen",
    "unfrozen": "vm-unfrozen",
    "cluster-paused": "cluster-paused",
    "cluster-resumed": "cluster-resumed",
    "drain": "node-drain",
    "undrain": "node-undrain",
    "asked": "operation-asked",
    "wanted": "vm-wanted",
    "added": "definition-added",
    "changed": "definition-changed",
    "removed": "definition-removed",
    "applied": "document-applied",
    "restore": "backup-restored",
    "founded": "cluster-founded",
    "join": "node-join",
    "leave": "node-leave",
    "stay": "node-stay",
    "resumed": "vm-resumed",
    "disown": "vm-disowned",
    "note": "vm-waiting",
    "settled": "vm-desired",
    "migrate": "vm-migrating",
    "cancel": "vm-migration-cancelled",
    "post-copy": "vm-post-copy",
    "handed-over": "vm-handed-over",
    "arrived": "vm-migrated",
    "migration-failed": "vm-migration-failed",
    "named": "vm-guest-named",
    "leaving": "vm-leaving",
    "departed": "vm-departed",
    "depart": "vm-departed",
    "duplicate": "vm-duplicate",
    "not-saved": "vm-not-saved",
    "not-restored": "vm-not-restored",
    "restored": "vm-restored",
    "left-over": "host-left-over",
    "fencing": "node-fencing",
    "fencing-failed": "node-fencing-failed",
    "fencing-off": "node-fencing-called-off",
    "fenced": "node-lost",
    "storage-given-back": "node-storage-given-back",
    "switched-on": "node-switched-on",
    "not-switched-on": "node-not-switched-on",
    "left-off": "node-left-off",
    "failsafe": "store-outage",
    "loss-costs": "node-loss-costs-vms",
    "loss-survived": "node-loss-survived",
    "store-went-back": "store-restored",
    "history-settled": "store-settled",
    "request-done": "operation-done",
    "request-failed": "operation-failed",
    "request-rejected": "operation-rejected",
}
"""Kinds of journal entries, and what they are called as events."""

TEST = "hook-test"
OWN = "hook-"
"""Entries about hooks begin so: they are told to no hook, or a broken one would be told of itself."""
EVERY = "*"


def event_of(kind: str) -> str:
    return EVENTS.get(kind, kind)


def _known(event: str) -> str:
    if event == EVERY or event in EVENTS.values():
        return event
    near = difflib.get_close_matches(event, EVENTS.values(), n=1)
    known = ", ".join(sorted(set(EVENTS.values())))
    raise ValueError(f"{event!r}{f', did you mean {near[0]}?' if near else ''} (accepted: *, {known})")


def _a_program(word: str) -> str:
    if "/" in word or "\0" in word or word in ("", ".", ".."):
        raise ValueError(f"{word!r} (accepted: the name of a program in the nodes' hooks_dir, without '/')")
    return word


def _an_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} (accepted: http://HOST[:PORT]/PATH or https://...)")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a password in it, which all who may read the settings would see (accepted: secret_file)")
    return url


Program = Annotated[str, AfterValidator(_a_program)]


class Hook(Document):
    """Who is told, of what. ``exec`` or ``webhook``; the event is a JSON object on standard input, or in the body."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN, max_length=63)]
    on: Annotated[tuple[Annotated[str, AfterValidator(_known)], ...], Field(min_length=1)]
    program: Program | None = Field(default=None, alias="exec", description="In the leader's node's hooks_dir.")
    arguments: Annotated[tuple[Annotated[str, StringConstraints(max_length=1024)], ...], Field(max_length=32)] = ()
    webhook: Annotated[str, AfterValidator(_an_address)] | None = None
    secret_file: AbsolutePath | None = Field(
        default=None, description="On every node: what signs the body (X-Vmha-Signature: sha256=HMAC)."
    )
    timeout_s: Annotated[float, Field(ge=0.1, le=600)] = 10.0
    give_up_s: Annotated[float, Field(ge=0, le=86400)] = Field(
        default=600.0, description="A webhook is tried again for so long; a program is run once."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.program is None) == (self.webhook is None):
            raise ValueError("exec, webhook: exactly one of the two is needed (accepted: exec or webhook)")
        if self.webhook is None and self.secret_file is not None:
            raise ValueError("secret_file: signs what a webhook is sent (accepted: only together with webhook)")
        if self.program is None and self.arguments:
            raise ValueError("arguments: are a program's (accepted: only together with exec)")
        return self

    def wants(self, kind: str, test_of: str = "") -> bool:
        """``test_of``: the hook that an entry of kind ``hook-test`` is for."""
        if kind == TEST:
            return test_of == self.name
        return not kind.startswith(OWN) and (EVERY in self.on or event_of(kind) in self.on)
