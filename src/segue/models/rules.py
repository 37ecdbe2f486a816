"""Rules of architectures.

Each rule is a function; its docstring states the reason. A broken rule raises ``AssertionError``. ``build_model``
checks ``RULES`` of every architecture that a recipe names by its import path.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from segue.encoders.space import PROBES
from segue.errors import InputError
from segue.models.anchor import AnchorKind, anchor_weights
from segue.models.architecture import Context, Mask
from segue.models.predictor import Predictor

TOLERANCE = 1e-5
"""Largest difference of unit vectors that must be equal but are computed in another order."""

DIMENSION, CONTEXT = 24, 5
SEED = 271_828
"""Seed of what rules draw; another one than a training's, so that a net is never built with the same numbers again."""


def require_rules(predictor: Predictor, again: Callable[[], Predictor]) -> None:
    """Check that a new predictor keeps every rule; it and all random states stay as they were.

    Answers are compared in float64, so that rounding breaks no rule. That training starts at the anchor and that every
    parameter learns is not required: without that a model may be worse, but its numbers are its own.

    Args:
        predictor: the predictor.
        again: builds another one of the same settings.

    Raises:
        InputError: a rule is broken, or the architecture fails on valid contexts.
    """
    rules = {rule.__name__: rule for rule in RULES}
    rules[check_weights_are_all.__name__] = lambda tried: check_weights_are_all(tried, again().cpu().double())
    for name, check in rules.items():
        try:
            with _random_states_kept():
                torch.manual_seed(SEED)
                check(copy.deepcopy(predictor).cpu().double())
        except InputError:
            raise
        except Exception as error:  # whatever a class of the user's raises is the reason
            broken = isinstance(error, AssertionError)
            raise InputError(
                f"model {predictor.settings.name!r} breaks the rule {name.removeprefix('check_')!r}",
                got=str(error).removesuffix(".") if broken else f"{type(error).__name__}: {error}",
                fix=f"correct the class; segue.models.rules.{name} states the rule",
            ) from error


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """Restore the random states of torch, NumPy and Python, which a class of the user's may draw from."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)


def example_batch(
    dimension: int = DIMENSION, context: int = CONTEXT, *, seed: int = 1, dtype: torch.dtype = torch.float32
) -> tuple[Context, Mask]:
    """Return two contexts of each length from 1 to ``context``, zeros where there is no passage."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(2 * context, context, dimension, generator=generator)
    lengths = 1 + torch.arange(2 * context) % context
    mask = torch.arange(context) >= context - lengths[:, None]
    return (functional.normalize(vectors, dim=-1) * mask[..., None]).to(dtype), mask


def example_texts(mask: Mask, *, seed: int = 1) -> list[tuple[str, ...]]:
    """Return a text for each passage that is there; neighbours in time and in the batch have different ones."""
    counts = enumerate(mask.sum(dim=1).tolist(), start=seed)
    return [tuple(PROBES[(row + place) % len(PROBES)] for place in range(count)) for row, count in counts]


def _example(predictor: Predictor, *, seed: int = 1) -> tuple[Context, Mask, list[tuple[str, ...]]]:
    """Return an example batch of the predictor's shape and precision, and its texts."""
    dtype = next(predictor.parameters()).dtype
    context, mask = example_batch(predictor.dimension, predictor.context, seed=seed, dtype=dtype)
    return context, mask, example_texts(mask, seed=seed)


def as_if_trained(predictor: Predictor) -> Predictor:
    """Change every parameter a little: an untrained anchored predictor computes its anchor alone."""
    with torch.no_grad():
        for parameter in predictor.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return predictor.eval()


def check_unit_vectors(predictor: Predictor) -> None:
    """Check that answers are finite unit vectors, since the index compares by inner product."""
    context, mask, texts = _example(predictor)
    answer = as_if_trained(predictor)(context, mask, texts)
    assert answer.shape == (len(context), predictor.dimension), f"answers of shape {tuple(answer.shape)}"
    norms = answer.norm(dim=-1)
    assert torch.allclose(norms, torch.ones_like(norms), atol=TOLERANCE), f"norms {norms.tolist()}"


def check_repeatable(predictor: Predictor) -> None:
    """Check that the same contexts get the same answers again: nothing is kept from one call to the next, or drawn."""
    context, mask, texts = _example(predictor)
    predictor = as_if_trained(predictor)
    before = predictor(context, mask, texts)
    predictor(context.flip(0), mask.flip(0), texts[::-1])
    _same(predictor(context, mask, texts), before, "the same contexts get other answers the second time")


def check_padding_is_ignored(predictor: Predictor) -> None:
    """Check that values in padding change nothing, and that holes count as passages that were never read."""
    context, mask, texts = _example(predictor)
    predictor = as_if_trained(predictor)
    answer = predictor(context, mask, texts)
    noise = torch.randn(context.shape, generator=torch.Generator().manual_seed(2)).to(context.dtype)
    _same(predictor(torch.where(mask[..., None], context, noise), mask, texts), answer, "padding changes the answer")
    broken = context.masked_fill(~mask[..., None], float("nan"))
    _same(predictor(broken, mask, texts), answer, "NaN in padding reaches the answer")
    places = predictor.context
    present = torch.arange(places) % 2 == 0
    full = context[mask.all(dim=1)]
    kept = int(present.sum())
    closed = torch.zeros_like(full)
    closed[:, places - kept :] = full[:, present]
    front = (torch.arange(places) >= places - kept).expand(len(full), -1)
    texts = example_texts(front)
    _same(predictor(full, present.expand(len(full), -1), texts), predictor(closed, front, texts),
          "a masked passage changes the answer")  # fmt: skip


