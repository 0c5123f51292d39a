"""A checkpoint of any size, written without a framework: zeros, mostly in the word embeddings."""

import json
import math
import shutil
import struct
from pathlib import Path

from compression.checkpoints.config import parse_config
from compression.checkpoints.layout import expected_tensors

HIDDEN = 1024
ZEROS = bytes(1 << 20)


def enlarge(checkpoint: Path, folder: Path, size: int) -> Path:
    """Write a copy of a checkpoint of `make_tiny_checkpoint` whose weights have about `size` bytes."""
    shutil.copytree(checkpoint, folder)
    config = json.loads((folder / "config.json").read_bytes())
    config |= {"vocab_size": size // (4 * HIDDEN), "hidden_size": HIDDEN, "intermediate_size": HIDDEN}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    (folder / "config.json").write_text(json.dumps(config))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in expected_tensors(parse_config(config)).items():
        start, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(encoded)) + encoded)
        for _ in range(end // len(ZEROS)):
            file.write(ZEROS)
        file.write(ZEROS[: end % len(ZEROS)])
    return folder
