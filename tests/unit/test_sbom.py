"""The list of what vmha is made of: a document of the CycloneDX standard, complete for what runs on a host."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def made(*options: str) -> Any:
    command = [sys.executable, str(ROOT / "scripts/sbom.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, cwd="/")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def document() -> Any:
    return made()


def test_it_has_the_shape_of_cyclonedx(document: Any) -> None:
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.5", 1)
    assert document["metadata"]["component"]["name"] == "vmha"
    refs = [one["bom-ref"] for one in document["components"]]
    assert len(refs) == len(set(refs))
    assert document["dependencies"] == [{"ref": "vmha", "dependsOn": refs}]
    for one in document["components"]:
        assert one["type"] == "library"
        assert re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", one["purl"])
        assert one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}"
        assert one["licenses"], "its licence is known"


def test_it_names_what_runs_in_the_locks_versions_and_with_dev_all_of_the_lock(document: Any) -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = {line for line in lines if line and not line.startswith("#")}
    named = {f"{one['name']}=={one['version']}" for one in document["components"]}
    names = {one["name"] for one in document["components"]}
    assert named < locked
    assert {"grpcio", "cryptography", "pydantic-core", "uvicorn"} <= names, "what is required by what is required, too"
    assert not {"pytest", "mypy", "sphinx"} & names
    assert {f"{one['name']}=={one['version']}" for one in made("--dev")["components"]} == locked
