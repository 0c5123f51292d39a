"""Quantisation: what is rounded, how it is trained for, and what the report is about."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import transformers
from onnx import numpy_helper
from pydantic import ValidationError
from torch import nn

from compression.checkpoints.facts import ModelFacts
from compression.checkpoints.inspection import inspect_checkpoint
from compression.checkpoints.loading import load_model, open_source
from compression.data.batches import collate
from compression.data.encoding import Array
from compression.errors import InputError
from compression.evaluation import cost
from compression.evaluation.onnx_model import OnnxModel
from compression.export.calibration import find_ranges
from compression.export.int8 import round_weights
from compression.export.verify import verify
from compression.methods.quantize.params import QuantizeParams
from compression.methods.quantize.rounded import (
    RoundedLinear,
    learn_exactly,
    learn_rounded,
    round_rows,
    round_states,
)
from compression.report.schema import Report
from compression.tasks.encoding import encode_split
from compression.training.params import Training
from tests.checkpoints import make_tiny_checkpoint
from tests.compression.jobs import TRAINING, make_spec, run_to_end


def checkpoint_of(out: Path) -> tuple[Path, ModelFacts]:
    return out / "model", inspect_checkpoint(out / "model")


@dataclass(frozen=True, slots=True)
class StaticJob:
    """A job that has made an 8-bit file with ranges, of what its model shows on 40 of 48 rows."""

    folder: Path
    report: Report

    @property
    def artifacts(self) -> Path:
        return self.folder / "out" / "artifacts"


CALIBRATED = 40


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> StaticJob:
    folder = tmp_path_factory.mktemp("static")
    step = {"method": "quantize", "scheme": "int8-static", "calibration_rows": CALIBRATED}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cost, "SECONDS", 0.0)
        return StaticJob(folder, run_to_end(make_spec(folder, [step], exports=["onnx"]), folder / "out"))


def test_report_is_about_the_8_bit_file_and_the_checkpoint_is_beside_it(static: StaticJob) -> None:
    report, artifacts = static.report, static.artifacts
    assert [file.name for file in report.files] == ["model.int8.onnx", "model.tar", "model.onnx"]
    assert report.after.bytes == (artifacts / "model.int8.onnx").stat().st_size
    assert report.after.metrics == report.files[0].metrics
    assert report.after.parameters == report.before.parameters
    assert (report.files[1].loyalty.label, report.files[2].loyalty.label) == (
        report.files[1].loyalty.label,
    ) * 2
    assert verify(artifacts).measured == report.after.metrics["accuracy"].value
    kinds = [node.op_type for node in onnx.load(artifacts / "model.int8.onnx").graph.node]
    assert kinds.count("DynamicQuantizeLinear") == 2  # of the head; every layer has its range
    assert kinds.count("QuantizeLinear") > 4


def test_bfloat16_is_an_ordinary_checkpoint_measured_as_such(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, [{"method": "quantize", "scheme": "bfloat16"}])
    report = run_to_end(spec, tmp_path / "out")
    folder, facts = checkpoint_of(tmp_path / "out")
    assert facts.dtype == "BF16"
    assert '"dtype": "bfloat16"' in (folder / "config.json").read_text()
    assert 0.4 < report.size_ratio < 0.7  # the file's header does not shrink
    assert [(file.name, file.precision) for file in report.files] == [("model.tar", "bfloat16")]
    assert verify(tmp_path / "out" / "artifacts").largest_difference == 0


class File:
    """An ONNX file: its nodes, its constants, and the node that each value comes from."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.makers = {output: node for node in graph.node for output in node.output}

    def range_of(self, weight: Array) -> tuple[float, float]:
        """Between what the states are rounded that are multiplied with this int8 weight."""
        for node in self.nodes:
            makers = [self.makers.get(value, onnx.NodeProto()) for value in node.input[:2]]
            if node.op_type == "MatMul" and [m.op_type for m in makers] == ["DequantizeLinear"] * 2:
                states, weights = makers
                if np.array_equal(self.constants[weights.input[0]], weight):
                    scale, zero = (self.constants[name] for name in states.input[1:])
                    assert scale.shape == zero.shape == (), (
                        "one for all of a tensor is a scalar in the standard"
                    )
                    scale, zero = scale.item(), zero.item()
                    return (0 - zero) * scale, (255 - zero) * scale
        raise AssertionError("no product in 8 bits has such a weight")


