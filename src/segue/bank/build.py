"""Build a bank from texts: read, cut, encode, write shard by shard; killed at any point, the next build goes on.

How resuming works: the corpus is read and cut again (cheap), and every shard that is already whole is compared with
what was read by the hash of its texts instead of being encoded again (expensive). So a source that changed in between
is noticed, and the result is the same, byte for byte, as of an undisturbed build on the same device: which texts are
encoded together depends on the shard alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.intake import Intake, ShardWriter, describe_skipped
from segue.bank.manifest import BUILD, MANIFEST, asked_for, require_same_build, what_is_read, write_bank
from segue.bank.shards import exclusive, require_bank_folder
from segue.corpus import CorpusReader
from segue.corpus.passages import PassageSettings
from segue.encoders import Encoder, EncoderSettings, load_encoder
from segue.errors import InputError
from segue.files import read_json
from segue.settings import Settings
from segue.types import Progress, no_progress

EncoderSource = Encoder | EncoderSettings | Callable[[], Encoder]
"""An encoder, or how to get one. With settings a whole bank that was built with the same ones opens without loading."""


def build_bank(
    reader: CorpusReader,
    encoder: EncoderSource,
    out: Path | str,
    *,
    passages: PassageSettings | None = None,
    settings: BankSettings | None = None,
    progress: Progress = no_progress,
) -> PassageBank:
    """Build a bank in ``out``, go on with an unfinished build, or open a finished one of the same settings.

    Args:
        reader: where documents come from; read from its start each time.
        encoder: text to vectors.
        out: the bank's folder.
        passages: how documents are cut.
        settings: how the bank is stored; its ``path`` is not used.
        progress: called per batch with the passages done so far.

    Raises:
        InputError: no passages, an id twice, a source that changed meanwhile, or a folder that holds something else:
            strangers' files, or a bank of another source, encoder or settings.
        StorageError: the disk is full, or another process is writing there.
    """
    folder, settings = Path(out), settings or BankSettings()
    asked = _asked(reader, passages or PassageSettings(), settings)
    if (folder / MANIFEST).exists():
        return _reuse(folder, asked, encoder)
    with exclusive(folder):
        require_bank_folder(folder, begun=(folder / BUILD).exists())
        begun = read_json(folder / BUILD) if (folder / BUILD).exists() else None
        encoder = encoder if begun is None else _as_begun(encoder, begun)
        loaded = _load(encoder)
        asked["encoder"] = _settings_of(encoder)
        asked["space"] = loaded.space.to_json()
        if begun is not None:
            require_same_build(folder, begun, asked, finished=False)
            asked = begun  # to the last digit of its fingerprint
        intake = Intake(ShardWriter(folder, loaded, asked, progress=progress))
        intake.read(reader.read(), passages or PassageSettings())
        _finish(folder, intake, asked)
    return PassageBank.open(folder)


def _asked(reader: CorpusReader, passages: PassageSettings, settings: BankSettings) -> dict[str, Any]:
    """Return what decides a bank's contents, but for the encoder."""
    chosen = getattr(reader, "settings", None)
    source = {"kind": type(reader).__name__}
    if isinstance(chosen, Settings):
        source = what_is_read(chosen.model_dump(mode="json"))
    return asked_for(source, passages.model_dump(mode="json"), settings.storage, settings.shard_passages)


def _finish(folder: Path, intake: Intake, asked: dict[str, Any]) -> None:
    """Write what is left, then documents and manifest."""
    records = intake.records()
    if not records:
        raise InputError(
            "the corpus gives no passages",
            got=describe_skipped(intake.skipped),
            expected="at least one document with text",
            fix="check [corpus]: path, format, minimum_characters",
        )
    write_bank(folder, asked, records, intake.documents(0), skipped=intake.skipped, has_texts=True)


def _reuse(folder: Path, asked: dict[str, Any], encoder: EncoderSource) -> PassageBank:
    """Open a finished bank if it is the one asked for; the encoder is loaded only where its settings prove nothing."""
    bank = PassageBank.open(folder)
    settings = _settings_of(encoder)
    if settings is None or _shaping(settings) != _shaping(bank.manifest.get("encoder") or {}):
        asked = {**asked, "space": _load(encoder).space.to_json()}
    require_same_build(folder, bank.manifest, asked, finished=True)
    return bank


def _settings_of(encoder: EncoderSource) -> dict[str, Any] | None:
    return encoder.model_dump(mode="json") if isinstance(encoder, EncoderSettings) else None


def _shaping(settings: dict[str, Any]) -> dict[str, Any]:
    """Return an encoder's settings without those that change nothing but its speed."""
    return {key: value for key, value in settings.items() if key not in ("batch_size", "device")}


def _as_begun(encoder: EncoderSource, begun: dict[str, Any]) -> EncoderSource:
    """Take the batches that a build was begun with: which texts share one decides the last bits of their vectors."""
    if not isinstance(encoder, EncoderSettings) or not begun.get("encoder"):
        return encoder
    return encoder.model_copy(update={"batch_size": begun["encoder"].get("batch_size")})


def _load(encoder: EncoderSource) -> Encoder:
    if isinstance(encoder, EncoderSettings):
        return load_encoder(encoder)
    return encoder if hasattr(encoder, "encode") else encoder()  # type: ignore[return-value, operator]
