"""People who may log in, each with a role. Without users nobody can change anything from a page."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vmha.model.errors import Rejected
from vmha.operator.errors import unknown_name
from vmha.web.access import AccessFile, Role, User, checked_name
from vmha.web.passwords import hashed


class Users:
    """The users of one file, as it is now."""

    def __init__(self, file: AccessFile | Path) -> None:
        self._file = file if isinstance(file, AccessFile) else AccessFile(file)

    @property
    def path(self) -> Path:
        return self._file.path

    def all(self) -> Mapping[str, User]:
        """Raises: Rejected: the file can not be read, or must not be trusted."""
        return self._file.now().users

    def find(self, name: str) -> User | None:
        """None: there is no such user. Raises: Rejected."""
        return self.all().get(name)

    def put(self, name: str, password: str, *, role: Role | None = None, replace: bool = False) -> User:
        """``role`` None: the one that a user who is there has; an operator, if new.

        Raises:
            Rejected: a name that is taken or none, a password that is too short.
        """
        checked_name("user", name)
        known = self.find(name)
        if known and not replace:
            raise Rejected(f"there is a user {name} already", accepted="another name, or a new password: --replace")
        user = User(password=hashed(password), role=role or (known.role if known else Role.OPERATOR))
        self._write({**self.all(), name: user})
        return user

    def set_role(self, name: str, role: Role) -> None:
        """Raises: UnknownName, Rejected."""
        self._write({**self.all(), name: replace(self._known(name), role=role)})

    def remove(self, name: str) -> None:
        """Raises: UnknownName, Rejected."""
        self._known(name)
        self._write({one: user for one, user in self.all().items() if one != name})

    def _known(self, name: str) -> User:
        found = self.find(name)
        if found is None:
            raise unknown_name("user", name, self.all())
        return found

    def _write(self, users: Mapping[str, User]) -> None:
        self._file.write(replace(self._file.now(), users=users))
