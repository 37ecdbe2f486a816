"""Sides of a measurement that tests start in processes of their own."""

import numpy as np

from benchmarks.speed.turns import Prepared
from segue.errors import InputError


def counting(step: int) -> Prepared:
    seen = []

    def turn():
        seen.append(len(seen))
        return {"turns": float(len(seen) * step)}

    return Prepared(turn, {"step": step})


def holding(megabytes: int) -> Prepared:
    kept = np.ones(megabytes * 125_000)
    return Prepared(lambda: {"sum": float(kept.sum())})


def failing() -> Prepared:
    raise InputError("this side cannot be prepared")


def quadratic(size: int, unit: int) -> Prepared:
    def turn():
        total = 0
        for number in range(size * size // unit):
            total += number
        return {}

    return Prepared(turn, {"cells": size * size})
