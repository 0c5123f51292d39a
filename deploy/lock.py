"""Writes constraints.txt: the exact version of everything that a fresh installation takes today."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
EVERYTHING = f"{ROOT}[engine,demo,dev]"


def main() -> None:
    command = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
    report = subprocess.run(
        [*command, "--report", "-", EVERYTHING], check=True, stdout=subprocess.PIPE
    ).stdout
    found = [item["metadata"] for item in json.loads(report)["install"]]
    # A local version (`2.13.0+cpu`) names one machine's build; the public one fits every machine's.
    pins = {
        item["name"].lower(): item["version"].split("+")[0] for item in found if item["name"] != "plankwright"
    }
    lines = ["# Written by `make lock`.", *(f"{name}=={version}" for name, version in sorted(pins.items()))]
    (ROOT / "constraints.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
