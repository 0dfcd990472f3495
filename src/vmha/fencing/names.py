"""Names that guard, start gate and agent must spell alike. Nothing else: whatever imports it must be quick."""

TAG_NAMESPACE = "https://vmha.dev/xmlns/domain/1"
"""Of vmha's mark in a domain's metadata."""

GUARD_STATE = "guard.json"
"""In the run directory: what the guard counts with."""

AWAITS_HANDOVER = frozenset({"standing", "paused"})
"""The tag's ``handover`` in a guest that one of our migrations brought, until it is let go (hypervisor/states.py)."""

LET_GO_ON = frozenset({("running", "migrated"), ("running", "post-copy")})
"""State and reason, in libvirt's file, of a guest that it has itself let go on where it came in."""
