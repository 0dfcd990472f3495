"""Whether two definitions are the same one."""

import hashlib
import re
from functools import lru_cache

_METADATA = re.compile(r"\s*<metadata>.*?</metadata>", re.DOTALL)


@lru_cache(maxsize=16384)
def digest(xml: str) -> str:
    """What two definitions have in common when they are the same: their text, less metadata and white space around."""
    return hashlib.sha256(_METADATA.sub("", xml).strip().encode(errors="replace")).hexdigest()[:16]
