from benchmarks.results import Draft
from benchmarks.runs import Figures
from benchmarks.theseus import compare_accuracy, compare_speed


def figures(after: float = 0.8, speed: float = 10.0, cpu: float = 5.0) -> Figures:
    return Figures(
        examples_per_second=speed,
        examples_per_second_warm=speed,
        training_cpu_seconds=cpu,
        wall_seconds=10.0,
        cpu_seconds=20.0,
        peak_rss_bytes=2**30,
        before=0.9,
        after=after,
        retention=after / 0.9,
        label_loyalty=0.9,
        probability_loyalty=0.9,
    )


def test_speed_is_that_of_the_middle_pair() -> None:
    draft = Draft()
    paper = [figures(speed=10.0), figures(speed=2.0), figures(speed=10.0)]
    engine = [figures(speed=300.0, cpu=1.0), figures(speed=80.0, cpu=1.0), figures(speed=360.0, cpu=1.0)]
    compare_speed(paper, engine, 35, draft)
    assert draft.targets[0].measured == 36.0
    assert draft.targets[0].reached
    assert draft.notes == ["CPU seconds of training, paper over engine: 5.0."]


def test_accuracy_may_fall_by_one_standard_deviation_of_the_papers() -> None:
    paper = [figures(0.80), figures(0.81), figures(0.82)]
    for after, reached in ((0.805, True), (0.795, False), (0.9, True)):
        draft = Draft()
        compare_accuracy(2e-5, paper, [figures(after)] * 3, draft)
        assert draft.targets[0].reached is reached
