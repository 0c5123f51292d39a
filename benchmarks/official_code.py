"""Runs the official code of BERT-of-Theseus (github.com/JetRunner/BERT-of-Theseus) as it is, and times its training.

    python official_code.py CHECKOUT LAYERS WEIGHTS.npz ARGUMENTS...

The arguments are those of its run_glue.py; the weights are stored beside the config in the form that it reads. Its
depth cannot be set from outside: it is the default of a constructor, which is changed here. Written for any Python from
3.7 on, since the code is of 2020: it needs transformers 2.4.0.
"""

import json
import os
import sys
import time
from pathlib import Path


def main():  # type: ignore[no-untyped-def]  # the interpreter is not the project's
    checkout, layers, weights = sys.argv[1:4]
    sys.path[0] = checkout
    sys.argv[1:] = sys.argv[4:]
    os.chdir(Path(weights).parent)  # where tensorboardX then leaves a log that nobody reads

    import numpy as np
    import run_glue
    import torch
    import transformers
    from bert_of_theseus import modeling_bert_of_theseus

    arrays = np.load(weights)
    state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    torch.save(state, Path(weights).parent / "pytorch_model.bin")
    modeling_bert_of_theseus.BertEncoder.__init__.__defaults__ = (int(layers),)
    train, evaluate = run_glue.train, run_glue.evaluate
    found = {}  # type: dict[str, object]
    found["torch"], found["transformers"] = torch.__version__, transformers.__version__

    def timed(*arguments):  # type: ignore[no-untyped-def]
        wall, cpu = time.perf_counter(), time.process_time()
        steps, loss = train(*arguments)
        found["training_wall_seconds"] = time.perf_counter() - wall
        found["training_cpu_seconds"] = time.process_time() - cpu
        found["steps"] = steps
        return steps, loss

    def judged(*arguments, **settings):  # type: ignore[no-untyped-def]
        results = evaluate(*arguments, **settings)
        found["after"] = results["acc"]
        return results

    run_glue.train, run_glue.evaluate = timed, judged
    run_glue.main()
    print(json.dumps(found))


if __name__ == "__main__":
    main()  # type: ignore[no-untyped-call]
