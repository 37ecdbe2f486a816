"""Numbered checks: may a number be printed, and why is it not better?

One file per check, each with one ``CHECK``. Below is the order in which they are read: integrity (SG1xx, an issue
blocks the headline number), then diagnosis (SG2xx).
"""

from __future__ import annotations

from segue.checks.case import Case, CaseEntry, Effort, Trained
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis import (
    sg201_beats_untrained_baselines,
    sg202_seen_and_unseen_documents,
    sg203_projection_head,
    sg204_loss_terms_agree,
    sg205_negatives_seen,
    sg206_predictions_collapsed,
    sg207_anisotropy,
    sg208_hubs,
    sg209_copying,
    sg210_where_the_truth_is,
    sg211_cosine_and_rank,
    sg212_temperature,
    sg213_order_to_learn,
    sg214_latency,
    sg215_more_data,
    sg216_reranker_ceiling,
    sg217_bank_statistics,
    sg218_win_on_unseen_documents,
    sg219_enough_documents,
)
from segue.checks.integrity import (
    sg101_targets_in_the_index,
    sg102_windows_match_the_bank,
    sg103_truth_carries_information,
    sg104_leaked_documents,
    sg105_train_and_validation_apart,
    sg106_one_space,
    sg107_no_future,
    sg108_context_excluded,
    sg109_ranking_ignores_ids,
    sg110_loss_space_is_served,
    sg111_query_is_a_prediction,
    sg112_same_model,
    sg113_index_finds_the_exact,
    sg114_numbers_comparable,
)
from segue.comparison.record import Finding

__all__ = [
    "AUDIT",
    "CHECKS",
    "DIAGNOSIS",
    "Case",
    "CaseEntry",
    "Check",
    "Effort",
    "Finding",
    "Trained",
    "Verdict",
    "not_applicable",
]

AUDIT: tuple[Check, ...] = (
    sg101_targets_in_the_index.CHECK,
    sg102_windows_match_the_bank.CHECK,
    sg103_truth_carries_information.CHECK,
    sg104_leaked_documents.CHECK,
    sg105_train_and_validation_apart.CHECK,
    sg106_one_space.CHECK,
    sg107_no_future.CHECK,
    sg108_context_excluded.CHECK,
    sg109_ranking_ignores_ids.CHECK,
    sg110_loss_space_is_served.CHECK,
    sg111_query_is_a_prediction.CHECK,
    sg112_same_model.CHECK,
    sg113_index_finds_the_exact.CHECK,
    sg114_numbers_comparable.CHECK,
)
"""Integrity: may the number be printed?"""

DIAGNOSIS: tuple[Check, ...] = (
    sg201_beats_untrained_baselines.CHECK,
    sg202_seen_and_unseen_documents.CHECK,
    sg203_projection_head.CHECK,
    sg204_loss_terms_agree.CHECK,
    sg205_negatives_seen.CHECK,
    sg206_predictions_collapsed.CHECK,
    sg207_anisotropy.CHECK,
    sg208_hubs.CHECK,
    sg209_copying.CHECK,
    sg210_where_the_truth_is.CHECK,
    sg211_cosine_and_rank.CHECK,
    sg212_temperature.CHECK,
    sg213_order_to_learn.CHECK,
    sg214_latency.CHECK,
    sg215_more_data.CHECK,
    sg216_reranker_ceiling.CHECK,
    sg217_bank_statistics.CHECK,
    sg218_win_on_unseen_documents.CHECK,
    sg219_enough_documents.CHECK,
)
"""Why is it not better?"""

CHECKS: tuple[Check, ...] = (*AUDIT, *DIAGNOSIS)
