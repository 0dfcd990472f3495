"""The product with one safety check less: a mutant replaces functions by ones that do not check.

One whose target is gone fails loudly: the check has moved, and the mutant must follow it.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

Change = tuple[Any, str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """``removed``: the check, in words. ``changes``: owner, name of the function, and what stands there instead."""

    name: str
    removed: str
    changes: Callable[[], tuple[Change, ...]]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, new in self.changes():
                assert hasattr(owner, name), f"{self.name}: {owner.__name__} has no {name} any more"
                assert _takes_the_same(getattr(owner, name), new), f"{self.name}: {name} takes other arguments now"
                stack.enter_context(patch.object(owner, name, new))
            yield


def _takes_the_same(old: Any, new: Any) -> bool:
    """Or the mutant would end agents with a TypeError, which shows nothing."""
    if not (inspect.isfunction(old) and inspect.isfunction(new)):
        return True
    given, taken = (list(inspect.signature(one).parameters.values()) for one in (old, new))
    kinds = {one.kind for one in taken}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return True
    if inspect.Parameter.VAR_KEYWORD in kinds:
        given, taken = ([one for one in some if one.kind is one.POSITIONAL_OR_KEYWORD] for some in (given, taken))
    return len(given) == len(taken)


def without(kept: Callable[[Any], bool], store: Any) -> Any:
    """A store that leaves compares out of transactions."""

    class Careless:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def txn(self, compares: Any, ops: Any, **how: Any) -> Any:
            return await store.txn([one for one in compares if kept(one)], ops, **how)

    return Careless()
