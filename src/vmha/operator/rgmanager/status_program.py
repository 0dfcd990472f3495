"""``status_program``, its polling and its tolerance: a probe of the vm, that gates its start as RGManager's did.

RGManager ran it by ``bash -c`` at its status checks of depth 10, every 20 s with 60 s to end unless an action said
otherwise; at a start every 5 s until it was content, for 300 s. A failed check was a failed vm, unless
``__max_failures`` and ``__failure_expire_time`` were both given.
"""

import shlex

from vmha.operator.rgmanager.draft import Draft
from vmha.operator.rgmanager.source import Attribute, Element
from vmha.operator.rgmanager.values import DURATION, find_number, find_seconds

NAME = "status_program"
DEPTH = "10"
_TIMES: dict[str, tuple[str, tuple[float, float]]] = {
    "interval": ("interval_s", (0.5, 86400)),
    "timeout": ("timeout_s", (0.1, 3600)),
}


def begin_probe(draft: Draft, at: Attribute) -> None:
    draft.probe |= {
        "name": NAME,
        "command": [f"exec bash -c {shlex.quote(at.value)}"],
        "shell": True,
        "interval_s": 20,
        "timeout_s": 60,
        "start_timeout_s": 300,
        "start_gate": True,
        "failures": 1,
    }
    text = "a probe that gates the start; asked every 20 s unless an action says otherwise, also while it starts"
    draft.changed(at, f"{text}. Its program has to be on every node")


def tolerate(draft: Draft, at: Attribute) -> None:
    attributes = draft.source.attributes
    if not attributes.get(NAME) or not attributes[NAME].value:
        draft.left(at, "there is no status_program whose failures could be counted; libvirt's events are no checks")
        return
    number = find_number(attributes["__max_failures"].value) if "__max_failures" in attributes else None
    window = find_seconds(attributes["__failure_expire_time"].value) if "__failure_expire_time" in attributes else None
    if at.name == "__max_failures" and number is None:
        draft.left(at, "is no number: the first failed check counts", accepted="a whole number")
    elif at.name == "__failure_expire_time" and window is None:
        draft.left(at, "is no duration: the first failed check counts", accepted=DURATION)
    elif not number or not window:
        draft.left(at, "counts only together with the other one: __max_failures, __failure_expire_time")
    elif number > 1000 or window > 604800:
        draft.left(at, "is out of range: the first failed check counts", accepted="at most 1000, within 7 days")
    else:
        draft.probe["max_failures" if at.name == "__max_failures" else "failure_window_s"] = (
            number if at.name == "__max_failures" else window
        )
        draft.taken(at, f"so many failed checks are tolerated: {number} within {window} s")


def is_about_the_program(draft: Draft, element: Element) -> bool:
    depth, program = element.find_attribute("depth"), draft.source.attributes.get(NAME)
    return bool(program and program.value) and depth is not None and depth.value in (DEPTH, "*")


def set_probe_times(draft: Draft, element: Element) -> list[Attribute]:
    """Returns what else the action says."""
    for attribute in element.all_attributes(but=("name", "depth")):
        if attribute.name not in _TIMES:
            continue
        target, (least, most) = _TIMES[attribute.name]
        seconds = find_seconds(attribute.value)
        if seconds is None:
            draft.left(attribute, "is no duration", accepted=DURATION)
        elif not least <= seconds <= most:
            draft.left(attribute, f"{seconds} s is out of range", accepted=f"{least:g} to {most:g} s")
        else:
            draft.probe[target] = seconds
            draft.taken(attribute, f"{target} of the probe {NAME}: {seconds}")
    for name in ("name", "depth"):
        if (found := element.find_attribute(name)) is not None:
            draft.taken(found, f"is about the probe {NAME}")
    return element.all_attributes(but=("name", "depth", *_TIMES))


def end_probe(draft: Draft) -> None:
    if "command" not in draft.probe:
        return
    if "max_failures" in draft.probe and "failure_window_s" in draft.probe:
        draft.probe["failures"] = 0  # the window counts, not the row
    draft.fields["probes"] = [draft.probe]
    if draft.fields.get("no_kill"):
        at = draft.source.attributes[NAME]
        draft.changed(at, "a vm with no_kill is never ended for its health, only shown as failing")
