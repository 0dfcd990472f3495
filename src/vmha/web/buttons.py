"""The ways to what can be done: links to the confirmations, in the order in which they are needed."""

from urllib.parse import urlencode

from vmha.web.html import Html, el, link
from vmha.web.verbs import deed


def buttons(verbs: list[str], on: str = "") -> Html:
    """Ways to the confirmations."""
    made = [_button(verb, on) for verb in verbs]
    return el("p", made, id="actions", class_="actions", hidden=not made)


def _button(verb: str, on: str) -> Html:
    to = f"/do/{verb}" + (f"?{urlencode({'on': on}, errors='replace')}" if on else "")
    return link(to, deed(verb).label, class_="button grave" if deed(verb).is_grave else "button", id=f"do-{verb}")
