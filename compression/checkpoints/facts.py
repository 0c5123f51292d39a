"""What is known of a checkpoint before anything of it is built."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Architecture = Literal["bert", "roberta", "distilbert"]
ProblemType = Literal["single_label", "regression"]


class ModelFacts(BaseModel):
    """What the inspection of a checkpoint found; sizes are those of its config, checked against its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: Architecture
    task: Literal["text-classification"]
    problem_type: ProblemType
    labels: list[str]
    """Label names by class id; one entry for regression."""
    layers: int
    hidden_size: int
    attention_heads: int
    intermediate_size: int
    vocabulary_size: int
    max_length: int
    """Word pieces that fit, special ones included."""
    parameters: int
    bytes: int
    """Of the weight files."""
    dtype: str
