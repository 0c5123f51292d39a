"""Recovery by Theseus (Xu et al. 2020): the layers that an ALBERT began with give way to those that it shares."""

from collections.abc import Iterator, Sequence

from torch import nn
from transformers import PreTrainedModel

from compression.architectures import anatomy_of
from compression.context import Context
from compression.methods.share.params import ShareParams
from compression.methods.theseus.modules import put_modules
from compression.methods.theseus.objective import TheseusObjective
from compression.methods.theseus.params import TheseusParams
from compression.training.teacher import TeacherLogits


class SharingObjective(TheseusObjective):
    """Each layer is a module of its own, and the layer of its group the successor of it and of its neighbours.

    All but the predecessor's layers is trained: vectors of word pieces that were made shorter have to recover too.
    """

    def __init__(
        self,
        albert: PreTrainedModel,
        shared: Sequence[nn.Module],
        params: ShareParams,
        context: Context,
        teacher: TeacherLogits | None,
    ) -> None:
        """`albert` shares nothing yet; `shared` are the layers to come, one for each that there is."""
        assert params.recovery is not None
        assert params.replacing is not None
        as_theseus = TheseusParams(
            schedule=params.replacing,
            head="trained",
            distillation=params.distillation,
            training=params.recovery,
        )
        layers = anatomy_of(albert).layers_of(albert).requires_grad_(False)
        modules = put_modules(albert, [1] * len(layers), shared, context.dtype_for(params.recovery))
        super().__init__(albert, modules, as_theseus, context, teacher)

    def trained(self) -> Iterator[nn.Parameter]:
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)
