"""Draws placement rules in one life of three. By dice of its own, so that the rest is drawn as ever."""

import random  # noqa: TID251 (the seed is part of the command line, as in ``draw``)

from vmha.model.rules import Rule
from vmha.sim.faults.schedule import Schedule

LABEL = "disk"


def with_rules(dice: random.Random, cluster: Schedule) -> Schedule:
    """One to three of them, that do not contradict each other; of a service one vm at most is to be apart."""
    names = [vm.name for vm in cluster.vms]
    if dice.random() < 2 / 3 or len(names) < 2:
        return cluster
    labelled = [node.model_copy(update={"labels": {LABEL: dice.choice(("ssd", "hdd"))}}) for node in cluster.nodes]
    in_service = [name for service in cluster.services for name in service.members]
    alone = [name for name in names if name not in in_service] + in_service[:1]
    rules: list[Rule] = []
    if dice.random() < 0.7 and len(alone) > 1:
        apart = dice.sample(alone, min(len(alone), dice.choice((2, 2, 3))))
        rules.append(Rule(name="apart", apart=tuple(apart), hard=dice.random() < 0.8))
    if dice.random() < 0.4:
        wanted, is_on = {LABEL: dice.choice(("ssd", "hdd"))}, dice.random() < 0.5
        fields = {"vms": (dice.choice(names),), "on" if is_on else "off": wanted, "hard": dice.random() < 0.7}
        rules.append(Rule.model_validate({"name": "labels", **fields}))
    apart_already = {name for rule in rules for name in rule.apart}
    near = [name for name in names if name not in apart_already]
    if dice.random() < 0.4 and len(near) > 1:
        rules.append(Rule(name="together", together=tuple(dice.sample(near, 2))))
    return cluster.model_copy(update={"nodes": tuple(labelled), "rules": tuple(rules)})
