"""Numbered checks: may a number be printed, and why is it not better?

One file per check, each with one ``CHECK``. Below is the order in which they are read: integrity (SG1xx, an issue
blocks the headline number), then diagnosis (SG2xx).
"""

from __future__ import annotations

from segue.checks.case import Case, CaseEntry, Effort, Trained
from segue.checks.check import Check, Verdict, not_applicable
from segue.checks.diagnosis.sg201_beats_untrained_baselines import CHECK as SG201
from segue.checks.diagnosis.sg202_seen_and_unseen_documents import CHECK as SG202
from segue.checks.diagnosis.sg203_projection_head import CHECK as SG203
from segue.checks.diagnosis.sg204_loss_terms_agree import CHECK as SG204
from segue.checks.diagnosis.sg205_negatives_seen import CHECK as SG205
from segue.checks.diagnosis.sg206_predictions_collapsed import CHECK as SG206
from segue.checks.diagnosis.sg207_anisotropy import CHECK as SG207
from segue.checks.diagnosis.sg208_hubs import CHECK as SG208
from segue.checks.diagnosis.sg209_copying import CHECK as SG209
from segue.checks.diagnosis.sg210_where_the_truth_is import CHECK as SG210
from segue.checks.diagnosis.sg211_cosine_and_rank import CHECK as SG211
from segue.checks.diagnosis.sg212_temperature import CHECK as SG212
from segue.checks.diagnosis.sg213_order_to_learn import CHECK as SG213
from segue.checks.diagnosis.sg214_latency import CHECK as SG214
from segue.checks.diagnosis.sg215_more_data import CHECK as SG215
from segue.checks.diagnosis.sg216_reranker_ceiling import CHECK as SG216
from segue.checks.diagnosis.sg217_bank_statistics import CHECK as SG217
from segue.checks.diagnosis.sg218_win_on_unseen_documents import CHECK as SG218
from segue.checks.diagnosis.sg219_enough_documents import CHECK as SG219
from segue.checks.integrity.sg101_targets_in_the_index import CHECK as SG101
from segue.checks.integrity.sg102_windows_match_the_bank import CHECK as SG102
from segue.checks.integrity.sg103_truth_carries_information import CHECK as SG103
from segue.checks.integrity.sg104_leaked_documents import CHECK as SG104
from segue.checks.integrity.sg105_train_and_validation_apart import CHECK as SG105
from segue.checks.integrity.sg106_one_space import CHECK as SG106
from segue.checks.integrity.sg107_no_future import CHECK as SG107
from segue.checks.integrity.sg108_context_excluded import CHECK as SG108
from segue.checks.integrity.sg109_ranking_ignores_ids import CHECK as SG109
from segue.checks.integrity.sg110_loss_space_is_served import CHECK as SG110
from segue.checks.integrity.sg111_query_is_a_prediction import CHECK as SG111
from segue.checks.integrity.sg112_same_model import CHECK as SG112
from segue.checks.integrity.sg113_index_finds_the_exact import CHECK as SG113
from segue.checks.integrity.sg114_numbers_comparable import CHECK as SG114
from segue.checks.integrity.sg115_target_unread import CHECK as SG115
from segue.checks.integrity.sg116_vectors_of_their_texts import CHECK as SG116
from segue.checks.integrity.sg117_documents_are_units import CHECK as SG117
from segue.checks.integrity.sg118_answers_stand_alone import CHECK as SG118
from segue.checks.integrity.sg119_no_private_copy import CHECK as SG119
from segue.checks.integrity.sg120_rows_in_step import CHECK as SG120
from segue.comparison.record import Finding

__all__ = [
    "AUDIT", "CHECKS", "DIAGNOSIS", "Case", "CaseEntry", "Check", "Effort", "Finding", "Trained", "Verdict",
    "not_applicable",
]  # fmt: skip

AUDIT: tuple[Check, ...] = (
    SG101, SG102, SG103, SG104, SG105, SG106, SG107, SG108, SG109, SG110,
    SG111, SG112, SG113, SG114, SG115, SG116, SG117, SG118, SG119, SG120,
)  # fmt: skip
"""Integrity: may the number be printed?"""

DIAGNOSIS: tuple[Check, ...] = (
    SG201, SG202, SG203, SG204, SG205, SG206, SG207, SG208, SG209, SG210,
    SG211, SG212, SG213, SG214, SG215, SG216, SG217, SG218, SG219,
)  # fmt: skip
"""Diagnosis: why is it not better?"""

CHECKS: tuple[Check, ...] = (*AUDIT, *DIAGNOSIS)
"""All checks in reading order."""
