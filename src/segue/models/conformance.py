"""Rules that every predictor must keep, your own too.

    from segue.models import ModelSettings, build_model
    from segue.models.conformance import check_predictor

    def test_my_model():
        settings = ModelSettings(name="mypackage.module:MyNet")
        check_predictor(lambda dimension, context: build_model(settings, dimension=dimension, context=context))

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from segue.models.anchor import AnchorKind, anchor_weights
from segue.models.architecture import Context, Mask
from segue.models.checkpoint import load_predictor, save_predictor
from segue.models.model_card import ModelCard
from segue.models.predictor import Predictor

Build = Callable[[int, int], Predictor]
"""Returns an untrained predictor; called as ``build(dimension, context)``."""

TOLERANCE = 1e-5
"""Largest difference of unit vectors that must be equal but are computed in another order."""

DIMENSION, CONTEXT = 24, 5


def check_predictor(build: Build) -> None:
    """Check every rule on predictors from ``build``.

    Raises:
        AssertionError: a rule is broken; the message names it.
    """
    for check in (
        check_unit_vectors,
        check_padding_is_ignored,
        check_rows_are_independent,
        check_input_is_kept,
        check_every_parameter_learns,
        check_start_is_the_anchor,
        check_documents,
        check_context_matters,
        check_save_and_load,
    ):
        torch.manual_seed(1)
        check(build(DIMENSION, CONTEXT))


def example_batch(dimension: int = DIMENSION, context: int = CONTEXT, *, seed: int = 1) -> tuple[Context, Mask]:
    """Return two contexts of each length from 1 to ``context``, zeros where there is no passage."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(2 * context, context, dimension, generator=generator)
    lengths = 1 + torch.arange(2 * context) % context
    mask = torch.arange(context) >= context - lengths[:, None]
    return functional.normalize(vectors, dim=-1) * mask[..., None], mask


def as_if_trained(predictor: Predictor) -> Predictor:
    """Change every parameter a little: an untrained anchored predictor computes its anchor alone."""
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return predictor.eval()


def check_unit_vectors(predictor: Predictor) -> None:
    """Check that answers are finite unit vectors, since the index compares by inner product."""
    context, mask = example_batch()
    answer = as_if_trained(predictor)(context, mask)
    assert answer.shape == (len(context), DIMENSION), f"answers of shape {tuple(answer.shape)}"
    norms = answer.norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=TOLERANCE), f"norms {norms.tolist()}"


def check_padding_is_ignored(predictor: Predictor) -> None:
    """Check that values in padding change nothing, and that holes count as passages that were never read."""
    context, mask = example_batch()
    predictor = as_if_trained(predictor)
    answer = predictor(context, mask)
    noise = torch.randn(context.shape, generator=torch.Generator().manual_seed(2))
    _same(predictor(torch.where(mask[..., None], context, noise), mask), answer, "padding changes the answer")
    broken = context.masked_fill(~mask[..., None], float("nan"))
    _same(predictor(broken, mask), answer, "NaN in padding reaches the answer")
    _same(predictor(context, mask), answer, "the answer is not repeatable")
    holes = torch.tensor([[True, False, True, False, True], [True, True, False, False, False]])
    closed = torch.zeros(2, CONTEXT, DIMENSION)
    closed[0, 2:], closed[1, 3:] = context[4, [0, 2, 4]], context[9, [0, 1]]
    present = torch.tensor([[False, False, True, True, True], [False, False, False, True, True]])
    _same(predictor(context[[4, 9]], holes), predictor(closed, present), "a masked passage changes the answer")


def check_rows_are_independent(predictor: Predictor) -> None:
    """Check that a context's answer does not depend on the rest of the batch."""
    context, mask = example_batch()
    predictor = as_if_trained(predictor)
    alone = torch.cat([predictor(context[row : row + 1], mask[row : row + 1]) for row in range(len(context))])
    _same(predictor(context, mask), alone, "answers depend on the rest of the batch")


