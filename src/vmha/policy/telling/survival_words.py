"""The answer of policy/telling/survival.py in a line, for whoever tells it: a command, the journal."""

from collections.abc import Iterable, Sequence

from vmha.policy.members.membership import counted
from vmha.policy.placing.affinity import BY_RULE
from vmha.policy.placing.exclusive import IS_EXCLUSIVE, WANTS_TO_BE_ALONE
from vmha.policy.state.steps import Waiting
from vmha.policy.telling.survival import Loss, Survival

SURVIVES = "survives the loss of any one node"
ASK = "vmha plan --if 'any node lost'"
NAMED_VMS, NAMED_NODES = 5, 4

_WORDS = {
    " MiB free of ": "memory",
    " vcpus free of ": "vcpus",
    BY_RULE: "rules",
    "restricted failover domain": "failover domain",
    IS_EXCLUSIVE: "exclusive vms",
    WANTS_TO_BE_ALONE: "exclusive vms",
    " of service ": "services",
}


def in_one_line(found: Survival) -> str:
    """'' where nothing runs."""
    if not found.running and not found.on_their_way:
        return ""
    if found.on_their_way:
        return f"whether it survives the loss of a node is not known yet: {_still_to_be_placed(found)}"
    unknown = f"{counted(len(found.unknown), 'node')} not looked at ({ASK})" if found.unknown else ""
    if found.losses:
        return f"would not survive {of_losses(found.losses)}" + (f"; {unknown}" if unknown else "")
    if unknown:
        return f"{SURVIVES} as far as that was looked at: {unknown}"
    if found.unsure:
        return f"{SURVIVES}; of {_names(found.unsure, NAMED_NODES)} that is not certain ({ASK})"
    return SURVIVES


def not_known(found: Survival) -> str:
    """The loss of what is not known to be survived or not, and why that is so; '' where all is known."""
    if found.on_their_way:
        return f"the loss of a node is not known: {_still_to_be_placed(found)}"
    if found.unknown:
        return f"the loss of {counted(len(found.unknown), 'more node')} was not looked at; once it is done: {ASK}"
    return ""


def _still_to_be_placed(found: Survival) -> str:
    return f"{'1 vm is' if found.on_their_way == 1 else f'{found.on_their_way} vms are'} still to be placed"


def of_losses(losses: Sequence[Loss]) -> str:
    """The loss of h2: db, mail would not come back (memory); nor the loss of h3 (app), h4 (app)."""
    worst, *others = losses
    names = _names([one.vm for one in worst.vms], NAMED_VMS)
    line = f"the loss of {worst.node}: {names} would not come back ({why(worst.vms)})"
    if others:
        named = [f"{loss.node} ({_names([one.vm for one in loss.vms], 2)})" for loss in others[:NAMED_NODES]]
        more = f" and {counted(len(others) - NAMED_NODES, 'node')} more" if len(others) > NAMED_NODES else ""
        line += f"; nor the loss of {', '.join(named)}{more}"
    return line


def why(vms: Iterable[Waiting]) -> str:
    """In a word or two what is lacking, what most nodes lack first; a vm that waits for something else says what."""
    counts: dict[str, int] = {}
    other = ""
    for one in vms:
        refusals = [candidate.refusal for candidate in one.candidates]
        words = [word for refusal in refusals for part, word in _WORDS.items() if part in refusal]
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        if not words:
            other = other or ("no other node" if one.candidates else one.text)
    return ", ".join(sorted(counts, key=lambda word: (-counts[word], word))) or other


def _names(names: Sequence[str], most: int) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
