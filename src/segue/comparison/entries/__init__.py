"""Options become retrievers; one file for each kind: baselines, trained, reranked, text."""

from __future__ import annotations

from segue.comparison.entries.baselines import Baselines
from segue.comparison.entries.option_on_fold import OptionOnFold
from segue.comparison.entries.reranked import CascadeBuilder
from segue.comparison.entries.text import load_text_option
from segue.comparison.entries.trained import load_trained
from segue.comparison.job import Job
from segue.comparison.options import Option
from segue.evaluation.experiment import Fold
from segue.retrieval.retrievers import Retriever


def load_retriever(job: Job, option: Option, fold: Fold, baselines: Baselines) -> Retriever:
    """Read a finished option back as it was evaluated; nothing is trained, and models are copies of their own."""
    unit = OptionOnFold(job, option, fold, baselines)
    if option.text is not None:
        return load_text_option(unit)
    if option.reranking is not None:
        return CascadeBuilder(unit).build()[0]
    if option.trained:
        return load_trained(unit, unit.folder)
    return baselines.retriever(option.name, fold)
