"""What the loss of each node would cost, one at a time, for whoever asks and can wait for some seconds.

In a small cluster each is a forecast (telling/forecast.py). In a large one so many forecasts would take minutes; there
it is what telling/survival.py has to say of each, with a forecast where that is not certain, as far as that goes.
"""

from dataclasses import dataclass

from vmha.model.ids import NodeName
from vmha.policy.plan import judge_all
from vmha.policy.state.snapshot import Moment
from vmha.policy.state.steps import Waiting
from vmha.policy.state.supposing import NodeLost, suppose
from vmha.policy.telling.forecast import Forecast, foresee, losses
from vmha.policy.telling.survival import survival

SMALL = 30_000
"""Nodes times vms: a forecast of each in some seconds."""
FORECASTS_AT_MOST = 10
LOOKED_AT_MOST = 5_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLoss:
    """``down``: vms that would not come back, beside those that are down anyway. ``forecast`` None: there was no need.

    ``is_known`` False: not looked at; ``is_certain`` False: by one round of decisions, where more may follow.
    """

    down: tuple[Waiting, ...] = ()
    forecast: Forecast | None = None
    is_certain: bool = True
    is_known: bool = True


def of_each(settled: Forecast, moment: Moment, *, small: int = SMALL) -> dict[NodeName, NodeLoss]:
    """On top of what ``settled`` ends with."""
    snapshot, before = settled.then, {one.vm for one in settled.down}

    def told(found: Forecast) -> NodeLoss:
        return NodeLoss(down=tuple(one for one in found.down if one.vm not in before), forecast=found)

    verdicts = judge_all(snapshot, moment)
    alive = [name for name, verdict in verdicts.items() if verdict.is_alive]
    if len(alive) * len(snapshot.vms) <= small:
        return {node: told(found) for node, found in losses(snapshot, moment).items()}
    found = survival(snapshot, moment, verdicts=verdicts, look_at_most=LOOKED_AT_MOST, foresee_at_most=0)
    if found.on_their_way:
        return {node: NodeLoss(is_known=False) for node in alive}
    each = {node: NodeLoss() for node in alive}
    each |= {node: NodeLoss(is_known=False) for node in found.unknown}
    each |= {loss.node: NodeLoss(down=loss.vms, is_certain=loss.is_certain) for loss in found.losses}
    each |= {node: NodeLoss(is_certain=False) for node in found.unsure}
    unsure = [node for node, loss in each.items() if not loss.is_certain or not loss.is_known]
    for node in unsure[:FORECASTS_AT_MOST]:
        each[node] = told(foresee(suppose(snapshot, NodeLost(node=node)), moment))
    return each
