"""``segue evaluate``: score a trained run on its locked test documents, or on fresh documents.

Fresh documents, given as texts or as vectors of the bank's space, join a copy of the run's bank, so that the pool holds
the old passages and theirs; every test window is one of theirs. The run's own folder, bank and split stay as they are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from jaxtyping import Int

from segue.bank.bank import PassageBank
from segue.bank.changes import append, append_bank, copy_bank
from segue.bank.manifest import same_source
from segue.comparison.options import Option
from segue.comparison.record import FreshRecord
from segue.corpus import BankCorpus, Corpus, VectorsCorpus
from segue.corpus.intake import read_most
from segue.errors import InputError
from segue.evaluation.experiment import Experiment, Fold
from segue.files import copy_file, copy_folder, exclusive, read_json, write_json
from segue.hardware import Device
from segue.old_names import option_folder
from segue.progress import Stages, quiet
from segue.ranking.pool import Pool
from segue.recipe import Recipe, load_corpus
from segue.runs.bank import FRESH, bank_of_run
from segue.storage import on_storage
from segue.training.state import LOSS_FILE
from segue.types import Bank, Split
from segue.windows.near_duplicates import document_groups
from segue.windows.windows import make_windows
from segue.workflows.check_record import CheckPolicy
from segue.workflows.prepare import (
    EncoderLoader,
    experiment_of,
    fetched,
    on_device,
    opened_vectors,
    options_of_run,
    recorded_recipe,
)
from segue.workflows.triage import DEFAULT_POLICY, Comparison, corpus_name, run_comparison

NEAR = "near-duplicate of a document of the bank"
WINDOWLESS = "yields no windows"


@on_storage("run")
def evaluate(
    run: Path | str,
    *,
    corpus: Path | str | None = None,
    bank: Path | str | None = None,
    device: Device | None = None,
    policy: CheckPolicy = DEFAULT_POLICY,
    stages: Stages = quiet,
) -> Comparison:
    """Evaluate the options that ``segue train`` or ``segue triage`` trained, together with every baseline.

    Args:
        run: a run folder.
        corpus: a TOML file whose [corpus] names fresh documents, which are scored instead; of a run over vectors, they
            are vectors (or a bank) of the same name and dimension.
        bank: folder of the run's bank; None: where the run recorded it.
        device: device of the models, instead of the recipe's.
        policy: which checks run, and whether blocked numbers are printed, labelled.
        stages: shows progress.

    Raises:
        InputError: ``run`` is not a run folder, nothing was trained in it, or its bank is not there or has changed.
        BlockedError: a check of the data failed.
        StorageError: another process works on the run folder, or it cannot be written.
        SegueError: any other fault of settings, documents or files; the base class of Segue's errors.
    """
    run = Path(run)
    recipe = on_device(recorded_recipe(run), device)
    options = options_of_run(run)
    opened = bank_of_run(run, given=bank)
    if corpus is not None:
        return _evaluate_fresh(run, recipe, opened, options, corpus=corpus, policy=policy, stages=stages)
    return run_comparison(recipe, options, run, bank=opened, policy=policy, stages=stages)


def _evaluate_fresh(
    run: Path,
    recipe: Recipe,
    bank: PassageBank,
    options: tuple[Option, ...],
    *,
    corpus: Path | str,
    policy: CheckPolicy,
    stages: Stages,
) -> Comparison:
    """Score a run's first fold on fresh documents.

    Args:
        run: the run folder.
        recipe: the run's.
        bank: the run's.
        options: the trained options and the baselines.
        corpus: a TOML file with a [corpus] table.
        policy: which checks run, and whether blocked numbers are printed.
        stages: shows progress.

    Raises:
        InputError: the documents are not fresh, or yield no windows.
    """
    settings = load_corpus(corpus)
    folder = run / "fresh" / Path(corpus).stem
    with exclusive(folder):
        _require_same_corpus(settings, folder / FRESH, grown=_has_grown(folder / "bank", bank))
        grown = _grow(bank, recipe, settings, folder / "bank", stages=stages)
        experiment = _fresh_experiment(experiment_of(recipe, bank), grown, recipe)
        for option in options:
            _copy_option(option, run, folder)
        if (run / "plan.json").exists():
            copy_file(run / "plan.json", folder / "plan.json")
    facts = fresh_facts(settings, bank, experiment)
    return run_comparison(recipe, options, folder, experiment=experiment, fresh=facts, policy=policy, stages=stages)


def experiment_of_run(run: Path, recipe: Recipe, bank: PassageBank) -> Experiment:
    """Return the folds that a run folder was evaluated on: the recipe's, or one of fresh documents on the grown bank.

    Args:
        run: the run folder.
        recipe: the recorded one.
        bank: the recipe's.
    """
    experiment = experiment_of(recipe, bank)
    if not (run / FRESH).exists():
        return experiment
    return _fresh_experiment(experiment, PassageBank.open(run / "bank"), recipe)


def fresh_facts(corpus: Corpus, bank: Bank, experiment: Experiment) -> FreshRecord:
    """Count what is evaluated, and the documents of the corpus that are not, by reason.

    Args:
        corpus: the fresh corpus.
        bank: the bank before its documents joined.
        experiment: the experiment on the grown bank.

    Returns:
        Skipped documents are those that the reader left out, near-duplicates of the old bank's, and those too short for
        a window.
    """
    (fold,) = experiment.folds
    documents = len(experiment.test_documents)
    added = len(experiment.bank.document_ids) - len(bank.document_ids)
    skipped = Counter(experiment.bank.counts.skipped)
    skipped.subtract(bank.counts.skipped)
    skipped += Counter({NEAR: added - len(fold.split.test), WINDOWLESS: len(fold.split.test) - documents})
    return FreshRecord(
        kind=corpus.kind,
        name=corpus_name(corpus),
        documents=documents,
        windows=len(fold.test),
        skipped=dict(skipped),
    )


def _has_grown(path: Path, bank: PassageBank) -> bool:
    """Return whether fresh documents have joined the copy of the bank."""
    return path.exists() and len(PassageBank.open(path).document_ids) > len(bank.document_ids)


def _require_same_corpus(corpus: Corpus, path: Path, *, grown: bool) -> None:
    wanted = corpus.model_dump(mode="json")
    if grown and not same_source(read_json(path), wanted, moved=None):
        raise InputError(
            f"{path.parent} holds another fresh corpus",
            got=f"{wanted}",
            expected=f"{read_json(path)}",
            fix="give the TOML file another name, or delete that folder",
        )
    write_json(path, wanted)


def _grow(bank: PassageBank, recipe: Recipe, corpus: Corpus, out: Path, *, stages: Stages) -> PassageBank:
    """Copy the bank and append the corpus's documents, or open the copy where that was done."""
    if bank.space.declared and not isinstance(corpus, VectorsCorpus | BankCorpus):
        raise InputError("fresh texts cannot be encoded: the vectors of the run were made elsewhere",
                         got=f'kind = "{corpus.kind}"', expected="fresh vectors",
                         fix=f'give kind = "vectors", name = "{bank.space.encoder}", vectors and table')  # fmt: skip
    grown = PassageBank.open(out) if out.exists() else copy_bank(bank, out)
    if len(grown.document_ids) > len(bank.document_ids):
        return grown
    if isinstance(corpus, VectorsCorpus | BankCorpus):
        with stages("Adding fresh vectors") as progress, opened_vectors(corpus) as fresh:
            return append_bank(grown, fresh, progress=progress)
    with stages("Reading and encoding fresh documents") as progress:
        return append(grown, read_most(fetched(corpus)), EncoderLoader(recipe, bank), progress=progress)


