"""The one list of methods. Request schema, catalogue, command line and dispatch are all derived from it."""

from typing import Annotated, get_args

from pydantic import Field

from compression.methods.distill.params import DistillParams
from compression.methods.ladabert.params import LadaBertParams
from compression.methods.layer_drop.params import LayerDropParams
from compression.methods.low_rank.params import LowRankParams
from compression.methods.narrow.params import NarrowParams
from compression.methods.prune.params import PruneParams
from compression.methods.quantize.params import QuantizeParams
from compression.methods.share.params import ShareParams
from compression.methods.theseus.params import TheseusParams
from compression.methods.tinybert.params import TinyBertParams
from compression.methods.trim_vocabulary.params import TrimVocabularyParams

StepParams = (
    TheseusParams
    | LayerDropParams
    | DistillParams
    | TinyBertParams
    | NarrowParams
    | ShareParams
    | TrimVocabularyParams
    | LowRankParams
    | PruneParams
    | LadaBertParams
    | QuantizeParams
)
Step = Annotated[StepParams, Field(discriminator="method")]

METHODS: dict[str, type[StepParams]] = {
    params.model_fields["method"].default: params for params in get_args(StepParams)
}

RECOMMENDED: dict[str, str] = {"theseus": "distilled", "distill": "growing"}
"""Of methods with presets, the one that keeps most of the metric where they are measured side by side."""
