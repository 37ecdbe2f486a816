"""A check of your own: no document of the test set may be of a publisher whose texts must not be used."""

from segue.checks import Case, Check, Verdict

FORBIDDEN = ("draft-", "internal-")


def examine(case: Case) -> Verdict:
    """Look for test documents whose id begins with a forbidden word."""
    ids = case.bank.document_ids
    tested = {ids[number] for fold in case.folds for number in fold.split.test}
    found = sorted(name for name in tested if name.startswith(FORBIDDEN))
    share = len(found) / len(tested)
    said = f"{len(found)} of {len(tested)} test documents are drafts or internal"
    return Verdict("issue" if found else "passed", f"{said}.", share, 0.0, {"documents": found})


MY101 = Check(
    code="MY101",  # 1xx: integrity, an issue blocks the headline number; 2xx: diagnosis
    title="Published texts only",
    question="Is a test document a draft, or internal?",
    detection="The id of each test document is compared with the forbidden beginnings.",
    why="Numbers on texts that may not be published cannot be published either.",
    healthy="no such document",
    fix="leave drafts and internal documents out of the corpus",
    unit="share of test documents",
    examine=examine,
    needs=("windows",),
)
