"""The original experiment repeated: as it was done, with a leaked split, and clean (docs/phase1.md)."""
