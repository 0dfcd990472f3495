"""The frame of every page: the shapes, the way from one page to another, and what the page's script needs to know."""

import json
from importlib.resources import files

from vmha.web.html import Child, Html, el, link, text

# Each tone has a shape of its own, so that nobody needs to see its colour.
_SHAPES = {
    "ok": '<circle cx="8" cy="8" r="5.5"/>',
    "busy": '<path d="M3 3l6 5-6 5zM8 3l6 5-6 5z"/>',
    "warn": '<path d="M8 1.5L15 8l-7 6.5L1 8z"/>',
    "bad": '<path d="M8 1l7.5 13.5H.5zM7 6v4.5h2V6zm0 5.5v1.7h2v-1.7z" fill-rule="evenodd"/>',
    "off": '<path d="M8 2.5a5.5 5.5 0 100 11 5.5 5.5 0 000-11zm0 1.8a3.7 3.7 0 110 7.4 3.7 3.7 0 010-7.4z"/>',
}
_SPRITE = Html(
    '<svg class="sprite" aria-hidden="true">'
    + "".join(f'<symbol id="mark-{tone}" viewBox="0 0 16 16">{shape}</symbol>' for tone, shape in _SHAPES.items())
    + "</svg>"
)
_KEYS = (("/", "find a vm"), ("j k", "next, previous row"), ("Enter", "open it"), ("g", "cluster"), ("w", "what if"))


def page(
    title: str,
    *children: Child,
    cluster: str,
    where: str = "",
    stream: str | None = None,
    who: Child = None,
) -> Html:
    """A whole page. ``stream``: where its changes come from; ``who``: who is logged in, or how to."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="stylesheet", href="/static/style.css"),
        el("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        el("script", src="/static/page.js", defer=True),
    )
    links = (("/", "Cluster"), ("/what-if", "What if"))
    nav = el(
        "nav",
        el("span", "vmha ", el("bdi", cluster), class_="brand"),
        [link(to, said, aria_current="page" if where == to else None) for to, said in links],
        el("span", who, class_="who"),
        el("span", id="live", class_="live", role="status"),
        aria_label="Pages",
    )
    keys = [[el("kbd", key), f" {what}  "] for key, what in _KEYS]
    frame = el(
        "body",
        _SPRITE,
        link("#main", "To the content", class_="skip"),
        nav,
        el("main", text(children), id="main", tabindex="-1"),
        el("footer", keys, class_="keys"),
        data_stream=stream,
    )
    return Html("<!doctype html>" + el("html", head, frame, lang="en"))


def static(name: str) -> bytes:
    return files("vmha.web").joinpath("static", name).read_bytes()


STATIC = {"style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def as_event(kind: str, data: object) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so that no data ends the event early."""
    return f"event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
