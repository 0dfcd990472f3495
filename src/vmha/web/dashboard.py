"""The first page: what is wrong and why, before anything else; then nodes, migrations, vms, and the journal."""

from collections.abc import Iterable, Iterator

from vmha.model.durations import ago
from vmha.operator.overview import NodeLine, Overview
from vmha.operator.survival import in_one_line
from vmha.policy.telling.explain import VmSummary
from vmha.web.buttons import buttons
from vmha.web.feed import Scene
from vmha.web.html import Html, el, link, mark, since, slug
from vmha.web.parts import Parts, bar, journal, moving, no_beat, node_link, stale, table, vm_link, vm_row
from vmha.web.tones import RANK, headline, node_tone, troubles, vm_tone
from vmha.web.verbs import offered_for_cluster

MOST_ROWS = 300
"""Of vms, the worst first. More of them nobody reads: they are looked for by name."""
MOST_TROUBLES = 12
MOST_NAMED = 6
MOST_ENTRIES = 40
SHOWN_IN_GIB_MIB = 10240


def parts_of(scene: Scene, query: str = "", *, verbs: bool = False) -> Parts:
    """Everything that changes on it. ``verbs``: also the ways to what can be done."""
    shown, parts = scene.shown, Parts()
    parts.put("stale", stale(scene))
    parts.put("headline", _headline(scene))
    parts.put("attention", _attention(shown))
    parts.put("actions", buttons(offered_for_cluster(scene.snapshot) if verbs else []))
    moves = moving(scene)
    parts.put_list("moves", moves)
    parts.put("moving-title", el("h2", "Moving now", id="moving-title", hidden=not moves))
    parts.put_list("nodes", ((slug("node", node.name), _node_row(node, scene)) for node in shown.nodes))
    found = sorted(_matching(shown, query), key=lambda vm: (RANK[vm_tone(vm)], vm.name))
    listed = found[:MOST_ROWS]
    parts.put_list("vms", ((slug("vm", vm.name), vm_row(vm)) for vm in listed))
    parts.put("vms-note", _note(shown, found, listed, query))
    parts.put_list("journal", journal(scene.journal, MOST_ENTRIES))
    parts.put("journal-note", el("p", _silent(scene), id="journal-note", class_="quiet", hidden=bool(scene.journal)))
    return parts


def body(parts: Parts, query: str = "") -> list[Html]:
    """The page around them."""
    search = el("input", type="search", name="q", value=query, id="find", placeholder="Find a vm", maxlength=100)
    label = el("label", "Find a vm by name, state or node ", search, class_="find")
    form = el("form", label, el("button", "Find", class_="no-script"), method="get", action="/", role="search")
    return [
        parts.html["stale"],
        parts.html["headline"],
        parts.html["attention"],
        el(
            "section",
            parts.html["moving-title"],
            el("ul", parts.inside("moves"), id="moves", class_="moves", aria_live="off"),
            aria_labelledby="moving-title",
        ),
        el(
            "section",
            el("h2", "Nodes", id="nodes-title"),
            table(
                ("Node", "Condition", "Fencing", "Session", "Vms", "Memory", "Vcpus", "Remark"),
                parts.inside("nodes"),
                id="nodes",
                class_="nodes",
            ),
            aria_labelledby="nodes-title",
        ),
        el(
            "section",
            el("div", el("h2", "Virtual machines", id="vms-title"), form, class_="row"),
            table(("Vm", "State", "Where", "Since", "Why"), parts.inside("vms"), id="vms", class_="vms"),
            parts.html["vms-note"],
            aria_labelledby="vms-title",
        ),
        el(
            "section",
            el("h2", "Journal", id="journal-title"),
            el("ol", parts.inside("journal"), id="journal", class_="journal"),
            parts.html["journal-note"],
            aria_labelledby="journal-title",
            class_="wide",
        ),
        parts.html["actions"],
    ]


def _headline(scene: Scene) -> Html:
    shown = scene.shown
    said = headline(shown, lost=scene.lost)
    online = sum(node.condition == "online" for node in shown.nodes)
    counted = sorted(shown.count().items())
    vms = ", ".join(f"{count} {state}" for state, count in counted) or "none"
    led: list[Html | str] = ["no leader"]
    if shown.leader:
        led = ["led by ", node_link(shown.leader.node), " ", since(shown.leader.since, words="for")]
    return el(
        "div",
        el("h1", mark(said.tone), said.title),
        el("p", led, f" · {online} of {len(shown.nodes)} nodes online · vms: {vms}"),
        *_survival(shown),
        id="headline",
        class_=f"headline {said.tone}",
        data_title=f"{'' if said.tone in ('ok', 'busy') else '(!) '}{scene.cluster}: {said.title}",
        role="status",
    )


def _survival(shown: Overview) -> Iterator[Html]:
    """The N+1 light: would it survive the loss of any one node?"""
    said = in_one_line(shown.survival) if shown.survival else ""
    if shown.survival and said:
        tone = {True: "ok", False: "warn", None: "off"}[shown.survival.survives]
        yield el("p", mark(tone), link("/what-if?if=any+node+lost", said) if tone != "ok" else said, class_="survival")


