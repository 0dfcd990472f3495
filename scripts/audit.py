"""Asks whether a vulnerability is known of any package of requirements.lock (``make audit``). It needs the network.

pip-audit is fetched for it into a place of its own that is gone afterwards: it is no part of what vmha is built or
tested with. Exit code 0: none is known; 1: some are, and are named; 75: it could not be asked, and why. CI prints the
answer and does not fail by it, since it changes with the day and not with the code.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_ASKED = 75
FETCH_S, ASK_S = 120, 180


def verdict(answer: str) -> tuple[int, str]:
    """Exit code and words for what pip-audit printed as JSON."""
    found = json.loads(answer)["dependencies"]
    bad = {
        f"{one['name']} {one['version']}": [each["id"] for each in one["vulns"]] for one in found if one.get("vulns")
    }
    left_out = [one["name"] for one in found if "skip_reason" in one]
    words = "; ".join(f"{name}: {', '.join(ids)}" for name, ids in bad.items())
    if len(left_out) == len(found):
        return NOT_ASKED, "the database of vulnerabilities knows none of the packages, or does not answer"
    rest = f" (not known there: {', '.join(left_out)})" if left_out else ""
    if bad:
        return 1, f"known vulnerabilities: {words}{rest}"
    return 0, f"no vulnerability is known of {len(found) - len(left_out)} packages{rest}"


def ask() -> tuple[int, str]:
    with tempfile.TemporaryDirectory(prefix="vmha-audit-") as place:
        fetch = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", place]
        audit = [sys.executable, "-m", "pip_audit", "--requirement", str(ROOT / "requirements.lock"), "--no-deps"]
        options = ["--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
        try:
            done = subprocess.run([*fetch, "pip-audit"], capture_output=True, text=True, timeout=FETCH_S, check=False)
            if done.returncode:
                return NOT_ASKED, f"pip-audit can not be had: {last(done.stderr)}"
            done = subprocess.run(
                [*audit, *options],
                capture_output=True,
                text=True,
                timeout=ASK_S,
                check=False,
                env={"PYTHONPATH": place},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return NOT_ASKED, str(error)
    try:
        return verdict(done.stdout)
    except (ValueError, KeyError, TypeError):
        return NOT_ASKED, f"the database of vulnerabilities does not answer: {last(done.stderr)}"


def last(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1][:200]


if __name__ == "__main__":
    code, words = ask()
    print(f"audit: {words}")
    sys.exit(code)
