"""What agents say to each other without etcd: "are you there?", and "do you promise to take nothing of mine over?".

Two adapters pass one contract suite: ``tcp.TcpChannel`` (the real thing) and ``simulated.SimulatedChannel``. Nothing
that is said here is a proof of anything; what follows from it is decided in ``policy/members/failsafe.py`` and
``policy/members/membership.py``. Every call returns or raises within its ``timeout_s``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from vmha.model.errors import Refused, Retryable
from vmha.model.ids import NodeName, SessionId


class HostSilent(Retryable):
    """No sign of life: no answer, no acknowledgement, no refusal. The host is gone, frozen, or cut off from here."""


class AgentSilent(Retryable):
    """The host lives (its kernel acknowledges, or refuses the connection); no agent answers on it."""


class Unwelcome(Refused):
    """The other side does not accept us, or is not who we asked for: another secret, another cluster, another node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    kind: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong:
    """``unheard``: the hosts that give the answering agent no sign of life."""

    kind: Literal["pong"] = "pong"
    unheard: tuple[NodeName, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPromise:
    """Count me as having beaten now: I can not commit. The asker is whom the channel says it is."""

    kind: Literal["ask-promise"] = "ask-promise"
    session: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The answer: ``refusal`` empty is the promise, given for this one beat."""

    kind: Literal["word"] = "word"
    refusal: str = ""


Request = Ping | AskPromise
Answer = Pong | Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    node: NodeName
    address: str  # host:port


Answerer = Callable[[NodeName, Request], Answer]
"""Called with who asks. It returns at once: it may not wait for anything."""


class Channel(Protocol):
    """The port."""

    @property
    def address(self) -> str:
        """Where peers reach this agent, as ``host:port``."""

    async def run(self, answer: Answerer) -> None:
        """Answer peers, until cancelled. A peer that misbehaves is refused and told of in the log, nothing else."""

    async def ask(self, peer: Peer, request: Request, *, timeout_s: float) -> Answer:
        """One question, one answer.

        Raises:
            HostSilent, AgentSilent, Unwelcome
        """
