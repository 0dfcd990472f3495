"""Where a vm's definition is when it is not in etcd with its spec, and where a vm's memory may be kept over a stop.

A definition in etcd is the rule (docs/decisions/0003): it is one, whoever starts it. These are for those who keep
theirs elsewhere, as RGManager's users did. A node reads such a definition at each start, and judges it then.
"""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from vmha.model.document import Document

MOST_DIRS = 16


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} (accepted: an absolute path without '..')")
    return path.rstrip("/") or "/"


AbsolutePath = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_absolute)]


def _a_uuid(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise ValueError(f"{text!r} (accepted: e.g. 6f9619ff-8b86-4011-b42d-00c04fc964ff)")
    return text.lower()


Uuid = Annotated[str, AfterValidator(_a_uuid)]


class DefinitionSource(Document):
    """Read at each start by the node that starts the vm; exactly one of the three."""

    file: AbsolutePath | None = Field(default=None, description="A file that every node sees under this path.")
    path: Annotated[tuple[AbsolutePath, ...], Field(max_length=MOST_DIRS)] = Field(
        default=(), description="Directories, searched in order for NAME, then NAME.xml."
    )
    persistent: bool = Field(default=False, description="The definition that the node's own libvirt keeps of it.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [
            key
            for key, is_given in (("file", self.file), ("path", self.path), ("persistent", self.persistent))
            if is_given
        ]
        if len(given) != 1:
            said = " and ".join(given) or "nothing"
            raise ValueError(f"{said} is given (accepted: exactly one of file, path, persistent)")
        return self

    def places(self, name: str) -> tuple[str, ...]:
        """The files that may hold the definition of vm ``name``, the first choice first; none for a persistent one."""
        if self.file is not None:
            return (self.file,)
        return tuple(f"{folder.rstrip('/')}/{end}" for folder in self.path for end in (name, f"{name}.xml"))

    def in_words(self) -> str:
        if self.file is not None:
            return self.file
        return f"the search path {':'.join(self.path)}" if self.path else "the definition that the host's libvirt keeps"


class SavedState(Document):
    """A stop keeps the guest's memory in a file that every node sees; the next start goes on from it (once)."""

    directory: AbsolutePath
    timeout_s: Annotated[float, Field(ge=1, le=86400)] = Field(
        default=600.0, description="Longer than that to write the file: it is shut down instead."
    )
