"""The embedded server: the API and a local worker as processes over one folder, without Postgres and Redis."""

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2

from plankwright.discovery import KEY_FILE, SERVER_FILE
from plankwright.errors import PlankwrightError

READY_SECONDS = 60
STOP_SECONDS = 75
"""Longer than a worker takes to have a training step finished and a checkpoint written."""
LOCK_FILE = "lock"
PR_SET_PDEATHSIG = 1


class EmbeddedServer:
    """Runs from entering the context to leaving it. Everything that is kept lies in `data`.

    Raises:
        PlankwrightError: another server uses the folder, the address is taken, or a part does not start.
    """

    def __init__(self, data: Path, host: str, port: int) -> None:
        self.data = data.absolute()
        self._host, self._port = host, port
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Embedded means these two, whatever the environment says of a larger installation.
        self._environment = {
            **os.environ,
            "PLANKWRIGHT_DATA": str(self.data),
            "PLANKWRIGHT_DATABASE": "",
            "PLANKWRIGHT_REDIS": "",
            # Users have folders called `api` or `core` themselves, and may start the server beside them.
            "PYTHONSAFEPATH": "1",
        }

    def __enter__(self) -> Self:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock()
        try:
            with _listen(self._host, self._port) as listener:
                host, port = listener.getsockname()[:2]
                self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
                self._run("-m", "db.migrate")
                self._make_key()
                self._start_api(listener)
            self._wait_until_ready()
            self._start("worker", ["-m", "worker.local"])  # it loads torch, which the API should not wait for
            (self.data / SERVER_FILE).write_text(self.url + "\n", encoding="utf-8")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def watch(self, stop: threading.Event) -> None:
        """Return once `stop` is set.

        Raises:
            PlankwrightError: a part of the server has ended by itself.
        """
        while not stop.wait(0.2):
            self._check_alive()

    def stop(self) -> None:
        """End all parts, the worker after a checkpoint of the job at hand."""
        (self.data / SERVER_FILE).unlink(missing_ok=True)
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        self._lock_file.close()

    def _lock(self) -> None:
        self._lock_file = (self.data / LOCK_FILE).open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock_file.close()
            raise PlankwrightError(
                "data_in_use", f"another server is using {self.data}: stop it, or choose --data"
            ) from None

    def _make_key(self) -> None:
        """Have the API make a key at the first start, for those who may read the folder."""
        path = self.data / KEY_FILE
        if path.exists():
            return
        key = self._run("-m", "api.keys", "create", "embedded server")
        part = path.with_suffix(".part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(key)
        part.replace(path)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise PlankwrightError("server_failed", f"{' '.join(arguments)} failed:\n{done.stderr}")
        return done.stdout

    def _start_api(self, listener: socket.socket) -> None:
        descriptor = listener.fileno()
        self._start(
            "api",
            [
                "-m",
                "uvicorn",
                "--factory",
                "api.app:create_app",
                "--app-dir",
                str(self.data),  # it looks there first, by default in the current folder
                "--fd",
                str(descriptor),
                "--log-level",
                "warning",
            ],
            descriptor,
        )

    def _start(self, name: str, arguments: list[str], *descriptors: int) -> None:
        """Start a part in a session of its own, so that Ctrl-C reaches it through `stop` only."""
        self._processes[name] = subprocess.Popen(
            [sys.executable, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=descriptors,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                if httpx2.get(f"{self.url}/readyz", timeout=5).is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.05)
        raise PlankwrightError("server_failed", f"the server is not ready after {READY_SECONDS} seconds")

    def _check_alive(self) -> None:
        for name, process in self._processes.items():
            if (code := process.poll()) is not None:
                raise PlankwrightError(
                    "server_failed", f"the {name} process ended with exit code {code}: see above"
                )


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise PlankwrightError(
            "address_in_use", f"cannot listen on {host} port {port}: {error.strerror}"
        ) from error


def _die_with_parent() -> None:
    """Have the kernel end this process should its parent be killed; Linux only, elsewhere nothing does."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
