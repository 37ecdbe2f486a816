"""The model card of a bundle: what it answers, on what it was measured, which gates it passed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SHOWN = ("R@1", "R@5", "R@10", "Contain@50", "MRR", "total_p95_ms")


def bundle_card(contract: Mapping[str, Any], gates: Mapping[str, Any]) -> str:
    """Write the card: a YAML header as the Hugging Face hub reads it, then Markdown."""
    bank, space = contract["bank"], contract["space"]
    lines = [
        "---",
        "library_name: segue",
        "pipeline_tag: sentence-similarity",
        "tags: [segue, next-passage, retrieval]",
        "---",
        f"# {contract['name']}",
        "",
        f"Given the last {contract['context']} passages of a document it answers which passage comes next, out of "
        f"{bank['candidates']} candidates ({bank['passages']} passages of {bank['documents']} documents).",
        "",
        f"- Row of the triage: **{contract['option']}** ({contract['description']})",
        f"- Space: {space['encoder']}, {space['dimension']} components, pooling {space['pooling'] or 'unknown'}",
        f"- May not be answered: {_excluded(contract['exclude'])}",
        f"- Trained on {contract['training_documents']} documents (`training_documents.txt` holds their hashes)"
        + (f", those of fold {contract['fold'] + 1} of {contract['folds']}" if contract["folds"] > 1 else ""),
        f"- Built {contract['created']} with Segue {contract['segue']}",
        "",
        "## Measured",
        "",
        f"{gates['windows']} windows of {gates['documents']} test documents, pool of {gates['pool']} candidates.",
        *_refusal(gates),
        "",
        *_numbers(gates),
        "",
        "## Gates",
        "",
        *_gate_lines(gates),
        "",
    ]
    return "\n".join(lines)


def _excluded(exclude: str) -> str:
    said = {"context": "what was read", "prefix": "what was read and all before it", "none": "nothing is excluded"}
    return said[exclude]


def _refusal(gates: Mapping[str, Any]) -> list[str]:
    if not gates["blocked"]:
        return []
    how = "printed all the same, at their user's risk" if gates["unsafe"] else "not printed"
    return ["", f"**An integrity check failed ({', '.join(gates['blocked'])}): these numbers are {how}.**"]


def _numbers(gates: Mapping[str, Any]) -> list[str]:
    lines = ["| row | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for row in gates["rows"]:
        cells = [_cell(name, row["metrics"].get(name)) for name in SHOWN]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def _cell(name: str, metric: Mapping[str, Any] | None) -> str:
    if metric is None or metric["value"] is None:
        return "–"
    if name.endswith("_ms"):
        return f"{metric['value']:.2f}"
    scale, digits = (1.0, 3) if name == "MRR" else (100.0, 1)
    value = f"{metric['value'] * scale:.{digits}f}"
    if metric["low"] is None or metric["high"] is None:
        return value
    return f"{value} [{metric['low'] * scale:.{digits}f}, {metric['high'] * scale:.{digits}f}]"


def _gate_lines(gates: Mapping[str, Any]) -> list[str]:
    if not gates["gates"]:
        return ["No gate was asked for."]
    return [f"- {gate['name']}: {gate['outcome'] or 'refused'}" for gate in gates["gates"]]
