"""What would happen if: the leader's own plans on what is supposed. Changes nothing, so nobody has to log in for it."""

from collections.abc import Sequence

from vmha.model.errors import Rejected
from vmha.operator.forecast import ANY_NODE_LOST, Told, is_all_well, sentences, tell
from vmha.web.feed import Scene
from vmha.web.html import Html, el, mark

MOST_SUPPOSED = 8
LONGEST = 200


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
    other = next((one for one in supposed if one not in choices), "")
    words = el("input", name="if", value=other, maxlength=LONGEST, placeholder="vm web stopped", autocomplete="off")
    return el(
        "form",
        el("label", "Suppose ", el("select", el("option", "nothing: as it is now", value=""), options, name="if")),
        el("label", "and ", words),
        el("button", "Tell"),
        method="get",
        action="/what-if",
        class_="what-if",
    )


def _answer(told: Told) -> Html:
    well = is_all_well(told)
    title = "Every vm that is wanted running would run" if well else "Not every vm would run"
    lines = [el("li", line) for line in sentences(told)]
    return el(
        "section",
        el("h2", mark("ok" if well else "bad"), title),
        el("ul", lines, class_="answer"),
        aria_live="polite",
        id="answer",
    )
