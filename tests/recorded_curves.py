"""A tool for ``[training] report_to`` that keeps what it is given: ``monkeypatch.setattr(watch, "_LOGGERS", ...)``."""


class Recorded:
    """Keeps the points of each training, by name; ``runs`` is set by each test."""

    runs: dict

    def __init__(self, folder, name, facts):
        self.points = self.runs.setdefault(name, [])

    def point(self, step, values):
        self.points.append((step, values))

    def table(self, columns, rows):
        """Keep no table."""

    def close(self, finished):
        self.points.append(finished)


def record(monkeypatch, folder):
    """Return what trainings of this run folder report to TensorBoard from now on, by their names."""
    from segue.training import watch

    found = {}
    monkeypatch.setattr(watch, "_left_out", set())
    monkeypatch.setattr(watch, "_LOGGERS", {"tensorboard": type("Here", (Recorded,), {"runs": found})})
    watch.begin_watching(["tensorboard"], folder)
    return found