def in_8_bits(weight: torch.Tensor) -> tuple[Array, Array]:
    """The rows of a matrix in 127 steps on both sides of zero, and the size of each row's steps."""
    exact = weight.detach().numpy()
    steps = np.abs(exact).max(axis=1, keepdims=True) / np.float32(127)
    steps[steps == 0] = 1  # the row of what pads
    return np.rint(exact / steps).astype(np.int8), steps


@torch.no_grad()
def test_each_layer_of_a_static_file_has_the_range_of_its_states(static: StaticJob) -> None:
    """Lowest and highest in each batch of 32 training rows drawn by the seed, mean over the batches."""
    folder = static.folder / "out" / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    file = File(static.artifacts / "model.int8.onnx")
    seen: dict[str, list[tuple[float, float]]] = {}

    def watch(path: str, part: nn.Module) -> None:
        # The head asks for the last layer's first position alone, which asks for all keys and values.
        places = slice(1) if "layer.3." in path and not path.endswith(("key", "value")) else slice(None)

        def keep(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            states = inputs[0][:, places]
            seen.setdefault(path, []).append((min(0.0, float(states.min())), max(0.0, float(states.max()))))

        part.register_forward_pre_hook(keep)

    for path, part in model.named_modules():
        if isinstance(part, nn.Linear) and ".layer." in path:
            watch(path, part)
    texts = [json.loads(line)["text"] for line in (static.folder / "train.jsonl").read_text().splitlines()]
    sample = np.random.default_rng([42, 0]).permutation(len(texts))[:CALIBRATED]
    for row in sample:  # each alone: what pads rows is nobody's state
        model(**tokenizer(texts[row], return_tensors="pt"))
    assert len(seen) == 6 * 4
    for path, extremes in seen.items():
        batches = np.split(np.array(extremes), [32])
        lowest, highest = np.mean([(rows[:, 0].min(), rows[:, 1].max()) for rows in batches], axis=0)
        low, high = file.range_of(in_8_bits(model.get_parameter(f"{path}.weight"))[0].T)
        assert high - low == pytest.approx(highest - lowest, rel=1e-4), path
        assert low == pytest.approx(lowest, abs=(highest - lowest) / 255), path


def test_tables_are_in_8_bits_too_and_no_matrix_is_left_in_float32(static: StaticJob) -> None:
    file, model = (
        File(static.artifacts / "model.int8.onnx"),
        load_model(*checkpoint_of(static.folder / "out"), torch.device("cpu")),
    )
    arrays = list(file.constants.values())
    for table in ("word", "position"):
        for expected in in_8_bits(model.get_parameter(f"bert.embeddings.{table}_embeddings.weight")):
            alike = [a for a in arrays if (a.dtype, a.shape) == (expected.dtype, expected.shape)]
            assert any(np.allclose(array, expected, rtol=1e-6) for array in alike)
    large = [a for a in arrays if a.dtype == np.float32 and a.ndim > 1 and min(a.shape) > 1]
    assert not [a.shape for a in large if len(a) > 2]  # but for the two token types


@pytest.mark.parametrize("scheme", ["int8-dynamic", "bfloat16"])
def test_no_step_can_follow(tmp_path: Path, scheme: str) -> None:
    steps = [{"method": "quantize", "scheme": scheme}, {"method": "layer_drop"}]
    with pytest.raises(InputError, match="put quantize last") as caught:
        make_spec(tmp_path, steps)
    assert [(p.code, p.place) for p in caught.value.problems] == [("step_after_quantize", "/steps/1")]


@pytest.mark.parametrize(
    "settings", [{"scheme": "bfloat16", "recovery": {}}, {"distillation": {}}, {"scheme": "int4"}]
)
def test_settings_that_contradict_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        QuantizeParams.model_validate(settings)


def test_training_rounds_weights_as_the_file_does(tmp_path: Path) -> None:
    weights = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    weights[3] = 0
    values, scales = round_weights(weights.numpy(), axis=1)
    np.testing.assert_allclose(round_rows(weights).numpy(), values * scales, rtol=1e-6)

    run_to_end(make_spec(tmp_path, [{"method": "quantize"}]), tmp_path / "out")
    model = load_model(*checkpoint_of(tmp_path / "out"), torch.device("cpu"))
    tensors = onnx.load(tmp_path / "out" / "artifacts" / "model.int8.onnx").graph.initializer
    stored = [numpy_helper.to_array(t) for t in tensors if t.data_type == onnx.TensorProto.INT8]
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    expected = [round_weights(m.weight.detach().numpy(), axis=1)[0].T for m in linear]
    for values in expected:
        assert any(values.shape == found.shape and (values == found).all() for found in stored)


def test_training_rounds_states_as_onnx_runtime_does(tmp_path: Path) -> None:
    states = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1)) * 3 + 1
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("DynamicQuantizeLinear", ["input_ids"], ["q", "s", "z"]),
         onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["logits"])],
        "rounding",
        [onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.FLOAT, [3, 4, 8])],
        [onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [3, 4, 8])],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=10)
    onnx.save(model, tmp_path / "rounding.onnx")
    source = make_tiny_checkpoint(tmp_path / "source")
    config = load_model(source, inspect_checkpoint(source), torch.device("cpu")).config
    found = OnnxModel(tmp_path / "rounding.onnx", config, 1)(input_ids=states).logits
    torch.testing.assert_close(round_states(states), found, atol=1e-6, rtol=0)


