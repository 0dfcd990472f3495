"""Prints what vmha is made of, as a CycloneDX 1.5 document: each package of requirements.lock, as it is installed here.

No network: versions come from the lock, licences and descriptions from what is installed (of what is not, the version
alone). ``scripts/sbom.py [--dev]``: without --dev, what runs on a host; with it, all of the lock.
"""

import json
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("web",)
"""The extras that a package of vmha has."""


def locked() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if line and not line.startswith("#"))


def closure(wanted: list[Requirement]) -> set[str]:
    """The names of all that is required, directly or not."""
    found: set[str] = set()
    while wanted:
        one = wanted.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *RUNS)):
            continue
        name = canonicalize_name(one.name)
        if name not in found:
            found.add(name)
            try:
                wanted += map(Requirement, requires(name) or ())
            except PackageNotFoundError:
                continue
    return found


def component(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    plain: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return plain
    if about["Summary"]:
        plain["description"] = about["Summary"]
    if expression := about["License-Expression"]:
        return {**plain, "licenses": [{"expression": expression}]}
    said = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or () if line.startswith("License :: ")]
    said = said or [line for line in (about["License"] or "").splitlines()[:1] if line]
    return {**plain, "licenses": [{"license": {"name": each}} for each in said]} if said else plain


def document(*, dev: bool) -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = locked()
    names = set(versions)
    if not dev:
        extras = (line for extra in RUNS for line in project["optional-dependencies"][extra])
        names &= closure([Requirement(line) for line in (*project["dependencies"], *extras)])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "vmha",
                "name": "vmha",
                "version": metadata("vmha")["Version"],
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [component(name, versions[name]) for name in sorted(names)],
        "dependencies": [{"ref": "vmha", "dependsOn": [f"pkg:pypi/{name}@{versions[name]}" for name in sorted(names)]}],
    }


if __name__ == "__main__":
    print(json.dumps(document(dev="--dev" in sys.argv[1:]), indent=2))