def _attention(shown: Overview) -> Html:
    lines: list[Html] = []
    if shown.pause is not None:
        what = "Everything is paused" if shown.pause.mode == "all" else "Starts are paused"
        lines.append(el("li", mark("warn"), el("span", f"{what} by {shown.pause.in_words}; lift it with: vmha resume")))
    found = list(_together(troubles(shown)))
    for words, vms in found[:MOST_TROUBLES]:
        lines.append(el("li", mark("bad"), el("span", _about(vms), words)))
    if len(found) > MOST_TROUBLES:
        lines.append(el("li", mark("bad"), el("span", f"and {len(found) - MOST_TROUBLES} more")))
    if not shown.nodes:
        lines.append(el("li", mark("off"), "No node has joined yet: start the agent on each host (vmha agent)."))
    return el("ul", lines, id="attention", class_="attention", hidden=not lines)


def _together(found: Iterable[tuple[str, str | None]]) -> Iterator[tuple[str, list[str]]]:
    """What is said of several vms, once: a lost node has many, and all of them wait for the same."""
    vms: dict[str, list[str]] = {}
    for words, vm in found:
        vms.setdefault(words, []).extend([vm] if vm else [])
    for words, those in vms.items():
        yield (f"are{words.removeprefix('is')}" if len(those) > 1 else words), those


def _about(vms: list[str]) -> list[Html | str]:
    if not vms:
        return []
    said: list[Html | str] = ["vm " if len(vms) == 1 else f"{len(vms)} vms, "]
    for number, vm in enumerate(vms[:MOST_NAMED]):
        said += [", " if number else "", vm_link(vm)]
    return [*said, f" and {len(vms) - MOST_NAMED} more " if len(vms) > MOST_NAMED else " "]


def _node_row(node: NodeLine, scene: Scene) -> Html:
    leader = scene.shown.leader
    leads = leader is not None and leader.node == node.name
    beat = no_beat(scene, node)
    remark = "; ".join(said for said in (node.why_not, node.fencing, *node.notes) if said)
    return el(
        "tr",
        el("th", node_link(node.name, id=slug("node-link", node.name)), scope="row"),
        el("td", mark(node_tone(node)), el("b", node.condition.value), ", leads" if leads else "", class_="state"),
        el("td", node.armed.value, class_="armed", data_label="fencing"),
        el("td", [since(node.since) or "none", [", ", beat] if beat else ""], class_="since", data_label="session"),
        el("td", node.vms, class_="count", data_label="vms"),
        el("td", _memory(node), class_="load", data_label="memory"),
        el("td", _vcpus(node), class_="load", data_label="vcpus"),
        el("td", remark, class_="why"),
        id=slug("node", node.name),
        class_=node_tone(node),
    )


def _memory(node: NodeLine) -> list[Html | str]:
    """In GiB where a node has many of them: one looks for the difference, not for digits."""
    used, most = node.memory_used_mib, node.memory_for_vms_mib
    said = f"{used} of {most} MiB" if most else f"{used} MiB"
    if most >= SHOWN_IN_GIB_MIB:
        said = f"{used / 1024:.3g} of {most / 1024:.3g} GiB"
    return _load(said, used, most)


def _vcpus(node: NodeLine) -> list[Html | str]:
    """Where no more than so many are given out, too many are a fault; else they are only shared."""
    used, most = node.vcpus_used, node.vcpus_for_vms or node.vcpus
    return _load(f"{used} of {most}" if most else f"{used}", used, most, is_limit=bool(node.vcpus_for_vms))


def _load(said: str, used: int, most: int, *, is_limit: bool = True) -> list[Html | str]:
    if not most:
        return [el("span", said)]
    share = used / most
    tone = "bad" if share > 1 else "warn" if share > 0.9 else "plain"
    return [el("span", said), bar(share, said, tone if is_limit else "plain")]


def _matching(shown: Overview, query: str) -> Iterator[VmSummary]:
    words = query.casefold().split()
    for vm in shown.vms:
        said = f"{vm.name} {vm.state} {vm.node or ''} {vm.target or ''} {vm.failover_domain or ''}".casefold()
        if all(word in said for word in words):
            yield vm


def _note(shown: Overview, found: list[VmSummary], listed: list[VmSummary], query: str) -> Html:
    said: list[Html | str] = []
    if not shown.vms:
        said = ["No vm yet: vmha vm add NAME --xml FILE"]
    elif not found:
        said = [f"No vm matches {query!r}. ", link("/", "Show all")]
    elif len(found) > len(listed):
        said = [f"These are {len(listed)} of {len(found)}, the worst first: find others by name."]
    return el("p", said, id="vms-note", class_="quiet", hidden=not said)


def _silent(scene: Scene) -> str:
    age = ago(scene.wall - scene.current_at) if scene.lost else ""
    return f"Nothing was read for {age}." if age else "The journal is empty."
