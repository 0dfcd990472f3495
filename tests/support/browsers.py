"""Debian's Chromium, driven by Playwright: what a person sees and does on a page, and what the page complains of.

Playwright's own browsers are not downloaded: its driver comes with its wheel and is told where Chromium is.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

PICTURES = os.environ.get("VMHA_PICTURES", "")
"""A folder: the pictures of the documentation are taken into it. '': none are."""
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars")
"""Tests run as root, whom Chromium refuses its sandbox."""
PATIENCE_MS = 90_000
"""Most of these tests run when nothing else wants the processor: a deadline is for what never comes."""
_RENAME = """(name) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(name, "@desk");
}"""
"""Who asked is told with the machine's name: in a picture not with that of whoever takes it."""
expect.set_options(timeout=PATIENCE_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "no chromium: scripts/bootstrap dev"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), timeout=2 * PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(kw_only=True)
class Tab:
    """One tab: ``page`` is Playwright's; ``complaints``: what its console was told, by scripts and by policies."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, where: str = "/", *, live: bool = True) -> None:
        """Opens a page of the dashboard; ``live``: and waits until its changes come."""
        self.page.goto(self.base + where)
        if live:
            self.page.wait_for_selector("#live[data-state=on]")

    def picture(self, name: str, *, whole: bool = True) -> None:
        """For the documentation, where one is wanted."""
        if PICTURES:
            self.page.evaluate(_RENAME, f"@{os.uname().nodename}")
            self.page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=whole, animations="disabled")


@contextmanager
def tab(
    browser: Browser, base: str, *, scheme: str = "light", width: int = 1280, height: int = 800, **given: Any
) -> Iterator[Tab]:
    """A window with cookies of its own. It ends with the page having had nothing to complain of."""
    context = browser.new_context(
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": height},
        timezone_id="UTC",
        locale="en-GB",
        **given,
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        opened = Tab(page=context.new_page(), base=base)
        opened.page.on("console", lambda said: said.type == "error" and opened.complaints.append(said.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        yield opened
        assert opened.complaints == []
    finally:
        context.close()
