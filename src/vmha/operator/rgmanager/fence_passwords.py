"""Passwords of fence devices: they stay out of the document, whose readers are all who read the cluster.

The option says instead which program on the nodes prints it; what is to be in that program is kept apart. Secrets that
no fence agent takes from a program stay in the document, and are told: ``vmha apply`` refuses them by default.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Final

from vmha.model.secret_names import find_script_option, names_a_secret
from vmha.operator.fence_secrets import BY_AN_AGENT, BY_STORING
from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Attribute

FOLDER: Final = "/etc/vmha/fence"
"""Of these programs, on every node."""

_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST_NAME = 100
_SYNONYMS: Final = {"passwd_script": "password_script", "password_script": "passwd_script"}


class Passwords:
    """``programs``: by the name of the program, what it is to print."""

    def __init__(self) -> None:
        self.programs: dict[str, str] = {}

    def options(self, given: Mapping[str, Attribute], device: str, node: str) -> dict[str, str]:
        """A device's options as the document has them. ``given``: by name; a node's own are written on its element."""
        options = {}
        for name, attribute in given.items():
            if not _is_password(attribute):
                options[name] = attribute.value
            elif not has_a_script(attribute, given):
                options[str(find_script_option(name))] = self._path(attribute, device, node)
        return options

    def tell(
        self, attribute: Attribute, given: Mapping[str, Attribute], device: str, node: str, found: Findings
    ) -> bool:
        """What becomes of a secret. False: it is none."""
        if not attribute.value or not names_a_secret(attribute.name):
            return False
        if not _is_password(attribute):
            found.changed(attribute, "vmha apply refuses it as it is", accepted=f"{BY_AN_AGENT}; or {BY_STORING}")
        elif has_a_script(attribute, given):
            found.left(attribute, "not needed: the program that is named beside it prints it")
        else:
            script, path = find_script_option(attribute.name), self._path(attribute, device, node)
            text = f"{script}: {path}, a program that prints it, on every node; vmha import --passwords DIR writes it"
            found.changed(attribute, text)
        return True

    def _path(self, attribute: Attribute, device: str, node: str) -> str:
        owner = device if attribute.element.tag == "fencedevice" else f"{device}-{node}"
        stem = _UNFIT.sub("-", f"{owner[:_LONGEST_NAME]}-{attribute.name}").lstrip(".-")
        name, number = stem, 1
        while self.programs.setdefault(name, attribute.value) != attribute.value:
            number += 1
            name = f"{stem}-{number}"
        return f"{FOLDER}/{name}"


def as_program(password: str) -> str:
    return f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(password)}\n"


def has_a_script(attribute: Attribute, given: Mapping[str, Attribute]) -> bool:
    """Fence agents ask the program when they are given both."""
    script = str(find_script_option(attribute.name))
    return script in given or _SYNONYMS.get(script) in given


def _is_password(attribute: Attribute) -> bool:
    """One that can be had from a program."""
    is_secret = bool(attribute.value) and names_a_secret(attribute.name)
    return is_secret and find_script_option(attribute.name) is not None
