"""For programs that a test starts with an environment of its own: they are to be of the same source as the test."""

import os
from typing import Final

SOURCE: Final = {"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
