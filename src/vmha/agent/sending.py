"""The call that migrates. A strict gate at the target refuses at once what its agent has not read of yet: so again."""

import asyncio

from vmha.fencing.gate import NOT_EXPECTED
from vmha.hypervisor.port import Hypervisor, MigrationFailed, MigrationOrder
from vmha.model.clock import Clock

ARRIVAL_PATIENCE_S = 5.0
ARRIVAL_RETRY_S = 0.25


async def send(hypervisor: Hypervisor, clock: Clock, order: MigrationOrder) -> None:
    """Raises as ``Hypervisor.migrate``. What was refused by a gate has not begun: nothing has happened."""
    give_up_at = clock.now() + ARRIVAL_PATIENCE_S
    while True:
        try:
            await hypervisor.migrate(order)
        except MigrationFailed as error:
            if NOT_EXPECTED not in str(error) or clock.now() >= give_up_at:
                raise
            await asyncio.sleep(ARRIVAL_RETRY_S)
        else:
            return
