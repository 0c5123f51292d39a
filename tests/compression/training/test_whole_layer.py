"""The layer as one operation beside the layers of transformers."""

import weakref
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from compression.architectures import anatomy_of
from compression.methods.narrow.units import Layer
from compression.training.states import States
from compression.training.whole_layer import fast_layers

SIZES: dict[str, Any] = {
    "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 3, "vocab_size": 50,
    "pad_token_id": 0,
}  # fmt: skip
NO_DROPOUT: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
MODELS: dict[str, Callable[[], PreTrainedModel]] = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SIZES, **NO_DROPOUT)),
    "bert-tokens": lambda: BertForTokenClassification(BertConfig(**SIZES, **NO_DROPOUT)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SIZES, **NO_DROPOUT)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(
            dim=48, n_heads=4, hidden_dim=96, n_layers=3, vocab_size=50,
            dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
        )
    ),
}  # fmt: skip


def tiny(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = MODELS[name]().train()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def inputs(length: int, *, padded: bool) -> dict[str, torch.Tensor]:
    mask = torch.ones(3, length, dtype=torch.long)
    if padded:
        mask[1, 5:] = 0
    return {"input_ids": torch.randint(5, 50, (3, length)), "attention_mask": mask}


def is_whole(layer: nn.Module) -> bool:
    return "forward" in vars(layer)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("length", [7, 40])
@pytest.mark.parametrize("name", list(MODELS))
def test_same_answers_and_same_gradients(name: str, length: int, padded: bool) -> None:
    model = tiny(name)
    whole = deepcopy(model)
    batch = inputs(length, padded=padded)
    expected = model(**batch).logits
    torch.autograd.backward(expected.square().sum())
    with fast_layers(whole):
        assert all(is_whole(layer) for layer in anatomy_of(whole).layers_of(whole))
        logits = whole(**batch).logits
        torch.autograd.backward(logits.square().sum())

    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    for (path, ours), theirs in zip(whole.named_parameters(), model.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None, path
        else:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3, msg=path)


@pytest.mark.parametrize(
    "name", ["bert", "bert-tokens"]
)  # the last layer for the first piece alone, or whole
def test_layers_with_fewer_heads_answer_the_same(name: str) -> None:
    model = tiny(name)
    anatomy = anatomy_of(model)
    for layer, kept in zip(anatomy.layers_of(model), ([0, 2], [1, 2, 3], [3]), strict=True):
        Layer(layer, anatomy, 12).keep_heads(kept)
    whole, batch = deepcopy(model), inputs(9, padded=True)
    expected = model(**batch).logits
    torch.autograd.backward(expected.square().sum())
    with fast_layers(whole):
        assert all(is_whole(layer) for layer in anatomy.layers_of(whole))
        logits = whole(**batch).logits
        torch.autograd.backward(logits.square().sum())
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)
    for (path, ours), theirs in zip(whole.named_parameters(), model.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), path
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3, msg=path)


def test_a_frozen_layer_passes_the_gradient_on() -> None:
    model = tiny("bert")
    layers = anatomy_of(model).layers_of(model)
    layers[1].requires_grad_(False)
    whole = deepcopy(model)
    batch = inputs(9, padded=True)
    torch.autograd.backward(model(**batch).logits.sum())
    with fast_layers(whole):
        torch.autograd.backward(whole(**batch).logits.sum())
    frozen = anatomy_of(whole).layers_of(whole)[1]
    assert all(parameter.grad is None for parameter in frozen.parameters())
    for ours, theirs in zip(
        whole.get_submodule("bert.embeddings").parameters(),
        model.get_submodule("bert.embeddings").parameters(),
        strict=True,
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-3)


def test_only_a_head_that_reads_the_first_piece_spares_the_others() -> None:
    for name, pieces in (("bert", 1), ("bert-tokens", 9)):
        model = tiny(name)
        seen: list[torch.Size] = []
        with fast_layers(model):
            model.get_submodule("bert.encoder").register_forward_hook(
                lambda _m, _i, out, seen=seen: seen.append(out[0].shape)
            )
            model(**inputs(9, padded=False))
        assert seen == [torch.Size([3, pieces, 48])], name


def test_a_layer_that_is_looked_at_gives_all_its_states() -> None:
    model = tiny("bert")
    layers = anatomy_of(model).layers_of(model)
    seen: list[torch.Size] = []
    layers[-1].register_forward_hook(lambda _m, _i, out: seen.append(out.shape))
    layers[0].get_submodule("attention.self.query").register_forward_hook(
        lambda _m, _i, out: seen.append(out.shape)
    )
    with fast_layers(model):
        assert not is_whole(layers[0]), "who looks inside needs the layer's own parts"
        assert is_whole(layers[-1])
        model(**inputs(9, padded=False))
    assert seen == [torch.Size([3, 9, 48])] * 2


@pytest.mark.parametrize("name", list(MODELS))
def test_a_layer_that_is_looked_at_as_the_head_reads_it_spares_the_others(name: str) -> None:
    model = tiny(name)
    batch = inputs(9, padded=False)
    expected = deepcopy(model)(**batch, output_hidden_states=True).hidden_states[-1]
    states = States(model, hidden=(3,), attention=(), as_read=True)
    seen: list[torch.Size] = []
    layer = anatomy_of(model).layers_of(model)[-1]
    with fast_layers(model):
        whole = layer.forward

        def watched(*args: Any, **named: Any) -> torch.Tensor:
            out: torch.Tensor = whole(*args, **named)
            seen.append(out.shape)
            return out

        layer.forward = watched
        model(**batch)
    pieces = 9 if name == "bert-tokens" else 1
    assert seen == [torch.Size([3, pieces, 48])]
    torch.testing.assert_close(states.hidden[3], expected[:, :pieces])


def test_a_layer_that_is_let_go_of_is_gone() -> None:
    model = tiny("bert")
    layers = anatomy_of(model).layers_of(model)
    with fast_layers(model):
        dropped = weakref.ref(layers[0])
        del layers[0]
        assert dropped() is None
    assert not any(is_whole(layer) for layer in layers)


def test_layers_of_another_form_are_left_alone() -> None:
    model = tiny("bert")
    layers = anatomy_of(model).layers_of(model)
    layers[0].set_submodule("intermediate.intermediate_act_fn", nn.ReLU())
    layers[1].set_submodule("output.dense", nn.Sequential(nn.Linear(96, 8), nn.Linear(8, 48)))
    layers[2].get_submodule("attention.self.query").requires_grad_(False)
    with fast_layers(model):
        assert not any(is_whole(layer) for layer in layers)


def test_dropout_follows_the_seed_and_ends_with_the_training() -> None:
    model = tiny("bert")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5
    batch = inputs(9, padded=True)
    with fast_layers(model):
        answers = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            answers.append(model(**batch).logits)
        assert torch.equal(answers[0], answers[1])
        assert not torch.equal(answers[0], answers[2])
        model.eval()
        still = model(**batch).logits
    torch.testing.assert_close(still, model(**batch).logits, atol=1e-5, rtol=1e-4)
    assert not any(is_whole(layer) for layer in anatomy_of(model).layers_of(model))
