"""Runs a command in a fresh process and tells what it took, seen from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

WARM_UP = 20
"""Training steps left out of every warm throughput."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of standard output, and the seconds the process had taken when it wrote it."""

    text: str
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Finished:
    """Everything that the process took, from its start to its end."""

    lines: list[Line]
    wall_seconds: float
    cpu_seconds: float
    peak_rss_bytes: int


def run(
    arguments: Sequence[str | Path],
    *,
    threads: int,
    log: Path,
    python: Sequence[str | Path] = (sys.executable, "-m"),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Finished:
    """Run `python -m ARGUMENTS`, offline, with as many threads, its standard error to `log`.

    The peak is the kernel's own figure. It starts at the size of this process, from which the new one is forked, so
    whoever calls this must not have imported torch.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "TOKENIZERS_PARALLELISM": "false"}
    started = time.perf_counter()
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*python, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **limits, **quiet, **environment},
        ) as process,
    ):
        assert process.stdout is not None
        lines = [
            Line(text, time.perf_counter() - started, _cpu_seconds(process.pid)) for text in process.stdout
        ]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text().splitlines()[-20:])
        raise SystemExit(f"{arguments[0]} ended with {process.returncode}:\n{tail}")
    return Finished(
        lines, time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    )


def _cpu_seconds(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def pin_to_cores(count: int) -> None:
    """Keep this process and those it starts on `count` cores, so that nobody has more than another.

    Raises:
        SystemExit: the machine has fewer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < count:
        raise SystemExit(f"{count} threads were asked for, the machine has {len(cores)} cores")
    os.sched_setaffinity(0, cores[:count])
