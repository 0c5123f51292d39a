import subprocess
import sys
from pathlib import Path

import pytest

from worker.workspace import Workspace

HOLD = """
import sys, time
from pathlib import Path
from worker.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]), "other")
with workspace.attempt("job_1", 1) as folder:
    (folder / "weights").write_text("many")
    print("ready", flush=True)
    time.sleep(600)
"""


def test_an_attempt_leaves_nothing_however_it_ends(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, "worker")
    with pytest.raises(ZeroDivisionError), workspace.attempt("job_1", 1) as folder:
        (folder / "file").write_text(str(1 / 0))
    assert not folder.exists()
    workspace.close()
    assert not workspace.folder.exists()


def test_leftovers_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        Workspace(tmp_path, "second").close()
        assert (tmp_path / "other" / "job_1-1" / "weights").exists()
    finally:
        process.kill()
        process.communicate()
    Workspace(tmp_path, "third").close()
    assert not (tmp_path / "other").exists()
