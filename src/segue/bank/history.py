"""What changed in a bank since something was made of it: a run, an index or a bundle, which record the bank's hash.

The manifest names each earlier state of the bank by its hash, with the documents it had.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.bank.bank import PassageBank


@dataclass(frozen=True)
class BankDifference:
    """Documents by which a bank differs from an earlier state of itself."""

    added: int
    changed: int
    removed: int

    def __str__(self) -> str:
        """Return the numbers in words.

        >>> str(BankDifference(3, 10, 1))
        '3 documents added, 10 changed, 1 removed'
        """
        return f"{self.added:,} {'document' if self.added == 1 else 'documents'} added, {self.changed:,} changed, " + (
            f"{self.removed:,} removed"
        )


def difference_since(bank: PassageBank, known: str) -> BankDifference | None:
    """Return what changed since the bank had the hash ``known``; None where it never had it."""
    if known == bank.hash:
        return BankDifference(0, 0, 0)
    steps = bank.manifest.changes
    place = next((place for place in reversed(range(len(steps))) if steps[place].hash == known), None)
    if place is None:
        return None
    gone = {number for step in steps[:place] for number in step.removed}
    names = bank.document_ids[: steps[place].documents]
    before = {name: number for number, name in enumerate(names) if number not in gone}
    now = bank.live_documents
    changed = sum(name in before and before[name] != number for name, number in now.items())
    return BankDifference(len(now.keys() - before.keys()), changed, len(before.keys() - now.keys()))


def changed_since(bank: PassageBank, known: str) -> str | None:
    """Return in words what changed since the bank had the hash ``known``; None where it still has it."""
    if known == bank.hash:
        return None
    found = difference_since(bank, known)
    return "it is another bank, built anew or elsewhere" if found is None else str(found)
