"""How `make docs` builds these pages: Sphinx with MyST, so that the same Markdown reads well on a code host too.

Nothing is fetched. Every warning is an error (-W), a link to a page or a heading that does not exist among them.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

project = "vmha"
copyright = "the vmha authors, Apache-2.0"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
root_doc = "index"

nitpicky = True
myst_heading_anchors = 4  # links to headings, as code hosts make them
myst_enable_extensions = ["deflist"]
suppress_warnings = ["misc.highlighting_failure"]  # excerpts of documents, with ... in them

html_theme = "furo"
html_title = "vmha"
html_show_sourcelink = False
html_copy_source = False