def test_gradients_pass_the_rounding(tmp_path: Path) -> None:
    source = make_tiny_checkpoint(tmp_path / "source")
    model = load_model(source, inspect_checkpoint(source), torch.device("cpu"))
    ids = torch.tensor([[2, 80, 81, 3]])
    exact = model(input_ids=ids).logits
    learn_rounded(model, {})
    rounded = model(input_ids=ids).logits
    assert 0 < float((rounded - exact).detach().abs().max()) < 0.05
    rounded.sum().backward()
    assert all(
        module.weight.grad is not None and float(module.weight.grad.abs().sum()) > 0
        for module in model.modules()
        if isinstance(module, RoundedLinear)
    )
    learn_exactly(model)
    torch.testing.assert_close(model(input_ids=ids).logits, exact)


def test_eight_bits_are_learnt_in_float32_and_codes_in_groups_in_the_short_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers that are rounded to 8 bits would be rounded by bfloat16 again, by as much."""
    seen = []

    def training(objective: Any, data: Any, training: Training, context: Any) -> None:
        seen.append(training.precision)

    monkeypatch.setattr("compression.methods.quantize.method.train", training)
    for scheme in ("int8-dynamic", "int8-static", "group-wise"):
        step = {"method": "quantize", "scheme": scheme, "recovery": TRAINING}
        run_to_end(make_spec(tmp_path / scheme, [step]), tmp_path / f"{scheme}-out")
    assert seen == ["float32", "float32", "auto"]


def test_recovery_trains_with_the_ranges_that_the_file_has(tmp_path: Path) -> None:
    step = {"method": "quantize", "scheme": "int8-static", "recovery": TRAINING | {"learning_rate": 1e-2}}
    spec = make_spec(tmp_path, [step], layers=2)
    run_to_end(spec, tmp_path / "out")
    source = open_source(spec.model)
    rows = encode_split(source, spec.dataset, "train", spec.plan.task, None)
    untrained = load_model(source.folder, source.facts, torch.device("cpu"))
    ranges = find_ranges(untrained, rows, 256, spec.plan.seed)

    model = load_model(*checkpoint_of(tmp_path / "out"), torch.device("cpu"))
    file = OnnxModel(tmp_path / "out" / "artifacts" / "model.int8.onnx", model.config, 1)
    batch = collate(rows, np.arange(32), model.device).inputs
    differences = []
    for rounded_to in (ranges, {}):  # {}: to the range of each batch
        learn_rounded(model, rounded_to)
        differences.append(float((model(**batch).logits - file(**batch).logits).detach().abs().max()))
        learn_exactly(model)
    assert differences[0] < 1e-4
    assert differences[1] > 10 * differences[0]


def test_recovery_trains_what_the_file_holds(tmp_path: Path) -> None:
    """The metric on which training keeps its best weights is the 8-bit model's, not the exact one's."""
    step = {"method": "quantize", "recovery": TRAINING}
    report = run_to_end(make_spec(tmp_path, [step]), tmp_path / "out")
    best = max(point.value for point in report.curves["eval.accuracy"])
    assert abs(best - report.after.metrics["accuracy"].value) < 0.1
