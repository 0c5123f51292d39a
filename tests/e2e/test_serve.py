"""The embedded server as a process: its key, its folder, its end."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.services import embedded_service, environment, plankwright
from tests.worker.service import wait_until

pytestmark = pytest.mark.timeout(120)


def test_it_starts_works_refuses_a_second_one_and_leaves_nothing_running(tmp_path: Path) -> None:
    # The address of a larger installation in the environment does not concern it.
    with embedded_service(tmp_path, database="postgresql://nowhere/x", redis="redis://nowhere/0") as service:
        assert stat.S_IMODE((service.data / "api-key").stat().st_mode) == 0o600
        assert stat.S_IMODE(service.data.stat().st_mode) == 0o700
        assert (service.data / "server").read_text().strip() == service.server.url
        found = plankwright(None, "models", "--json", cwd=tmp_path)
        assert found.returncode == 1  # its folder is not the default one
        (tmp_path / ".plankwright").symlink_to(service.data)
        assert plankwright(None, "models", "--json", cwd=tmp_path).stdout == "[]\n"
        second = plankwright(None, "serve", "--port", 0, "--data", service.data)
        assert second.returncode == 1
        assert "data_in_use" in second.stderr
        port = service.server.url.rpartition(":")[2]
        taken = plankwright(None, "serve", "--port", port, "--data", tmp_path / "other")
        assert "address_in_use" in taken.stderr
        parts = psutil.Process(service.process.pid).children(recursive=True)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
        assert not any(part.is_running() for part in parts)
        assert not (service.data / "server").exists()
    key = service.server.key
    with embedded_service(tmp_path) as service:
        assert service.server.key == key
        assert plankwright(service.server, "models").returncode == 0


@pytest.mark.parametrize("victim", ["uvicorn", "worker.local"])
def test_when_a_part_dies_it_says_so_and_ends(tmp_path: Path, victim: str) -> None:
    with embedded_service(tmp_path) as service:
        parts = psutil.Process(service.process.pid).children
        wait_until(lambda: any(victim in part.cmdline() for part in parts()), 30)
        next(part for part in parts() if victim in part.cmdline()).kill()
        assert service.process.wait(60) == 1
        assert "ended with exit code -9" in service.log.read_text()


def test_when_it_is_killed_its_parts_end(tmp_path: Path) -> None:
    with embedded_service(tmp_path) as service:
        parents = psutil.Process(service.process.pid).children
        wait_until(lambda: len(parents()) == 2, 30)
        parts = psutil.Process(service.process.pid).children(recursive=True)
        os.kill(service.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(part.is_running() and part.status() != "zombie" for part in parts), 60)


def test_folders_of_the_user_that_are_named_like_ours_are_left_alone(tmp_path: Path) -> None:
    for name in ("api", "compression", "core", "db", "torch", "worker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the user's')")
    script = Path(sys.executable).with_name("plankwright")
    serve = [str(script), "serve", "--port", "0", "--data", "data"]
    with subprocess.Popen(serve, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            assert server.stdout.readline().startswith(b"ready ")
            waiting = ["-m", "compression", "wait"]
            parts = psutil.Process(server.pid).children
            wait_until(lambda: any(part.cmdline()[1:] == waiting for part in parts(recursive=True)), 30)
        finally:
            server.terminate()
    assert subprocess.run([script, "verify", tmp_path], cwd=tmp_path, check=False).returncode == 7
