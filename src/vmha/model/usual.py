"""What a large cluster has ten thousand of, read with what its records have in common read once.

A definition ends like that of most other vms: from its priority on all is as usual. And the candidates of a placement
are mostly those of other placements, too. Both are by far the longest parts of the two records, and to read them anew
for each vm takes longer than the rest.

``read`` gives what ``keys.decode`` would, and refuses what that would. It knows the records as ``encode`` writes them;
whatever looks otherwise goes to ``decode`` as a whole. Pieces are cut at ``,"field":``, which stands in no JSON
string: there a quotation mark has a backslash before it.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic_core import from_json

from vmha.model.errors import Rejected
from vmha.model.keys import decode_once
from vmha.model.records import Candidate, Placement
from vmha.model.schema import UPGRADES
from vmha.model.vm import Desired, VmSpec

T = TypeVar("T")

_FEW: Final = 300
"""Records: of no more than these nothing is remembered, it would not pay."""
_MOST: Final = 1 << 14
"""Of a kind of piece, that are remembered."""

_TEXT: Final = rb'"([^"\\\x00-\x1f]*)"'
_NAME: Final = rb'"([A-Za-z0-9][A-Za-z0-9_.+:@-]{0,62})"'


class Usual:
    """Whoever reads a whole listing has one, and remembers nothing of it afterwards."""

    def __init__(self) -> None:
        self._candidates = _Candidates()
        self._endings: dict[bytes, VmSpec] = {}
        self._asked = 0

    def read(self, kind: type[T], value: bytes, *, where: str) -> T:
        """Raises: Rejected: as ``keys.decode``."""
        found: Any = None
        self._asked += 1
        if self._asked > _FEW and not UPGRADES:
            if kind is Placement:
                found = self._placement(value)
            elif kind is VmSpec:
                found = self._spec(value)
        return decode_once(kind, value, where=where) if found is None else cast(T, found)

    # --- placements: the candidates are read one by one, each that is new

    def _placement(self, value: bytes) -> Placement | None:
        reason = value.find(_REASON) + len(_REASON)
        begin = value.find(_CANDIDATES, reason)
        end = value.find(_AFTER_CANDIDATES, begin)
        if reason < len(_REASON) or begin < 0 or end < 0:
            return None
        before = value[reason:begin]
        after = value[end:]
        if b"{" in before or b"}" in before or b'"reason"' in after or b"\\" in after:
            return None  # they may be somebody else's
        begin += len(_CANDIDATES)
        try:
            named = tuple(map(self._candidates.__getitem__, value[begin:end].split(b"},{")))
            placement = decode_once(Placement, value[: begin - 1] + value[end + 1 :], where="")
        except Rejected:
            return None
        if placement.reason.candidates:
            return None
        object.__setattr__(placement.reason, "candidates", named)  # it was made here, and nobody has seen it yet
        return placement

    # --- definitions: the ending is read once for all vms that have the same

    def _spec(self, value: bytes) -> VmSpec | None:
        begins = _spec_begins()(value)
        end = value.find(_AFTER_XML)
        goes_on = _spec_goes_on()(value, end + 1) if begins is not None and end > 0 else None
        if begins is None or goes_on is None:
            return None
        uuid, desired, why, domain, ending = goes_on.groups()
        try:
            own = {
                "name": begins[1].decode(),
                "xml": from_json(value[begins.end() : end + 1]),
                "uuid": uuid.decode(),
                "desired": _DESIRED[desired],
                "desired_why": why.decode(),
                "failover_domain": domain.decode() if domain is not None else None,
            }
            like = self._endings.get(ending) or self._ending(ending, value)
        except (KeyError, ValueError, Rejected):
            return None
        return like.model_copy(update=own) if like is not None and own["xml"] else None

    def _ending(self, ending: bytes, value: bytes) -> VmSpec | None:
        """None: it says something of what is each vm's own (a probe has a name, too), and the last word counts."""
        if len(self._endings) >= _MOST or b"\\" in ending or any(field in ending for field in _OWN):
            return None
        self._endings[ending] = like = decode_once(VmSpec, value, where="")
        return like


_REASON: Final = b'"reason":{"rule":'
_CANDIDATES: Final = b',"candidates":[{'
_AFTER_CANDIDATES: Final = b'}]},"since":'

_SPEC_BEGINS: Final = rb'\{"name":%b,"xml":(?=")' % _NAME
_AFTER_XML: Final = b'","definition":null,"uuid":'
_SPEC_GOES_ON: Final = (
    rb',"definition":null,"uuid":%b,"desired":"([a-z-]+)","desired_why":%b,"failover_domain":(?:null|%b)(,"priority":.*)'
    % (_TEXT, _TEXT, _NAME)
)


@cache  # it takes a millisecond, which a reader of a few records has no use for
def _spec_begins() -> Callable[[bytes], re.Match[bytes] | None]:
    return re.compile(_SPEC_BEGINS).match


@cache
def _spec_goes_on() -> Callable[[bytes, int], re.Match[bytes] | None]:
    return re.compile(_SPEC_GOES_ON, re.DOTALL).fullmatch


_OWN: Final = (b'"name"', b'"xml"', b'"definition"', b'"uuid"', b'"desired"', b'"desired_why"', b'"failover_domain"')
_DESIRED: Final = {str(desired).encode(): desired for desired in Desired}


class _Candidates(dict[bytes, Candidate]):
    """By what stands between the braces of one."""

    def __missing__(self, text: bytes) -> Candidate:
        """Raises: Rejected: it is none, or is not parted from the next where it seems to be."""
        candidate = decode_once(Candidate, b"{" + text + b"}", where="")
        if len(self) < _MOST:
            self[text] = candidate
        return candidate
