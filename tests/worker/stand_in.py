"""A compression process that is over in a moment and misbehaves as told; it speaks the contract of the real one.

Its orders are `behaviour.json` in the dataset's folder, see `tests.worker.service.Behaviour`.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

stop = threading.Event()


def tell(type: str, **fields: Any) -> None:
    print(json.dumps({"type": type, **fields}), flush=True)


def end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def save(out: Path, step: int) -> None:
    name = f"{step:08d}"
    path = out / "checkpoints" / f"{name}.safetensors"
    content = str(step).encode()
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    tell("checkpoint", name=name, file=str(path), sha256=sha256, bytes=len(content))


def misbehave(deed: str, out: Path) -> None:
    match deed:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit 1" | "exit 65" | "exit 75":
            sys.exit(int(deed.split()[1]))
        case "fail":
            tell("failed", code="diverged", reason_class="user", message="the loss is not finite")
            sys.exit(1)
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        case "babble":
            print("this is not JSON", flush=True)
            tell("no such event")
        case "outrun the worker":
            tell("checkpoint", name="00000000", file="removed.safetensors", sha256="0" * 64, bytes=1)
        case "spawn":
            offspring = subprocess.Popen(["sleep", "600"])
            print(f"offspring {offspring.pid}", file=sys.stderr, flush=True)
        case "show environment":
            print(json.dumps(dict(os.environ)), file=sys.stderr, flush=True)
        case "spoil the result":
            (out / "artifacts").mkdir()
            (out / "model").mkdir()
            tell("result", verdict="met", metric="accuracy", before=0.9, after=0.88, retention=0.978)
            sys.exit()


def train(spec: dict[str, Any], behaviour: dict[str, Any], out: Path) -> None:
    runtime = spec["runtime"]
    resumed = int(Path(runtime["resume_from"]).read_text()) if runtime["resume_from"] else 0
    print(f"from step {resumed}", file=sys.stderr, flush=True)
    for step in range(resumed + 1, behaviour["steps"] + 1):
        for deed in behaviour["deeds"]:
            if deed["step"] == step and runtime["attempt"] in deed["attempts"]:
                misbehave(deed["do"], out)
        stop.wait(behaviour["seconds_per_step"])
        tell("progress", step=step, total=behaviour["steps"])
        tell("metric", step=step, values={"loss": 1 / step})
        if stop.is_set():
            save(out, step)
            sys.exit(75)
        if step % behaviour["checkpoint_every"] == 0:
            save(out, step)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    tell("ready")
    line = sys.stdin.readline()
    if not line:
        return
    threading.Thread(target=end_with_parent, daemon=True).start()
    order = json.loads(line)
    spec = json.loads(Path(order["spec"]).read_text())
    out = Path(order["out"])
    (out / "checkpoints").mkdir(parents=True)
    behaviour = json.loads((Path(spec["dataset"]) / "behaviour.json").read_text())
    tell("phase", phase="compress")
    train(spec, behaviour, out)
    tell("phase", phase="export")
    shutil.copytree(spec["model"], out / "model")
    (out / "artifacts").mkdir()
    (out / "artifacts" / "report.json").write_text("{}")
    tell("result", verdict="met", metric="accuracy", before=0.9, after=0.88, retention=0.978)


if __name__ == "__main__":
    main()
