"""`make setup` and `make setup-services` say what to install where they may not do so themselves."""

import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
OLD_PYTHON = "#!/bin/sh\ncase $1 in -V) echo Python 3.10.12;; *) exit 1;; esac\n"
USER_ID = "#!/bin/sh\necho 1000\n"
YES = "#!/bin/sh\n"


def run_setup(
    folder: Path, commands: dict[str, str], script: str = "setup.sh", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script in a copy of the project on a PATH that holds nothing but `commands` and a few basics."""
    shutil.copytree(DEPLOY, folder / "deploy")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name in ("bash", "cat", "dirname", "env", "sh"):
        (bin_folder / name).symlink_to(shutil.which(name) or name)
    for name, text in commands.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    return subprocess.run(
        [folder / "deploy" / script],
        env={"PATH": str(bin_folder), **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_names_the_apt_command_where_only_another_python_is_there(tmp_path: Path) -> None:
    commands = {"python3": OLD_PYTHON, "apt-cache": YES, "apt-get": YES, "id": USER_ID}
    result = run_setup(tmp_path, commands)
    assert result.returncode == 1
    assert "a Python from 3.11 to 3.13 (python3 is Python 3.10.12)" in result.stderr
    assert "sudo apt-get install -y --no-install-recommends python3.13 python3.13-venv" in result.stderr


def test_names_other_ways_where_apt_has_no_fitting_python(tmp_path: Path) -> None:
    result = run_setup(tmp_path, {"python3": OLD_PYTHON})
    assert result.returncode == 1
    assert "apt offers none" in result.stderr
    assert "make setup PYTHON=" in result.stderr


@pytest.mark.parametrize("user", ["0", "1000"])
def test_installs_a_missing_venv_module_only_where_that_needs_no_password(tmp_path: Path, user: str) -> None:
    without_venv = (
        "#!/bin/sh\ncase $2 in *venv*version_info*) echo python3.12-venv;; *ensurepip*) exit 1;; esac\n"
    )
    without_venv += 'case $2 in *executable*) echo "$0";; esac\n'
    installs = f'#!/bin/sh\necho "$@" >> {tmp_path}/apt\n'
    commands = {"python3": without_venv, "apt-get": installs, "id": f"#!/bin/sh\necho {user}\n"}
    result = run_setup(tmp_path, commands)
    installed = (tmp_path / "apt").exists() and "install" in (tmp_path / "apt").read_text()
    assert installed is (user == "0")
    assert user == "0" or "sudo apt-get install -y --no-install-recommends python3.12-venv" in result.stderr


@pytest.mark.parametrize(
    ("there", "environment", "missing", "code"),
    [
        ({}, {}, "redis-server curl chromium", 1),
        ({"chromium": YES, "redis-server": YES}, {}, "curl", 1),
        ({"valkey-server": YES, "curl": YES}, {}, "chromium", 0),
        ({"valkey-server": YES, "curl": YES}, {"CI": "true"}, "chromium", 1),
        ({"redis-server": YES, "curl": YES, "chromium": YES}, {"CI": "true"}, "", 0),
    ],
)
def test_only_a_missing_browser_is_forgiven_and_not_in_ci(
    tmp_path: Path, there: dict[str, str], environment: dict[str, str], missing: str, code: int
) -> None:
    commands = {"apt-get": YES, "id": USER_ID, **there}
    result = run_setup(tmp_path, commands, "setup-services.sh", **environment)
    assert result.returncode == code
    if missing:
        assert f"sudo apt-get install -y --no-install-recommends {missing}\n" in result.stderr
    else:
        assert result.stderr == ""
