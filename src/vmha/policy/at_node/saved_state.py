"""Saved state: when a stop keeps the guest's memory, and when the next start may go on from it.

Memory belongs to the disk as it was at that instant. Going on from it after the guest has run, and written, since then
would have it write what it believes over what is there. So a saved state is used once at most, and wherever that is not
certain it is not used at all: the vm boots, and the journal says why. Three things have to be so, each of which any
later run destroys for good:

* the placement names it, and no claim has been made since: a claim takes the name away in the transaction that lets
  the guest start;
* the file is still where it was left: whoever is about to use it first gives it another name, which only one can;
* it is the memory of that run (the tag in the file says so) and of that definition.

An older etcd (restored from a backup) can bring back the first. It can not bring back the second.
"""

from collections.abc import Mapping

from vmha.model.ids import Epoch, RequestId
from vmha.model.records import Placement, Request, SavedImage, Verb
from vmha.model.vm import VmSpec


def is_to_be_saved(spec: VmSpec, placement: Placement, requests: Mapping[RequestId, Request]) -> bool:
    """Every stop saves, but for one: who asks for a restart wants the guest to boot."""
    operation = requests.get(placement.operation) if placement.operation else None
    return spec.saved_state is not None and (operation is None or operation.verb is not Verb.RESTART)


def image_path(spec: VmSpec, epoch: Epoch) -> str:
    """Where the memory of the run of ``epoch`` goes. No two runs of a vm have the same."""
    assert spec.saved_state
    return f"{spec.saved_state.directory.rstrip('/')}/{spec.name}.{epoch}.save"


def used_path(image: SavedImage) -> str:
    """What it is called from the moment on at which it is used. One a vm, so that none pile up."""
    return f"{image.file.removesuffix(f'.{image.epoch}.save')}.save.used"


def why_not_used(image: SavedImage, spec: VmSpec, definition: str) -> str:
    """Why the vm boots although its memory was saved; '' when it goes on. ``definition``: digest of what is started."""
    if spec.saved_state is None:
        return "its saved state is not wanted any more (saved_state)"
    if image.definition and image.definition != definition:
        return "its definition has changed since"
    return ""
