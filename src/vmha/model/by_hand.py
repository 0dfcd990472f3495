"""Kinds of the journal's entries about what operators do: holds, drains, what is asked for, what is defined.

They are written with the change itself, by ``OPERATOR``; the end of a hold that ends by itself is the leader's. In
``JournalEntry.hand`` stands who it was, and why.
"""

from vmha.model.ids import NodeName

OPERATOR = NodeName("operator")
"""The writer of such entries, in the place of a node."""

FROZEN, UNFROZEN = "frozen", "unfrozen"
PAUSED, RESUMED = "cluster-paused", "cluster-resumed"
DRAIN, UNDRAIN = "drain", "undrain"
ASKED = "asked"
WANTED = "wanted"
ADDED, CHANGED, REMOVED, APPLIED = "added", "changed", "removed", "applied"
RESTORE = "restore"
FOUNDED = "founded"
JOIN, LEAVE, STAY = "join", "leave", "stay"  # the latter two by the node's own agent
