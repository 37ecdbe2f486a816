"""The rows that read text with a fine-tuned encoder: what they cost is measured first, and a row too dear is skipped.

Their steps are hundreds of times dearer than those of other options, so they have steps of their own ([text]) beside
the plan's.
"""

from __future__ import annotations

from typing import Any

from segue.comparison.cost import require_affordable
from segue.comparison.entries.trained import Baselines, score_on_validation, watched
from segue.comparison.halves import spread
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.evaluation.experiment import Fold
from segue.retrieval.rerank import CandidateLists
from segue.retrieval.rerank.cross_encoder import CrossEncoderReranker
from segue.retrieval.rerank.fusion import Fusion
from segue.retrieval.rerank.lists import draw_lists
from segue.retrieval.retrievers import Retriever
from segue.retrieval.retrievers.cascade import Cascade
from segue.retrieval.retrievers.text_encoder import dual_encoder_retriever
from segue.text_models import cross_encoder, dual_encoder
from segue.text_models.settings import CrossEncoderSettings, DualEncoderSettings
from segue.training.train import TrainingResult
from segue.types import Progress, Windows, no_progress

MEASURED_SECONDS = 1.0
"""A training step is timed for about so long."""
MEASURED_LISTS = 64
"""Lists of candidates that a cross-encoder's step is timed with."""
MEND = "fewer [text] steps"
"""What makes a text row cheaper."""
READING = 1 / 3
"""Reading a text costs about this share of learning from it: one of three passes."""
POOLS = 3
"""A reranker is asked about several pools, whose candidates overlap; together they cost about so many."""


def text_entrant(
    job: Job, option: Option, fold: Fold, baselines: Baselines, progress: Progress
) -> tuple[Retriever, dict[str, Any]]:
    """Fine-tune a text option on one fold (or read it back), and return it with what training did.

    Raises:
        InputError: it would take more than its share of the budget, or the bank has no texts.
    """
    dual_encoder.require_texts(job.experiment.bank)
    job.load_encoder()  # refuses a bank whose vectors the recipe's encoder did not make
    make = _dual_encoder if option.text == "dual-encoder" else _cross_encoder
    return make(job, option, fold, baselines, progress)


def read_text_entrant(job: Job, option: Option, fold: Fold, baselines: Baselines) -> Retriever:
    """Return the retriever of a text option that is finished on a fold; nothing is trained."""
    training = job.folder(option, fold) / "training"
    if option.text == "dual-encoder":
        return _searching(job, option, fold, dual_encoder.load_dual_encoder(training, job.encoder))
    return _reranking(job, option, fold, baselines, cross_encoder.load_cross_encoder(training))


def _dual_encoder(
    job: Job, option: Option, fold: Fold, baselines: Baselines, progress: Progress
) -> tuple[Retriever, dict[str, Any]]:
    folder, bank = job.folder(option, fold) / "training", job.experiment.bank
    steps = job.text.dual_encoder_steps
    settings = job.text.dual_encoder.model_copy(update={"seed": job.training.seed + fold.number})

    def cost() -> float:
        second = dual_encoder.seconds_per_step(
            bank, fold.train, encoder=job.encoder, settings=settings, seconds=MEASURED_SECONDS
        )
        read = READING * second / settings.batch_size
        windows = settings.evaluations * len(watched(job, fold)) + len(fold.test)
        encoded = len(bank) * (settings.evaluations + 1) if settings.documents == "trained" else 0
        return len(job.experiment.folds) * (steps * second + (windows + encoded) * read)

    require_affordable(job, option.name, share=job.text.share, cost=cost, fix=MEND)

    def retriever(encoder: Any) -> Retriever:
        return _searching(job, option, fold, encoder, progress)

    result = dual_encoder.train_dual_encoder(
        bank, fold.train, encoder=job.encoder, settings=settings, steps=steps, folder=folder,
        score=lambda encoder: score_on_validation(retriever(encoder), job, fold), progress=progress,
    )  # fmt: skip
    found = retriever(dual_encoder.load_dual_encoder(folder, job.encoder))
    documents = "documents learn too" if settings.documents == "trained" else "documents as they are"
    return found, _record(result, settings, f"InfoNCE (τ {settings.temperature:g}), {documents}", steps)


def _searching(job: Job, option: Option, fold: Fold, encoder: Any, progress: Progress = no_progress) -> Retriever:
    return dual_encoder_retriever(encoder, job.experiment.pool, name=option.name,
                                  documents=job.text.dual_encoder.documents,
                                  folder=job.folder(option, fold) / "encoded", progress=progress)  # fmt: skip


def _cross_encoder(
    job: Job, option: Option, fold: Fold, baselines: Baselines, progress: Progress
) -> tuple[Retriever, dict[str, Any]]:
    folder, bank = job.folder(option, fold) / "training", job.experiment.bank
    steps, depth = job.text.cross_encoder_steps, job.text.candidates
    settings = job.text.cross_encoder.model_copy(update={"seed": job.training.seed + fold.number})
    first = baselines.retriever("copy-last", fold)
    windows = spread(fold.train, 2 * steps * settings.batch_size)
    drawing = Cascade(option.name, option.intent, first, max(depth, 2 * settings.negatives), Fusion())

    def lists_of(windows: Windows) -> CandidateLists:
        return draw_lists(
            lambda contexts: drawing.candidates(contexts).candidates, bank, drawing.pool, windows,
            exclude=job.evaluation.exclude, texts=False, batch_size=256, progress=progress,
        ).candidates  # fmt: skip

    def cost() -> float:
        some = spread(windows, MEASURED_LISTS)
        second = cross_encoder.seconds_per_step(
            bank, some, lists_of(some), encoder=job.encoder, settings=settings, seconds=MEASURED_SECONDS
        )
        pair = READING * second / (settings.batch_size * (1 + settings.negatives))
        pairs = (settings.evaluations * len(watched(job, fold)) + POOLS * len(fold.test)) * depth
        return len(job.experiment.folds) * (steps * second + pairs * pair)

    require_affordable(job, option.name, share=job.text.share, cost=cost, fix=MEND)

    def cascade(model: cross_encoder.CrossEncoder) -> Cascade:
        return _reranking(job, option, fold, baselines, model)

    result = cross_encoder.train_cross_encoder(
        bank, windows, lists_of(windows), encoder=job.encoder, settings=settings, steps=steps, folder=folder,
        score=lambda model: score_on_validation(cascade(model), job, fold), progress=progress,
    )  # fmt: skip
    found = cascade(cross_encoder.load_cross_encoder(folder))
    return found, _record(result, settings, f"softmax over 1 + {settings.negatives} candidates of copy-last", steps)


def _reranking(
    job: Job, option: Option, fold: Fold, baselines: Baselines, model: cross_encoder.CrossEncoder
) -> Cascade:
    first = baselines.retriever("copy-last", fold)
    reranker = CrossEncoderReranker(model, job.experiment.bank)
    return Cascade(option.name, option.intent, first, job.text.candidates, reranker)


def _record(
    result: TrainingResult, settings: DualEncoderSettings | CrossEncoderSettings, loss: str, steps: int
) -> dict[str, Any]:
    return {
        "model": "text encoder",
        "size": f"last {settings.layers} layers learn",
        "anchor": False,
        "parameters": None,
        "loss_name": None,
        "loss": loss,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "steps": result.steps,
        "planned_steps": steps,
        "best_step": result.best_step,
        "seconds": result.seconds,
        "under_trained": result.under_trained,
        "curve": result.curve,
    }
