"""The two recipes in their own processes, tiny: both must learn the rows and be measured alike."""

import pytest

from benchmarks.data import Corpus
from benchmarks.process import Line
from benchmarks.runs import Figures, Material, run_engine, run_reference, training_moments
from tests.checkpoints import make_tiny_checkpoint

STEPS = 24


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("benchmark")
    rows = [
        (f"the movie was {'good' if i % 2 else 'bad'} {'very ' * (i % 5)}", str(i % 2)) for i in range(400)
    ]
    Corpus(("sentence", "label"), rows[:320], rows[320:], rows[320:]).write(folder)
    return Material.prepare(make_tiny_checkpoint(folder / "model", layers=4, labels=("0", "1")), folder)


def check(figures: Figures) -> None:
    assert figures.examples_per_second > 0
    assert figures.examples_per_second_warm > 0
    assert 0 < figures.training_cpu_seconds < figures.cpu_seconds
    assert figures.peak_rss_bytes > 100 * 2**20
    assert figures.retention == pytest.approx(figures.after / figures.before)
    assert 0 <= figures.probability_loyalty <= 1


def test_the_reference_and_the_engine_start_from_the_same_model(material: Material) -> None:
    reference = run_reference(
        material, threads=1, steps=STEPS, successor_layers=2, batch_size=16, length=32, learning_rate=1e-2
    )
    training = {"batch_size": 16, "max_steps": STEPS, "epochs": 100, "evaluations_per_epoch": 1}
    step = {"method": "theseus", "successor_layers": 2, "training": {**training, "learning_rate": 1e-2}}
    engine = run_engine(material, step, seed=1, threads=1, batch_size=16, length=32)
    check(reference)
    check(engine)
    assert reference.before == pytest.approx(engine.before)
    assert engine.after > 0.9


def test_training_lasts_from_its_phase_to_its_last_step_without_the_validation() -> None:
    said = [
        (1.0, '{"type": "phase", "phase": "load"}'),
        (2.0, '{"type": "phase", "phase": "compress"}'),
        (3.0, '{"type": "progress", "step": 10, "total": 40}'),
        (4.0, '{"type": "progress", "step": 20, "total": 40}'),
        (6.0, '{"type": "progress", "step": 40, "total": 40}'),
        (8.0, '{"type": "metric", "step": 40, "values": {"eval.accuracy": 0.9}}'),
        (8.0, '{"type": "progress", "step": 40, "total": 40}'),
        (9.0, '{"type": "phase", "phase": "export"}'),
    ]
    moments = training_moments([Line(text, wall, wall / 2) for wall, text in said])
    assert [(moment.line.wall, moment.step) for moment in moments] == [(2.0, 0), (4.0, 20), (6.0, 40)]
