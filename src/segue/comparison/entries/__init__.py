"""Options become retrievers; one file for each kind: baselines, trained, reranked, text."""

from __future__ import annotations

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.comparison.entries.text import load_text_option
from segue.comparison.entries.trained import as_retriever
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.evaluation.experiment import Fold
from segue.models import load_predictor
from segue.retrieval.retrievers import Retriever


def load_retriever(job: Job, option: Option, fold: Fold, baselines: Baselines) -> Retriever:
    """Read a finished option back as it was evaluated; nothing is trained, and models are copies of their own."""
    unit = OptionOnFold(job, option, fold, baselines)
    if option.text is not None:
        return load_text_option(unit)
    if option.reranking is not None:
        return CascadeBuilder(unit).build()[0]
    if option.trained:
        predictor, _ = load_predictor(unit.folder / "checkpoint")
        return as_retriever(unit, predictor)
    return baselines.retriever(option.name, fold)
