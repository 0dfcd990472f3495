"""``depend`` and ``depend_mode``: told once all vms are known, for a vm can only need one that is in the document."""

from collections.abc import Iterable, Sequence
from typing import Any

from vmha.model.relations import find_cycle
from vmha.operator.rgmanager.draft import Draft
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.services import members_of
from vmha.operator.rgmanager.source import Attribute

MODES = ("hard", "soft")


def translate_needs(drafts: Sequence[Draft], entries: Sequence[dict[str, Any]], found: Findings) -> None:
    """Adds ``depends_on`` to the entries, which are the drafts' in their order."""
    needs: dict[str, list[str]] = {entry["name"]: [] for entry in entries}
    services = members_of(drafts)
    for draft, entry in zip(drafts, entries, strict=True):
        about = draft.about(at) if (at := draft.source.attributes.get("depend")) else ""
        mode = _mode(draft, found, is_alone=at is None)
        if at is None:
            continue
        kind, _, name = at.value.partition(":")
        if kind == "service" and name in services and entry["name"] not in services[name]:
            _need_all_of(draft, at, services[name], mode, needs, entry, found)
        elif kind != "vm" or name not in needs:
            found.left(at, _why_not(kind, name, draft.ground.vms), accepted=_some(needs), about=about)
        elif cycle := find_cycle({**needs, entry["name"]: [name]}, entry["name"]):
            text = f"they would need each other in a circle ({' -> '.join(cycle)}): this one is left out"
            found.left(at, text, about=about)
        else:
            needs[entry["name"]].append(name)
            entry["depends_on"] = [{"vm": name, "mode": mode}]
            _tell(draft, at, name, mode, found)


def _need_all_of(
    draft: Draft,
    at: Attribute,
    members: Sequence[str],
    mode: str,
    needs: dict[str, list[str]],
    entry: dict[str, Any],
    found: Findings,
) -> None:
    """A service was started when all of it was."""
    if cycle := find_cycle({**needs, entry["name"]: [*members]}, entry["name"]):
        text = f"they would need each other in a circle ({' -> '.join(cycle)}): this one is left out"
        found.left(at, text, about=draft.about(at))
        return
    needs[entry["name"]] += members
    entry["depends_on"] = [{"vm": member, "mode": mode} for member in members]
    _tell(draft, at, ", ".join(members), mode, found)


def _tell(draft: Draft, at: Attribute, name: str, mode: str, found: Findings) -> None:
    told = f"depends_on: {name}, {mode}"
    about = draft.about(at)
    if mode == "hard":
        found.taken(at, f"{told}: ready means that it runs; what needs a vm ends before it", about=about)
    else:
        found.changed(at, f"{told}: a start in this order, and no wait for one that is not wanted running", about=about)


def _mode(draft: Draft, found: Findings, *, is_alone: bool) -> str:
    at = draft.source.attributes.get("depend_mode")
    if at is None:
        return "hard"
    about = draft.about(at)
    if at.value not in MODES:
        found.left(at, "is no mode of dependency: hard, as RGManager had it", accepted="hard, soft", about=about)
        return "hard"
    if is_alone:
        found.left(at, "there is no depend to go with it", about=about)
    elif at.value == "soft" and not draft.ground.central:
        found.changed(at, "soft, as it was meant; RGManager read it in central mode only, and took hard", about=about)
    else:
        found.taken(at, f"mode: {at.value}", about=about)
    return at.value


def _why_not(kind: str, name: str, vms: Iterable[str]) -> str:
    if kind == "service":
        return "is no service of vms that is taken: it starts without waiting"
    if kind != "vm":
        return "names no kind: RGManager found no such service, and took it for met"
    if name in vms:
        return f"vm {name} is not taken, so it starts without waiting"
    return "the file has no such vm: RGManager took it for met, and it starts without waiting"


def _some(names: Iterable[str]) -> str:
    return ", ".join(f"vm:{name}" for name in sorted(names)[:8])