def check_rows_are_independent(predictor: Predictor) -> None:
    """Check that a context's answer does not depend on the rest of the batch."""
    context, mask, texts = _example(predictor)
    predictor = as_if_trained(predictor)
    rows = [slice(row, row + 1) for row in range(len(context))]
    alone = torch.cat([predictor(context[row], mask[row], texts[row]) for row in rows])
    _same(predictor(context, mask, texts), alone, "answers depend on the rest of the batch")
    _same(
        predictor(context.flip(0), mask.flip(0), texts[::-1]).flip(0), alone, "answers depend on the order of the batch"
    )


def check_input_is_kept(predictor: Predictor) -> None:
    """Check that the caller's tensors are not changed."""
    context, mask, texts = _example(predictor)
    before = context.clone(), mask.clone()
    as_if_trained(predictor)(context, mask, texts)
    assert torch.equal(context, before[0]), "the contexts were changed"
    assert torch.equal(mask, before[1]), "the mask was changed"


def check_every_parameter_learns(predictor: Predictor) -> None:
    """Check that every parameter gets a gradient; one without is a mistake in the forward pass."""
    context, mask, texts = _example(predictor)
    target = functional.normalize(torch.randn(len(context), predictor.dimension), dim=-1)
    answer = as_if_trained(predictor).train()(context, mask, texts)
    (1 - (answer * predictor.encode_documents(target)).sum(-1)).mean().backward()
    for name, parameter in predictor.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, f"{name} does not affect the answer"
        assert bool(torch.isfinite(parameter.grad).all()), f"{name} has a gradient that is not finite"
        assert bool(parameter.grad.any()), f"{name} has no gradient"


def check_start_is_the_anchor(predictor: Predictor) -> None:
    """Check that an untrained anchored predictor is the baseline it was anchored at, for short contexts too."""
    if predictor.anchor is None:
        return
    context, mask, texts = _example(predictor)
    kinds: tuple[AnchorKind, ...] = ("copy-last", "mean", "exp-mean")
    for kind in kinds:
        weights = anchor_weights(kind, predictor.context, decay=0.6).to(context.dtype)
        predictor.start_anchor(weights)
        expected = functional.normalize((weights[:, None] * context).sum(1), dim=-1)  # padding is zero
        _same(predictor(context, mask, texts), expected, f"the start is not {kind}")


def check_documents(predictor: Predictor) -> None:
    """Check that passages start unchanged, and that a trained tower returns unit vectors, independent of the batch."""
    vectors = _example(predictor)[0][:, -1]
    _same(predictor.eval().encode_documents(vectors), vectors, "the document tower does not start at the identity")
    encoded = as_if_trained(predictor).encode_documents(vectors)
    _same(encoded.norm(dim=-1), torch.ones(len(vectors), dtype=vectors.dtype), "encoded passages are not unit vectors")
    alone = torch.cat([predictor.encode_documents(vectors[row : row + 1]) for row in range(len(vectors))])
    _same(encoded, alone, "an encoded passage depends on the rest of the batch")
    if predictor.documents is not None:
        assert not torch.allclose(encoded, vectors, atol=TOLERANCE), "the document tower stays the identity in training"


def check_context_matters(predictor: Predictor) -> None:
    """Check that the answer depends on the passages that were read."""
    context, mask, texts = _example(predictor)
    answer = as_if_trained(predictor)(context, mask, texts)
    context, _, texts = _example(predictor, seed=2)
    assert not torch.allclose(answer, predictor(context, mask, texts), atol=TOLERANCE), "the answer ignores the context"


def check_weights_are_all(predictor: Predictor, other: Predictor) -> None:
    """Check that another net with the same weights gives the same answers: nothing else has to be saved."""
    context, mask, texts = _example(predictor)
    other.load_state_dict(as_if_trained(predictor).state_dict())
    _same(
        other.eval()(context, mask, texts),
        predictor(context, mask, texts),
        "another net with the same weights answers otherwise",
    )


RULES: tuple[Callable[[Predictor], None], ...] = (
    check_unit_vectors,
    check_repeatable,
    check_rows_are_independent,
    check_padding_is_ignored,
    check_input_is_kept,
    check_documents,
    check_context_matters,
)
"""Rules without which an entry's numbers are wrong or cannot be repeated."""


def _same(left: Tensor, right: Tensor, message: str) -> None:
    """Compare within ``TOLERANCE``; NaN is not equal to anything."""
    difference = float((left - right).detach().abs().max())
    assert difference <= TOLERANCE, f"{message}: they differ by {difference:.2g}"
