"""Text for a browser, safe by construction: whatever is not ``Html`` already is escaped, in text and attributes alike.

Names and words come from etcd, libvirt and people: all of them are hostile here. What a reader could not see (control
characters, marks that turn the direction of writing) is spelled out instead, so that no name can pass for another one.
"""

import html
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote

from vmha.model.document import NAME_PATTERN

_VOID = frozenset({"br", "hr", "input", "link", "meta"})
_UNSEEN = re.compile(r"[^\n\t\x20-\x7e\xa1-\u02ff]")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Child = str | Html | int | None | Iterable["Child"]


def clean(text: str) -> str:
    """The text with everything spelled out that would not be seen."""

    def spell(found: re.Match[str]) -> str:
        one = found.group()
        return f"\\u{ord(one):04x}" if unicodedata.category(one) in _HIDDEN else one

    return _UNSEEN.sub(spell, text)


def text(child: Child) -> Html:
    """Children of an element as HTML."""
    if isinstance(child, Html):
        return child
    if child is None:
        return Html()
    if isinstance(child, str):
        return Html(html.escape(clean(child)))
    if isinstance(child, int):
        return Html(child)
    return Html("".join(map(text, child)))


def el(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """An element. ``class_`` is ``class``, ``data_id`` is ``data-id``; None and False leave an attribute out."""
    given = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        said = name.rstrip("_").replace("_", "-")
        given.append(f" {said}" if value is True else f' {said}="{html.escape(clean(str(value)))}"')
    opening = f"<{tag}{''.join(given)}>"
    return Html(opening if tag in _VOID else f"{opening}{text(children)}</{tag}>")


def name(said: str) -> Html:
    """A name, kept apart from the direction in which its surroundings are written."""
    return el("bdi", said)


def link(to: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    return el("a", *children, href=to, **attributes)


def path(*parts: str) -> str:
    """An address of ours: whatever a name holds is one segment of it."""
    return "/" + "/".join(quote(part, safe="") for part in parts)


def slug(prefix: str, said: str) -> str:
    """An id of an element: the name itself where it is one, else its bytes."""
    return f"{prefix}-{said}" if re.match(NAME_PATTERN, said) else f"{prefix}--{said.encode(errors='replace').hex()}"


def mark(tone: str) -> Html:
    """The shape that says how well something is, beside the word and the colour."""
    shape = Html(f'<svg class="mark {tone}" aria-hidden="true"><use href="#mark-{tone}"></use></svg>')
    return shape if tone in TONES else mark("off")


TONES = ("ok", "busy", "warn", "bad", "off")


def since(at: float, *, words: str = "") -> Html:
    """When something began; the page says how long ago that is, and counts on. ``words``: before that duration.

    What is sent does not change with time, so that a row of a list is sent again only when something else does.
    """
    if not at:
        return Html()
    said = datetime.fromtimestamp(at, UTC).strftime("since %Y-%m-%d %H:%M UTC")
    return el("time", said, data_since=f"{at:.1f}", data_words=words or None, datetime=_iso(at), title=_iso(at))


def clock(at: float) -> Html:
    """A time of day, in UTC until the page says it in the reader's own."""
    said = datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")
    return el("time", said, data_at=f"{at:.3f}", datetime=_iso(at), title=_iso(at))


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
