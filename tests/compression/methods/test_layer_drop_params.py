"""Which layers each strategy keeps."""

import pytest

from compression.errors import InputError
from compression.methods.layer_drop.params import LayerDropParams


@pytest.mark.parametrize(
    ("strategy", "keep", "kept"),
    [
        ("top", 8, [0, 1, 2, 3, 4, 5, 6, 7]),
        ("bottom", 8, [4, 5, 6, 7, 8, 9, 10, 11]),
        ("alternate", 8, [0, 1, 2, 3, 4, 6, 8, 10]),
        ("alternate", 6, [0, 2, 4, 6, 8, 10]),
        ("symmetric", 8, [0, 1, 2, 3, 8, 9, 10, 11]),
        ("symmetric", 7, [0, 1, 2, 3, 9, 10, 11]),
        ("top", None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_kept_layers_of_twelve(strategy: str, keep: int | None, kept: list[int]) -> None:
    params = LayerDropParams.model_validate({"strategy": strategy, "keep_layers": keep})
    assert params.kept(12) == kept


@pytest.mark.parametrize(("strategy", "keep"), [("top", 12), ("top", 13), ("alternate", 5)])
def test_impossible_numbers_are_refused(strategy: str, keep: int) -> None:
    with pytest.raises(InputError):
        LayerDropParams.model_validate({"strategy": strategy, "keep_layers": keep}).kept(12)
