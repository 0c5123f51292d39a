"""Takes every measurement and writes the page: `python -m benchmarks` (hours; each can be run by itself)."""

import subprocess
import sys

BENCHMARKS = (
    "theseus",
    "ladder",
    "quality",
    "methods",
    "claims",
    "delivered",
    "job_overhead",
    "resume",
    "http",
    "report",
)

if __name__ == "__main__":
    # A fresh process each: what one imported must not weigh on the next.
    for name in BENCHMARKS:
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)
