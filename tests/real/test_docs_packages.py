"""What pages have apt and pip install: apt says that it would, pip does it in a copy of the checkout, offline."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.doc_story import PAGES, ROOT, story, story_with_lists

pytestmark = pytest.mark.real

INSTALLS = re.compile(r"(?:apt|apt-get) install .+")
INLINE = re.compile(r"`((?:apt|apt-get) install [^`]+)`")
LISTS = Path("/var/lib/apt/lists")
WITHOUT_NETWORK = {"PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def installed_by(text: str) -> list[str]:
    """The commands of a page that have apt install packages from outside, as written."""
    typed = [told.written for told in story_with_lists(text)]
    found = [line for line in (*typed, *INLINE.findall(text)) if INSTALLS.fullmatch(line)]
    return [line for line in found if packages(line)]


def packages(line: str) -> list[str]:
    return [word for word in shlex.split(line)[2:] if not word.startswith(("-", ".", "/"))]


def typed_installs() -> list[str]:
    return sorted({line for page in PAGES for line in installed_by((ROOT / page).read_text())})


@pytest.fixture(scope="module")
def apt(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """apt that only says what it would do, with lists of packages: the machine's, or fetched where it keeps none."""
    options = ["-o", "APT::Get::Simulate=true"]
    if not any(LISTS.glob("*_Packages*")):
        place = tmp_path_factory.mktemp("lists")
        (place / "partial").mkdir()
        options += ["-o", f"Dir::State::lists={place}"]
        said = subprocess.run(
            ["apt-get", *options[2:], "update"], capture_output=True, text=True, timeout=300, check=False
        )
        assert said.returncode == 0, said.stdout + said.stderr
    return options


def test_pages_have_packages_installed() -> None:
    found = typed_installs()
    assert "apt-get install --no-install-recommends fence-agents ipmitool" in found
    assert any(line.startswith("apt install etcd-server ") for line in found)
    assert installed_by("```console\n# apt install ./vmha.deb\n```\n") == []


@pytest.mark.parametrize("line", typed_installs())
def test_apt_would_install_what_a_page_names(apt: list[str], line: str) -> None:
    program, _, *words = shlex.split(line)
    named = [word for word in words if word.startswith("-")] + packages(line)
    said = subprocess.run(
        [program, *apt, "install", *named],
        env={**os.environ, "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    for package in packages(line):
        has_it = f"{package} is already the newest version" in said.stdout
        assert has_it or re.search(rf"^Inst {re.escape(package)} ", said.stdout, re.MULTILINE), (package, said.stdout)


def test_package_that_does_not_exist_is_found(apt: list[str]) -> None:
    command = ["apt-get", *apt, "install", "vmha-has-no-such-package"]
    assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode != 0


def test_environment_is_mended_in_a_copy_of_the_checkout_as_the_page_says(tmp_path: Path) -> None:
    """The later command first: there has to be an environment to mend. What pip would fetch is there already."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    told = [one.line for one in story((ROOT / "docs/install.md").read_text()) if one.on == "copy"]
    assert [line.split()[0] for line in told] == [".venv/bin/pip", "/usr/bin/python3"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    for line in reversed(told):
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**environment, **WITHOUT_NETWORK},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        (packages_of_it,) = tmp_path.glob(".venv/lib/python3*/site-packages")
        (packages_of_it / "fetched.pth").write_text(str(Path(pytest.__file__).parents[1]))
    said = subprocess.run(
        [tmp_path / ".venv/bin/python", "-c", "import libvirt, vmha; print(vmha.__file__)"],
        cwd=tmp_path / "src/vmha",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert said.stdout.startswith(str(packages_of_it))
