"""How one event reaches one hook; who is told when, and how often, is the leader's (leader/hooks.py)."""

from dataclasses import dataclass
from typing import Protocol

from vmha.model.hooks import Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """``is_final``: trying again would change nothing. ``said`` is for people, and has no secret in it."""

    is_done: bool
    said: str = ""
    is_final: bool = False


class Delivery(Protocol):
    async def deliver(self, hook: Hook, body: bytes) -> Delivered:
        """One try, within ``hook.timeout_s``. Raises nothing of the hook's own making."""
