"""The parts of a page that change: pieces of HTML by the id of their element, and the order of those that are lists.

A page is first sent whole, made of these; afterwards its stream sends the parts that are no longer what they were. So
a part says its id in its outermost element, and depends on the scene alone.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vmha.model.records import Hand, JournalEntry
from vmha.operator.overview import NodeLine
from vmha.policy.telling.explain import VmState, VmSummary
from vmha.web.feed import Scene
from vmha.web.html import Html, clock, el, link, mark, name, path, since, slug
from vmha.web.tones import vm_tone

LATE_BEATS = 3
"""So many have not come before it is told: one that is a little late is nothing to look at."""


@dataclass(slots=True)
class Parts:
    """``html`` by id; ``lists``: which ids stand in which element, in this order."""

    html: dict[str, Html] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def put(self, id: str, part: Html) -> None:
        self.html[id] = part

    def put_list(self, id: str, parts: Iterable[tuple[str, Html]]) -> None:
        given = dict(parts)
        self.html |= given
        self.lists[id] = tuple(given)

    def inside(self, id: str) -> list[Html]:
        """What stands in a list."""
        return [self.html[one] for one in self.lists[id]]

    def since(self, before: "Parts | None") -> "Parts":
        """What of these has changed."""
        if before is None:
            return self
        return Parts(
            html={id: part for id, part in self.html.items() if before.html.get(id) != part},
            lists={id: order for id, order in self.lists.items() if before.lists.get(id) != order},
        )

    def __bool__(self) -> bool:
        return bool(self.html or self.lists)


def stale(scene: Scene) -> Html:
    """What is shown is old, and since when; the page must never look current when it is not."""
    said = (
        ["What you see is of ", clock(scene.current_at), ": the store does not answer. ", scene.lost]
        if scene.lost
        else []
    )
    return el("p", mark("bad") if said else "", said, id="stale", class_="banner bad", role="alert", hidden=not said)


def no_beat(scene: Scene, node: NodeLine) -> Html:
    """Since when no beat of the node has come, by this machine's clock; nothing where the newest is younger than
    three: what changes with each beat would be sent with each.
    """
    heard = scene.heard.get(node.name)
    late_s = LATE_BEATS * scene.snapshot.config.clockwork.beat_s
    is_late = heard is not None and not scene.lost and scene.wall - heard > late_s
    return since(heard, words="no beat for") if heard is not None and is_late else Html()


def vm_where(vm: VmSummary) -> list[Html | str]:
    if vm.target and vm.node and vm.target != vm.node:
        return [node_link(vm.node), " → ", node_link(vm.target)]
    return [node_link(vm.node)] if vm.node else ["–"]


def vm_link(said: str, **attributes: str) -> Html:
    return link(path("vm", said), name(said), **attributes)


def node_link(said: str, **attributes: str) -> Html:
    return link(path("node", said), name(said), **attributes)


def vm_state(vm: VmSummary) -> list[Html | str]:
    more = [", frozen"] if vm.frozen else []
    return [mark(vm_tone(vm)), el("b", vm.state.value), *more]


def vm_row(vm: VmSummary) -> Html:
    return el(
        "tr",
        el("th", vm_link(vm.name, id=slug("vm-link", vm.name)), scope="row"),
        el("td", vm_state(vm), class_="state"),
        el("td", vm_where(vm), class_="where"),
        el("td", since(vm.since), class_="since"),
        el("td", vm_remark(vm), class_="why"),
        id=slug("vm", vm.name),
        class_=vm_tone(vm),
    )


def vm_remark(vm: VmSummary) -> str:
    said = [f"frozen by {vm.frozen}"] if vm.frozen and "is frozen by" not in vm.reason else []
    said += [vm.reason] if vm.reason else []
    said += [f"its health: {vm.health}{f' ({vm.health_text})' if vm.health_text else ''}"] if vm.health else []
    said += ["its new definition waits for a restart"] if vm.needs_restart else []
    return "; ".join(said)


def moving(scene: Scene, only: str = "") -> list[tuple[str, Html]]:
    """A line with a bar for each migration under way."""
    vms = [vm for vm in scene.shown.vms if vm.state is VmState.MIGRATING and only in ("", vm.name)]
    return [(slug("move", vm.name), _move(vm)) for vm in vms]


def _move(vm: VmSummary) -> Html:
    progress = vm.migration
    done = None
    if progress and progress.total_bytes:
        done = max(0.0, min(1.0, 1 - progress.remaining_bytes / progress.total_bytes))
    how_far = f"{done:.0%}" if done is not None else "under way"
    words = vm.progress or vm.reason
    return el(
        "li",
        el("span", vm_link(vm.name), " ", vm_where(vm), class_="what"),
        bar(done or 0.0, f"{vm.name}: {how_far}", "busy"),
        el("span", how_far, class_="share"),
        el("span", words, class_="words"),
        id=slug("move", vm.name),
    )


def bar(share: float, label: str, tone: str) -> Html:
    """Drawn, not styled: the page allows no style of an element's own."""
    width = f"{100 * max(0.0, min(1.0, share)):.1f}"
    rects = el("rect", width="100", height="4", class_="track") + el("rect", width=width, height="4", class_="fill")
    return el(
        "svg",
        Html(rects),
        class_=f"bar {tone}",
        viewBox="0 0 100 4",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def table(heads: Sequence[str], rows: Sequence[Html], *, class_: str, id: str | None = None) -> Html:
    head = el("thead", el("tr", [el("th", one, scope="col") for one in heads]))
    return el("div", el("table", head, el("tbody", rows, id=id), class_=class_), class_="scroll")


def journal(entries: Sequence[JournalEntry], most: int) -> list[tuple[str, Html]]:
    """Newest first."""
    return [(slug("j", entry.id), _entry(entry)) for entry in entries[:most]]


def _entry(entry: JournalEntry) -> Html:
    said = [*with_links(entry), *until(entry.hand)]
    return el(
        "li",
        clock(entry.at),
        " ",
        el("code", entry.kind),
        " ",
        el("span", said, class_="said"),
        id=slug("j", entry.id),
        title=f"told by {entry.by}",
    )


def until(hand: Hand | None) -> list[Html | str]:
    """Of what ends by itself."""
    return [" (until ", clock(hand.until), ")"] if hand and hand.until else []


def with_links(entry: JournalEntry) -> list[Html | str]:
    """The words with the names in them leading to their pages; a name that is not in them stands before them."""
    ours = _without_the_operators_words(entry)
    spans: list[tuple[int, int, Html]] = []
    before: list[Html | str] = []
    for kind, one, made in (("vm", entry.vm, vm_link), ("node", entry.node, node_link)):
        if not one:
            continue
        if there := _find_name(ours, kind, one, is_by_hand=entry.hand is not None):
            spans.append((*there, made(one)))
            ours = ours[: there[0]] + _MASK * (there[1] - there[0]) + ours[there[1] :]
        else:
            before += [made(one), " "]
    said, at = list[Html | str](), 0
    for begin, end, html in sorted(spans, key=lambda span: span[0]):
        said += [entry.text[at:begin], html]
        at = end
    return [*before, *said, entry.text[at:]]


_MASK = "\0"
_PLACES = ("on", "to", "from", "of", "for", "with", "than", "and", "or", "that", "until", "because", "not")
"""After which our sentences name a vm or a node. Who did it stands after ``by``, which is none: ``alice (web)``."""


def _without_the_operators_words(entry: JournalEntry) -> str:
    """As long as the text."""
    text = entry.text
    for words in (entry.hand.author, entry.hand.why) if entry.hand else ():
        text = text.replace(words, _MASK * len(words)) if words else text
    return text


def _find_name(text: str, kind: str, name: str, *, is_by_hand: bool) -> tuple[int, int] | None:
    """A name may be any word, ``web`` or ``on``. It is one where it stands whole, in a place for names: best where the
    word before it says so. A sentence about what a hand did begins with what it did.
    """
    whole = rf"({re.escape(name)})(?![\w@-]|\.\w| \((?:web|token)\))"
    begins = rf"^(?={re.escape(name)} is )" if is_by_hand else "^"
    begins = rf"{begins}|[;:,] |\b(?:{'|'.join(_PLACES)}) "
    found = re.search(rf"\b{kind}s? {whole}", text) or re.search(rf"(?:{begins}){whole}", text)
    return found.span(1) if found else None
