"""How much memory a vm takes on a node, where its definition is not in etcd: what its last start has read.

Before its first start nobody knows: it counts as what the operator said, or as next to nothing.
"""

from vmha.model.records import Placement
from vmha.model.vm import VmSpec


def memory_of(spec: VmSpec, placement: Placement | None) -> int:
    """MiB."""
    if spec.definition is None or placement is None:
        return spec.memory_mib
    return max(spec.memory_mib, placement.memory_mib)
