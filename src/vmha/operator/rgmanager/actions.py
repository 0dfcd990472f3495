"""``<action>`` below a vm: its timeouts count, where vmha has the operation; its polling does not."""

from vmha.operator.rgmanager.draft import Draft
from vmha.operator.rgmanager.source import Attribute, Element
from vmha.operator.rgmanager.status_program import is_about_the_program, set_probe_times
from vmha.operator.rgmanager.values import DURATION, find_seconds

_TIMEOUTS: dict[str, tuple[str, tuple[int, int]]] = {
    "start": ("start_timeout_s", (1, 86400)),
    "stop": ("stop_timeout_s", (1, 86400)),
    "migrate": ("migration.timeout_s", (5, 86400)),
}


def translate_action(draft: Draft, element: Element) -> None:
    name = element.find_attribute("name")
    timeout, others = element.find_attribute("timeout"), element.all_attributes(but=("name", "timeout"))
    if name is None:
        draft.left(element, "an action without a name", accepted=", ".join(_TIMEOUTS))
        others = element.all_attributes()
        timeout = None
    elif name.value in ("status", "monitor") and is_about_the_program(draft, element):
        others = set_probe_times(draft, element)
    elif name.value in _TIMEOUTS:
        draft.taken(name, "its timeout counts")
        if timeout:
            _timeout(draft, name.value, timeout)
    else:
        why = "vmha does not poll: libvirt's events tell it" if name.value in ("status", "monitor") else "has no place"
        draft.left(name, why)
        if timeout:
            others = [*others, timeout]
    for attribute in others:
        match attribute.name:
            case "depth" | "interval":
                draft.left(attribute, "vmha does not poll: libvirt's events tell it")
            case "timeout":
                draft.left(attribute, "belongs to an action that has no place in vmha")
            case _:
                draft.left(attribute, "is not known here", accepted="name, timeout, depth, interval")


def _timeout(draft: Draft, action: str, at: Attribute) -> None:
    target, (least, most) = _TIMEOUTS[action]
    seconds = find_seconds(at.value)
    if seconds is None:
        draft.left(at, "is no duration", accepted=DURATION)
        return
    if not least <= seconds <= most:
        draft.left(at, f"{seconds} s is out of range; {target} keeps its default", accepted=f"{least} to {most} s")
        return
    if target == "migration.timeout_s":
        draft.migration["timeout_s"] = seconds
    else:
        draft.fields[target] = seconds
    if "__enforce_timeouts" in draft.source.attributes:
        draft.taken(at, f"{target}: {seconds}")
    else:
        draft.changed(at, f"{target}: {seconds}, and it is enforced; to RGManager it was a hint")