def _fresh_experiment(trained: Experiment, grown: Bank, recipe: Recipe) -> Experiment:
    """Keep the first fold's training and validation windows; test on the fresh documents only."""
    fold = trained.folds[0]
    groups = document_groups(grown, recipe.split.near_duplicates)
    fresh = _not_near(groups, known=len(trained.bank.document_ids))
    windows = make_windows(grown, fresh, recipe.windows, groups=groups)
    if len(windows) == 0:
        raise InputError(
            "the fresh documents yield no windows",
            got=f"{len(fresh)} documents that the bank does not have; dropped {dict(windows.dropped)}",
            expected=f"documents of at least {recipe.windows.context + 1} passages",
            fix="name a corpus of other, longer documents",
        )
    split = Split(fold.split.train, fold.split.validation, fresh)
    return Experiment(grown, Pool(grown), (Fold(split, fold.train, fold.validation, windows),), groups, trained.context)


def _not_near(groups: Int[np.ndarray, "document"], *, known: int) -> Int[np.ndarray, "fresh"]:
    """Return the documents from number ``known`` on that are in no group with an earlier one.

    >>> _not_near(np.array([0, 1, 1, 3]), known=2).tolist()  # document 2 nearly repeats document 1
    [3]
    """
    late = np.arange(known, len(groups), dtype=np.int64)
    return late[~np.isin(groups[late], groups[:known])]


def _copy_option(option: Option, run: Path, folder: Path) -> None:
    """Copy what an option learnt on the first fold and its record, not its evaluation or statistics of the bank."""
    source = option_folder(run / "options", option.name) / "fold-0"
    target = folder / "options" / option.name / "fold-0"
    if option.reranking is not None and (source / "reranker" / "fit.json").exists():
        copy_folder(source / "reranker", target / "reranker")
    if not option.trained:
        return
    if (source / "training.json").exists() and not (target / "training.json").exists():
        copy_folder(source / "checkpoint", target / "checkpoint")
        if (source / "training" / LOSS_FILE).exists():
            copy_file(source / "training" / LOSS_FILE, target / "training" / LOSS_FILE)
        copy_file(source / "training.json", target / "training.json")
    tuned = option_folder(run / "tuning", option.name) / "fold-0" / "best.json"
    if tuned.exists():  # checks read the settings that an option was trained with
        copy_file(tuned, folder / "tuning" / option.name / "fold-0" / "best.json")