def check_input_is_kept(predictor: Predictor) -> None:
    """Check that the caller's tensors are not changed."""
    context, mask = example_batch()
    before = context.clone(), mask.clone()
    as_if_trained(predictor)(context, mask)
    assert torch.equal(context, before[0]), "the contexts were changed"
    assert torch.equal(mask, before[1]), "the mask was changed"


def check_every_parameter_learns(predictor: Predictor) -> None:
    """Check that every parameter gets a gradient; one without is a mistake in the forward pass."""
    context, mask = example_batch()
    target = functional.normalize(torch.randn(len(context), DIMENSION), dim=-1)
    answer = as_if_trained(predictor).train()(context, mask)
    (1 - (answer * predictor.encode_documents(target)).sum(-1)).mean().backward()
    for name, parameter in predictor.named_parameters():
        assert parameter.grad is not None, f"{name} does not affect the answer"
        assert bool(torch.isfinite(parameter.grad).all()), f"{name} has a gradient that is not finite"
        assert bool(parameter.grad.any()), f"{name} has no gradient"


def check_start_is_the_anchor(predictor: Predictor) -> None:
    """Check that an untrained anchored predictor is the baseline it was anchored at, for short contexts too."""
    if predictor.anchor is None:
        return
    context, mask = example_batch()
    kinds: tuple[AnchorKind, ...] = ("copy-last", "mean", "exp-mean")
    for kind in kinds:
        weights = anchor_weights(kind, CONTEXT, decay=0.6)
        predictor.start_anchor(weights)
        expected = functional.normalize((weights[:, None] * context).sum(1), dim=-1)  # padding is zero
        _same(predictor(context, mask), expected, f"the start is not {kind}")


def check_documents(predictor: Predictor) -> None:
    """Check that passages start unchanged, and that a trained tower returns unit vectors, independent of the batch."""
    vectors, _ = example_batch()
    vectors = vectors[:, -1]
    _same(predictor.eval().encode_documents(vectors), vectors, "the document tower does not start at the identity")
    encoded = as_if_trained(predictor).encode_documents(vectors)
    _same(encoded.norm(dim=-1), torch.ones(len(vectors)), "encoded passages are not unit vectors")
    alone = torch.cat([predictor.encode_documents(vectors[row : row + 1]) for row in range(len(vectors))])
    _same(encoded, alone, "an encoded passage depends on the rest of the batch")
    if predictor.documents is not None:
        assert not torch.allclose(encoded, vectors, atol=TOLERANCE), "the document tower stays the identity in training"


def check_context_matters(predictor: Predictor) -> None:
    """Check that the answer depends on the passages that were read."""
    context, mask = example_batch()
    answer = as_if_trained(predictor)(context, mask)
    other = predictor(example_batch(seed=2)[0], mask)
    assert not torch.allclose(answer, other, atol=TOLERANCE), "the answer ignores the context"


def check_save_and_load(predictor: Predictor) -> None:
    """Check that a loaded checkpoint computes the same bits."""
    context, mask = example_batch()
    predictor = as_if_trained(predictor)
    with tempfile.TemporaryDirectory() as folder:
        save_predictor(predictor, Path(folder) / "model", card=ModelCard(name="contract"))
        loaded, _ = load_predictor(Path(folder) / "model")
    assert torch.equal(loaded(context, mask), predictor(context, mask)), "loading changes the answers"
    passages = context[:, -1]
    same = torch.equal(loaded.encode_documents(passages), predictor.encode_documents(passages))
    assert same, "loading changes the encoded passages"


def _same(left: Tensor, right: Tensor, message: str) -> None:
    """Compare within ``TOLERANCE``; NaN is not equal to anything."""
    difference = float((left - right).detach().abs().max())
    assert difference <= TOLERANCE, f"{message}: they differ by {difference:.2g}"
