"""What anybody may ask of a page, whoever he is: looked for in the page itself, as the browser has laid it out."""

from importlib.resources import files
from typing import Any

from playwright.sync_api import Page

_AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text()
_STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

_FAULTS = r"""
() => {
  const faults = [];
  const shown = (one) => one.checkVisibility({ visibilityProperty: true }) && one.getClientRects().length > 0;
  const said = (one) => `<${one.localName}#${one.id}.${one.className}> ${one.textContent.trim().slice(0, 40)}`;

  // Nothing is wider than the window.
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) faults.push(`the page is ${wide} px wider than its window`);
  for (const one of document.querySelectorAll("main *")) {
    if (!shown(one) || one.closest(".sprite, svg, .scroll table")) continue;
    if (one.getBoundingClientRect().right > innerWidth + 1) faults.push(`out of the window: ${said(one)}`);
  }
  // Nor does text leave its cell.
  for (const one of document.querySelectorAll("td, th, .moves li > *")) {
    const over = one.clientWidth ? one.scrollWidth - one.clientWidth : 0;
    if (shown(one) && over > 1) faults.push(`out of its cell: ${said(one)}`);
  }

  // Names for whoever does not see.
  for (const one of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (shown(one) && !one.labels.length && !one.ariaLabel) faults.push(`no label: ${said(one)}`);
  }
  for (const one of document.querySelectorAll("a, button")) {
    if (shown(one) && !one.textContent.trim() && !one.ariaLabel) faults.push(`says nothing: ${said(one)}`);
  }
  for (const one of document.querySelectorAll("svg:not([aria-hidden])")) {
    if (!one.getAttribute("aria-label")) faults.push(`a picture without words: ${said(one)}`);
  }
  for (const one of document.querySelectorAll("[aria-labelledby]")) {
    if (!document.getElementById(one.getAttribute("aria-labelledby"))) faults.push(`labelled by nothing: ${said(one)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) faults.push(`two are #${id}`);

  // Contrast of text, by WCAG 2.2 (1.4.3): 4.5, or 3 where it is large.
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const paper = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const found = rgba(getComputedStyle(at).backgroundColor);
      if (found[3] === 255) return found;
    }
    return rgba("Canvas");
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(one) || !shown(one) || one.closest("script, option")) continue;
    seen.add(one);
    const style = getComputedStyle(one);
    const size = parseFloat(style.fontSize);
    if (!size) continue;
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const [a, b] = [light(rgba(style.color)), light(paper(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (large ? 3 : 4.5)) faults.push(`contrast ${ratio.toFixed(2)}: ${said(one)}`);
  }
  return faults;
}
"""


def faults(page: Page) -> list[str]:
    """In words; none: it is as it should be."""
    found: list[str] = page.evaluate(_FAULTS)
    return found


def axe_faults(page: Page) -> list[str]:
    """What axe-core has against it: roles, names, order, contrast, by the standards for who does not see or point."""
    page.evaluate(_AXE)
    said: dict[str, Any] = page.evaluate("(tags) => axe.run(document, {runOnly: tags})", _STANDARDS)
    return [f"{one['id']}: {each['html'][:120]}" for one in said["violations"] for each in one["nodes"]]
