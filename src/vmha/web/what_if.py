"""What would happen if: the leader's own plans on what is supposed. Changes nothing, so nobody has to log in for it."""

from collections.abc import Sequence

from vmha.model.errors import Rejected
from vmha.operator.forecast import ANY_NODE_LOST, Foretold, is_all_well, tell
from vmha.web.feed import Scene
from vmha.web.foreseen import gap_of, moves_of
from vmha.web.html import Html, el, mark, slug
from vmha.web.parts import node_link, table, vm_link

MOST_SUPPOSED = 8
LONGEST = 200
MOST_OFFERED = 50


def supposed_of(given: Sequence[str]) -> list[str]:
    """Raises: Rejected."""
    found = [text for text in (" ".join(one.split()) for one in given) if text]
    if len(found) > MOST_SUPPOSED:
        raise Rejected(f"{len(found)} things are supposed", accepted=f"at most {MOST_SUPPOSED}")
    if any(len(text) > LONGEST for text in found):
        raise Rejected("what is supposed is too long", accepted=f"at most {LONGEST} characters")
    return found


def body(scene: Scene, supposed: Sequence[str]) -> list[Html]:
    """The form, and what the supposed would bring."""
    complaint, told = "", None
    try:
        told = tell(scene.snapshot, supposed_of(supposed), wall=scene.wall) if supposed else None
    except Rejected as error:
        complaint = str(error)
    return [
        el("header", el("h1", "What if"), el("p", "By the leader's own rules. Nothing is changed."), class_="headline"),
        _form(scene, supposed),
        el("p", mark("bad"), complaint, class_="banner bad", role="alert") if complaint else Html(),
        _answer(told) if told else Html(),
    ]


def _form(scene: Scene, supposed: Sequence[str]) -> Html:
    choices = [ANY_NODE_LOST]
    choices += [f"node {node.name} {what}" for what in ("lost", "drained") for node in scene.shown.nodes]
    chosen = set(supposed)
    options = [el("option", one, value=one, selected=one in chosen) for one in choices]
    others = [one for one in supposed if one not in choices] or [one for one in supposed if one in choices][1:]
    words = el("input", name="if", value=" ".join(others[:1]), maxlength=LONGEST, autocomplete="off", list="supposed")
    return el(
        "form",
        el("label", "Suppose ", el("select", el("option", "nothing: as it is now", value=""), options, name="if")),
        el("label", "and ", words),
        el("datalist", [el("option", value=one) for one in _examples(scene)], id="supposed"),
        el("button", "Tell", class_="primary"),
        method="get",
        action="/what-if",
        class_="what-if",
    )


def _examples(scene: Scene) -> list[str]:
    """What may be supposed besides: the first vms and all nodes, for the field to offer."""
    vms = [f"vm {vm.name} {what}" for vm in scene.shown.vms[:MOST_OFFERED] for what in ("running", "stopped")]
    return vms + [f"node {node.name} undrained" for node in scene.shown.nodes if node.maintenance]


def _answer(told: Foretold) -> Html:
    well = is_all_well(told)
    title = "Every vm that is wanted running would run" if well else "Not every vm would run"
    return el(
        "section",
        el("h2", mark("ok" if well else "bad"), title, class_=f"verdict {'ok' if well else 'bad'}"),
        el("p", gap_of(told.forecast), class_="quiet"),
        moves_of(told.forecast),
        _losses(told) if told.any_lost is not None else Html(),
        aria_live="polite",
        id="answer",
    )


def _losses(told: Foretold) -> Html:
    """For each node, what its loss would bring on top."""
    rows = []
    for node, found in sorted((told.any_lost or {}).items()):
        tone, words = ("bad", "not survived") if found.down else ("ok", "survived")
        if not found.is_known:
            tone, words = "warn", "not known"
        said = [el("div", vm_link(one.vm), f" would not come back: {one.text}") for one in found.down]
        if found.forecast is None:
            said.append(el("div", "All others find room elsewhere." if found.is_known else "Suppose it alone."))
        elif found.forecast.interrupted:
            said.append(el("div", f"Booted anew elsewhere: {', '.join(found.forecast.interrupted)}"))
        rows.append(
            el(
                "tr",
                el("th", node_link(node), scope="row"),
                el("td", mark(tone), el("b", words), class_="state"),
                el("td", said or "No vm would be touched.", class_="why"),
                id=slug("loss", node),
                class_=tone,
            )
        )
    if not rows:
        return el("p", "No node is there that could be lost.")
    return table(("If it were lost", "The cluster", "Its vms"), rows, class_="losses")
