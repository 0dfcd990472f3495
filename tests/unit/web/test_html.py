"""Text for a browser: whatever is not ours is text, and can be seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmha.web.html import Html, clean, el, path, slug, text


@given(st.text())
def test_no_text_opens_an_element_or_closes_an_attribute(said: str) -> None:
    made = el("p", said, title=said)
    inside = made.removeprefix('<p title="').removesuffix("</p>")
    title, _, words = inside.partition('">')
    assert not {"<", ">", '"', "'"} & set(title)
    assert not {"<", ">", '"', "'"} & set(words)


def test_what_is_html_already_is_left_as_it_is() -> None:
    assert el("p", el("b", "a < b"), " & ", 7) == "<p><b>a &lt; b</b> &amp; 7</p>"
    assert text([Html("<hr>"), None, ["x", "<"]]) == "<hr>x&lt;"


def test_attributes_are_left_out_or_bare_or_escaped() -> None:
    assert el("input", name="q", value='"><script>', hidden=True, id=None, disabled=False) == (
        '<input name="q" value="&quot;&gt;&lt;script&gt;" hidden>'
    )
    assert el("td", class_="x", data_label="y") == '<td class="x" data-label="y"></td>'


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("web\u202egnp", "web\\u202egnp"),
        ("we\u200bb", "we\\u200bb"),
        ("we\x1b[31mb", "we\\u001b[31mb"),
        ("we\0b", "we\\u0000b"),
        ("büro é 虚拟机", "büro é 虚拟机"),
        ("a\nb", "a\nb"),
    ],
)
def test_what_could_not_be_seen_is_spelled_out(said: str, seen: str) -> None:
    assert clean(said) == seen


def test_a_name_is_one_segment_of_an_address() -> None:
    assert path("vm", "../../what?if#x") == "/vm/..%2F..%2Fwhat%3Fif%23x"


def test_ids_tell_names_apart_that_look_alike() -> None:
    assert slug("vm", "web") == "vm-web"
    assert slug("vm", 'a"b') == "vm--612262"
    assert len({slug("vm", one) for one in ("a b", "a\u00a0b", "a\u200bb")}) == 3
