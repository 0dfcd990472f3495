"""The page of one vm or one node: why it is what it is, and what happened to it."""

from urllib.parse import urlencode

from vmha.model.ids import NodeName, VmName
from vmha.model.records import JournalEntry
from vmha.operator.node_why import sentences as node_sentences
from vmha.operator.node_why import why_node
from vmha.operator.overview import NodeLine
from vmha.operator.why import Why, why
from vmha.operator.why import sentences as vm_sentences
from vmha.policy.telling.explain import VmSummary
from vmha.policy.telling.story import Chapter, tell
from vmha.web.buttons import buttons
from vmha.web.feed import JOURNAL_KEPT, Scene
from vmha.web.html import Child, Html, clock, el, link, mark, name, since, slug
from vmha.web.parts import Parts, journal, moving, no_beat, stale, table, until, vm_row, vm_state, vm_where
from vmha.web.tones import node_tone, vm_tone
from vmha.web.verbs import offered_for_node, offered_for_vm

MOST_ENTRIES = 100
MOST_CHAPTERS = 50
JOURNAL_NOTE = f"The newest {JOURNAL_KEPT} entries of the journal say nothing of it."
STORY_NOTE = f"As far as the newest {JOURNAL_KEPT} entries of the journal know; all of it: vmha vm story."


def parts_of_vm(scene: Scene, vm: str, *, verbs: bool = False) -> Parts:
    """Raises: UnknownName."""
    told = why(scene.snapshot, vm, wall=scene.wall)
    parts = Parts()
    parts.put("stale", stale(scene))
    parts.put("headline", _vm_headline(told.summary))
    parts.put("actions", buttons(offered_for_vm(scene.snapshot, vm) if verbs else [], vm))
    parts.put_list("moves", moving(scene, only=vm))
    parts.put("why", _vm_why(told))
    parts.put_list("story", _story(scene, VmName(vm)))
    return parts


def body_of_vm(parts: Parts) -> list[Html]:
    return [
        parts.html["stale"],
        parts.html["headline"],
        parts.html["actions"],
        el("ul", parts.inside("moves"), id="moves", class_="moves"),
        el("section", el("h2", "Why"), parts.html["why"]),
        el(
            "section",
            el("h2", "Its story"),
            el("ol", parts.inside("story"), id="story", class_="journal"),
            el("p", STORY_NOTE, class_="quiet"),
        ),
    ]


def parts_of_node(scene: Scene, node: str, *, verbs: bool = False) -> Parts:
    """Raises: UnknownName."""
    told = why_node(scene.snapshot, node, wall=scene.wall)
    line = next(line for line in scene.shown.nodes if line.name == told.name)
    parts = Parts()
    parts.put("stale", stale(scene))
    parts.put("headline", _node_headline(line, scene))
    parts.put("actions", buttons(offered_for_node(scene.snapshot, node) if verbs else [], node))
    first, *rest = node_sentences(told, wall=scene.wall)
    parts.put("why", el("div", el("p", first, class_="first"), [el("p", one) for one in rest], id="why", class_="why"))
    vms = [vm for vm in scene.shown.vms if node in (vm.node, vm.target)]
    parts.put_list("vms", ((slug("vm", vm.name), vm_row(vm)) for vm in vms))
    entries = _about(scene, NodeName(node))
    parts.put_list("journal", journal(entries, MOST_ENTRIES))
    parts.put("vms-note", el("p", "None.", id="vms-note", class_="quiet", hidden=bool(vms)))
    parts.put("journal-note", el("p", JOURNAL_NOTE, id="journal-note", class_="quiet", hidden=bool(entries)))
    return parts


def body_of_node(parts: Parts) -> list[Html]:
    heads = ("Vm", "State", "Where", "Since", "Why")
    return [
        parts.html["stale"],
        parts.html["headline"],
        parts.html["actions"],
        el("section", el("h2", "Why"), parts.html["why"]),
        el(
            "section",
            el("h2", "Its vms"),
            table(heads, parts.inside("vms"), id="vms", class_="vms"),
            parts.html["vms-note"],
        ),
        el(
            "section",
            el("h2", "What happened"),
            el("ol", parts.inside("journal"), id="journal", class_="journal"),
            parts.html["journal-note"],
        ),
    ]


def _vm_headline(vm: VmSummary) -> Html:
    tone = vm_tone(vm)
    age: list[Child] = [" · ", since(vm.since, words="for")] if vm.since else []
    return el(
        "div",
        el("h1", mark(tone), name(vm.name)),
        el("p", vm_state(vm)[1:], " · ", vm_where(vm), age, f" · epoch {vm.epoch}"),
        id="headline",
        class_=f"headline {tone}",
        data_title=f"{'(!) ' if tone == 'bad' else ''}{vm.name} is {vm.state}",
        role="status",
    )


def _node_headline(line: NodeLine, scene: Scene) -> Html:
    tone = node_tone(line)
    what_if = f"/what-if?{urlencode({'if': f'node {line.name} lost'}, errors='replace')}"
    age: list[Child] = [" · ", since(line.since, words="session for")] if line.since else [" · no session"]
    age += [", ", beat] if (beat := no_beat(scene, line)) else []
    return el(
        "div",
        el("h1", mark(tone), name(line.name)),
        el("p", el("b", line.condition.value), f" · fencing: {line.armed}", age),
        el("p", link(what_if, "What if it were lost?")),
        id="headline",
        class_=f"headline {tone}",
        data_title=f"{'(!) ' if tone == 'bad' else ''}{line.name} is {line.condition}",
        role="status",
    )


def _vm_why(told: Why) -> Html:
    first, *rest = vm_sentences(told)
    return el("div", el("p", first, class_="first"), [el("p", one) for one in rest], id="why", class_="why")


def _story(scene: Scene, vm: VmName) -> list[tuple[str, Html]]:
    """Chapters, the newest first; within one, in the order in which it happened."""
    chapters = tell(reversed(scene.journal), vm)[-MOST_CHAPTERS:]
    return [(id := f"c-{number}", _chapter(id, chapter)) for number, chapter in reversed(list(enumerate(chapters)))]


def _chapter(id: str, chapter: Chapter) -> Html:
    lines = [
        el("div", clock(line.at), " → " if number else " ", line.text, until(line.hand))
        for number, line in enumerate(chapter.lines)
    ]
    return el("li", lines, id=id)


def _about(scene: Scene, node: NodeName) -> list[JournalEntry]:
    return [entry for entry in scene.journal if node in (entry.node, entry.by)]
