"""What is read before anything is done: what it is, what will happen by the leader's own plan, what to know before.

Its form repeats a digest of the plan that was shown, so that nobody confirms what he has not read.
"""

from vmha.model.holds import PauseMode
from vmha.operator.reasons import LONGEST_REASON
from vmha.policy.state.snapshot import Snapshot
from vmha.web.guarded import Rehearsed
from vmha.web.html import Html, el, link, mark, name, path
from vmha.web.verbs import Deed, Rehearsal, Wish

MOST_MOVES, FIRST_MOVES = 12, 8

_MODES = {
    PauseMode.STARTS.value: "nothing is started but what ends where it runs",
    PauseMode.ALL.value: "nothing is started, stopped, moved, recovered or fenced; what runs is watched",
}


def in_words(doing: Deed, wish: Wish) -> str:
    """What it is, in a sentence."""
    to = wish.to or "the best other node"
    return doing.what.format(on=wish.on, to=to, mode=_MODES.get(wish.mode, wish.mode))


def confirmation(
    doing: Deed,
    wish: Wish,
    rehearsed: Rehearsed | None,
    snapshot: Snapshot,
    *,
    token: str,
    note: str = "",
    refused: str = "",
) -> list[Html]:
    where = {"vm": path("vm", wish.on), "node": path("node", wish.on)}.get(doing.about, "/")
    what = in_words(doing, wish)
    title = el("h1", f"{doing.label} ", name(wish.on) if wish.on else "the cluster", "?")
    shown = [
        el("header", title, el("p", what), class_="headline"),
        el("p", mark("warn"), note, class_="banner warn", role="alert") if note else Html(),
        _choices(doing, wish, snapshot),
    ]
    if rehearsed is None:
        said = el("p", mark("bad"), refused, class_="banner bad", role="alert")
        return [*shown, said, el("p", link(where, "Back", class_="button"), class_="actions")]
    found = rehearsed.found
    left = [el("li", name(one.vm), f" can not leave: {one.text}") for one in found.left]
    risks = [el("li", one) for one in found.risks] + left
    return [
        *shown,
        el("section", el("h2", mark("warn"), "What to know before"), el("ul", risks), id="risks") if risks else Html(),
        el("section", el("h2", "What will happen"), _plan(found), id="plan"),
        _deed_form(doing, rehearsed, token=token, back=where),
    ]


def _plan(found: Rehearsal) -> list[Html]:
    """Of many moves the first are in sight and the others a click away; what is said of all of them, and what would not
    run, always is. What is to be confirmed must not be a screen further for each ten vms.
    """
    items = [el("li", one) for one in found.plan]
    if found.moves <= MOST_MOVES:
        return [el("ul", items)]
    head, more, rest = items[:FIRST_MOVES], items[FIRST_MOVES : found.moves], items[found.moves :]
    folded = el("details", el("summary", f"{len(more)} more like these"), el("ul", more))
    return [el("ul", head), folded, el("ul", rest)]


def _deed_form(doing: Deed, rehearsed: Rehearsed, *, token: str, back: str) -> Html:
    wish = rehearsed.wish
    held = {"token": token, "on": wish.on, "seen": rehearsed.digest}
    if "to" in doing.takes:
        held["to"] = wish.to
    if "mode" in doing.takes:
        held["mode"] = wish.mode
    why = Html()
    if "reason" in doing.takes:
        needed = doing.about == "cluster"
        field = el("input", name="reason", value=wish.reason, maxlength=LONGEST_REASON, required=needed)
        why = el("label", "Why, for those who wonder later" if needed else "Why (optional)", field, class_="field")
    same = Html()
    if rehearsed.found.left:
        box = el("input", type="checkbox", name="all-the-same", value="yes", required=True)
        same = el("label", box, " Drain it all the same: these stay until they can leave.", class_="check")
    return el(
        "form",
        [el("input", type="hidden", name=key, value=value) for key, value in held.items()],
        why,
        same,
        el(
            "p",
            el("button", doing.label, class_="danger" if doing.is_grave else "primary", id="confirm"),
            link(back, "Leave it", class_="button"),
            class_="actions",
        ),
        method="post",
        action=f"/do/{wish.verb}",
        id="deed",
    )


def _choices(doing: Deed, wish: Wish, snapshot: Snapshot) -> Html:
    """What changes the plan: choosing shows the plan anew."""
    options: list[Html] = []
    if "to" in doing.takes:
        names = ["", *sorted(snapshot.nodes)]
        said = {"": "the best other node"}
        key, label = "to", "To "
        options = [el("option", said.get(one, one), value=one, selected=one == wish.to) for one in names]
    elif "mode" in doing.takes:
        key, label = "mode", "How much "
        options = [el("option", one, value=one, selected=one == wish.mode) for one in _MODES]
    if not options:
        return Html()
    return el(
        "form",
        el("input", type="hidden", name="on", value=wish.on) if wish.on else Html(),
        el("label", label, el("select", options, name=key, data_submit=True)),
        el("button", "Show the plan", class_="no-script"),
        method="get",
        action=f"/do/{wish.verb}",
        class_="what-if",
    )
