"""The product with one safety check less: a mutant replaces functions by ones that do not check.

One whose target is gone fails loudly: the check has moved, and the mutant must follow it.
"""

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
                stack.enter_context(patch.object(owner, name, new))
            yield


def without(kept: Callable[[Any], bool], store: Any) -> Any:
    """A store that leaves compares out of transactions."""

    class Careless:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def txn(self, compares: Any, ops: Any, **how: Any) -> Any:
            return await store.txn([one for one in compares if kept(one)], ops, **how)

    return Careless()
