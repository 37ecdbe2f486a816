"""Cross-encoder: reads the end of a context together with candidates, and corrects the reranker's score of each.

Input: a bank with texts, training windows, and lists of candidates with the scores of a reranker that was not fitted on
them. Output: a folder with the model, and a state from which a killed run resumes.

The first layers of the bank's encoder read one sequence ``context | candidate | candidate | …``: every candidate sees
the context and itself, and has the positions it would have alone behind the context, so its score is that of the pair;
the context sees itself and is read once. This is one plain call of the transformer with a mask of four dimensions.

score = w · (the reranker's score) + head(mean of the candidate's tokens, its product with the context's mean). The head
starts at zero, so the untrained order is the reranker's. The loss is the cross-entropy of choosing the target among its
list (ListNet's top-one probability with one relevant passage: Cao et al. 2007, "Learning to Rank", section 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from safetensors.torch import load_file
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from torch import Tensor, nn

from segue.encoders import EncoderSettings, load_encoder
from segue.encoders.sentence_transformer import folder_revision, load_module, progress_bars
from segue.errors import InputError
from segue.files import read_json, write_folder, write_text
from segue.hardware import choose_device
from segue.models.tensors import copy_weights, save_tensors
from segue.models.tokens import layers_of, reader_of
from segue.text_models.dual_encoder import MODEL_FOLDER, require_texts
from segue.text_models.fine_tuning import FineTuning, seconds_of_a_step
from segue.text_models.settings import CrossEncoderSettings
from segue.training.batches import Batches
from segue.training.optimiser import resolve_precision
from segue.training.random_streams import LIST_NEGATIVES, random_stream, seed_generators
from segue.training.state import windows_hash
from segue.training.train import TrainingResult
from segue.training.watch import Follow, follow_nothing
from segue.types import Bank, Progress, Windows, no_progress
from segue.windows.windows import gather_contexts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

HEAD_FILE = "head.safetensors"
SETTINGS_FILE = "cross-encoder.json"
READ_TOGETHER = 8
"""Candidates in one sequence: more share the context's pass, but every token is compared with every other."""
SAME_DOCUMENT = 0.75
"""Largest share of the drawn candidates that are of the target's document."""


@dataclass(frozen=True)
class Packed:
    """Sequences of a context and as many candidates each, all padded to the same lengths.

    Attributes:
        tokens: token numbers, the context's first; 0 at the pads.
        there: False at the pads.
        context: length of the part that holds the context; the rest is cut into ``candidates`` equal parts.
        candidates: candidates of each sequence.
    """

    tokens: Int[np.ndarray, "sequence length"]
    there: Bool[np.ndarray, "sequence length"]
    context: int
    candidates: int

    @property
    def part(self) -> Int[np.ndarray, "length"]:
        """The part that each place belongs to: 0 for the context, then 1, 2, …"""
        width = (self.tokens.shape[1] - self.context) // self.candidates
        return np.concatenate([np.zeros(self.context, np.int64), np.repeat(1 + np.arange(self.candidates), width)])

    @property
    def positions(self) -> Int[np.ndarray, "length"]:
        """Position of each place; those of every candidate begin behind the context's part."""
        width = (self.tokens.shape[1] - self.context) // self.candidates
        return np.concatenate([np.arange(self.context), np.tile(self.context + np.arange(width), self.candidates)])


def pack(
    contexts: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]], *, context: int, candidate: int
) -> Packed:
    """Put each context and its candidates into one sequence.

    Args:
        contexts: tokens of each context, at most ``context``.
        candidates: tokens of its candidates, at most ``candidate`` each; every context has as many.
        context: length of the context's part, so that positions do not depend on what is read together.
        candidate: length of a candidate's part at most; it is cut to the longest.

    >>> packed = pack([[5, 6]], [[[7], [8, 9]]], context=3, candidate=4)
    >>> packed.tokens.tolist(), packed.positions.tolist()
    ([[5, 6, 0, 7, 0, 8, 9]], [0, 1, 2, 3, 4, 3, 4])
    """
    count = len(candidates[0])
    width = min(candidate, max([1, *(len(one) for several in candidates for one in several)]))
    tokens = np.zeros((len(contexts), context + count * width), dtype=np.int64)
    there = np.zeros(tokens.shape, dtype=bool)
    for row, (read, several) in enumerate(zip(contexts, candidates, strict=True)):
        for start, ids in [(0, read), *((context + n * width, one) for n, one in enumerate(several))]:
            tokens[row, start : start + len(ids)] = ids
            there[row, start : start + len(ids)] = True
    return Packed(tokens, there, context, count)


class CrossEncoder(nn.Module):
    """The first layers of a transformer over contexts and candidates, with a scalar head.

    Args:
        reader: a sentence-transformers model in float32; its layers behind the settings' are removed.
        settings: how texts are cut, what learns, and the reranker's weight before training.
        origin: name of the weights it starts from.

    Raises:
        InputError: it is no transformer, has fewer layers or positions, or does not read packed sequences.
    """

    def __init__(self, reader: SentenceTransformer, settings: CrossEncoderSettings, *, origin: str) -> None:
        super().__init__()
        layers = layers_of(reader)
        if settings.layers > len(layers):
            raise InputError("the encoder has fewer layers", got=settings.layers, expected=f"1 to {len(layers)}",
                             fix="lower `layers`")  # fmt: skip
        del layers[settings.layers :]
        self.settings, self.origin, self.reader = settings, origin, reader.eval()
        self.transformer: Any = getattr(reader[0], "auto_model", None)
        self.tokenizer: Any = reader.tokenizer
        reader.requires_grad_(False)
        for layer in list(layers)[-(settings.trained_layers or settings.layers) :]:
            layer.requires_grad_(True)
        config = self._require_packed()
        config.num_hidden_layers = settings.layers  # saved with it
        self.precision = resolve_precision(settings.precision, reader.device.type, work="encoder")
        width = config.hidden_size
        with torch.random.fork_rng(devices=[]):
            seed_generators(settings.seed)
            self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(),
                                      nn.Linear(width, 1, bias=False))  # fmt: skip
        nn.init.zeros_(self.head[-1].weight)  # type: ignore[arg-type]
        self.log_first_weight = nn.Parameter(torch.tensor(math.log(settings.first_weight or 1.0)))
        self.to(reader.device)

    def forward(self, packed: Packed) -> Float[Tensor, "sequence candidate"]:
        """Return what each candidate adds to the reranker's weighted score."""
        hidden = self.hidden(packed)
        mask = torch.from_numpy(packed.there).to(hidden)[..., None]
        means = [_mean(hidden[:, : packed.context], mask[:, : packed.context])]
        rest = (len(hidden), packed.candidates, -1, hidden.shape[2])
        means.append(_mean(hidden[:, packed.context :].reshape(rest),
                           mask[:, packed.context :].reshape(*rest[:3], 1)))  # fmt: skip
        context, candidates = means  # [sequence, dim], [sequence, candidate, dim]
        added: Tensor = self.head(torch.cat([candidates, candidates * context[:, None]], dim=2))
        return added.squeeze(2)

    def hidden(self, packed: Packed) -> Float[Tensor, "sequence length dim"]:
        """Return the last layer's vector of each token, float32."""
        device, part = self.reader.device, torch.from_numpy(packed.part)
        seen = (part[None, :] == 0) | (part[None, :] == part[:, None])  # [of, seen]
        mask = torch.zeros(len(packed.tokens), 1, *seen.shape, device=device)
        allowed = seen & torch.from_numpy(packed.there)[:, None, None, :]
        mask.masked_fill_(~allowed.to(device), torch.finfo(torch.float32).min)
        first = self._first_position()
        given = {
            "input_ids": torch.from_numpy(packed.tokens).to(device),
            "position_ids": torch.from_numpy(packed.positions + first).expand(len(packed.tokens), -1).to(device),
        }
        if getattr(self.transformer.config, "type_vocab_size", 0) > 1:
            given["token_type_ids"] = (part > 0).long().expand(len(packed.tokens), -1).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            found: Tensor = self.transformer(**given, attention_mask=mask).last_hidden_state
        return found.float()

    def context_ids(self, passages: Sequence[str]) -> list[int]:
        """Return the tokens of a context's end, between the marks of a text."""
        room = self.settings.context_tokens - 2
        return [self.tokenizer.cls_token_id, *self._ids([_end(passages, tokens=room)])[0][-room:],
                self.tokenizer.sep_token_id]  # fmt: skip

    def candidate_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of the starts of candidates, each with the mark of a text's end."""
        room = self.settings.candidate_tokens - 1
        return [[*ids[:room], self.tokenizer.sep_token_id] for ids in self._ids([_start(text, room) for text in texts])]

    def _ids(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def pack(self, contexts: Sequence[Sequence[int]], candidates: Sequence[Sequence[Sequence[int]]]) -> Packed:
        """Return tokens as sequences of the settings' lengths."""
        return pack(contexts, candidates, context=self.settings.context_tokens,
                    candidate=self.settings.candidate_tokens)  # fmt: skip

    @torch.inference_mode()
    def added(
        self, contexts: Sequence[Sequence[str]], candidates: Sequence[Sequence[str]]
    ) -> list[Float[np.ndarray, "candidate"]]:
        """Return what each candidate of each context adds to the reranker's score.

        Candidates are read some at a time; the last sequence is filled up with empty ones.
        """
        found = []
        for passages, texts in zip(contexts, candidates, strict=True):
            if not texts:
                found.append(np.zeros(0, dtype=np.float32))
                continue
            ids, read = self.candidate_ids(texts), self.context_ids(passages)
            each = math.ceil(len(ids) / math.ceil(len(ids) / READ_TOGETHER))
            parts = [ids[start : start + each] for start in range(0, len(ids), each)]
            parts[-1] = [*parts[-1], *[[]] * (each - len(parts[-1]))]
            values = self(self.pack([read] * len(parts), parts)).flatten()[: len(ids)]
            found.append(values.float().cpu().numpy())
        return found

    @property
    def first_weight(self) -> float:
        """The factor of the reranker's score."""
        return float(self.log_first_weight.detach().exp())

    def save(self, folder: Path) -> None:
        """Write the model; ``load_cross_encoder`` reads it."""
        with progress_bars(False):
            write_folder(folder / MODEL_FOLDER, lambda place: self.reader.save(str(place), create_model_card=False))
        weights = {**copy_weights(self.head), "log_first_weight": self.log_first_weight.detach().reshape(1)}
        save_tensors(folder / HEAD_FILE, weights)
        write_text(folder / SETTINGS_FILE, self.settings.model_dump_json(indent=2) + "\n")

    def _first_position(self) -> int:
        """Return the number of the first position: RoBERTa and its kin begin behind that of the pads."""
        tables = [module for name, module in self.transformer.named_modules() if name.endswith("position_embeddings")]
        pad = getattr(tables[0], "padding_idx", None) if tables else None
        return 0 if pad is None else pad + 1

    def _require_packed(self) -> Any:
        """Compare a packed sequence with its pairs, each by itself; return the transformer's configuration.

        Raises:
            InputError: the transformer gives other vectors, or takes no such sequence.
        """
        settings, marks = self.settings, (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id)
        positions = getattr(getattr(self.transformer, "config", None), "max_position_embeddings", None) or math.inf
        room = positions - (self._first_position() if self.transformer is not None else 0)
        if settings.maximum_tokens > room:
            raise InputError("the encoder cannot read that many tokens", got=settings.maximum_tokens,
                             expected=f"at most {room}", fix="lower maximum_tokens of the cross-encoder")  # fmt: skip
        self.precision = "float32"
        different: object = "no marks of a text's start and end"
        if self.transformer is not None and None not in marks:
            first, second, read = [3, marks[1]], [4, 3, 4, marks[1]], [marks[0], 4, 3, marks[1]]
            try:
                with torch.inference_mode():
                    both = self.hidden(self.pack([read], [[first, second]]))[:, -len(second) :]
                    alone = self.hidden(self.pack([read], [[second]]))[:, -len(second) :]
                different = None if torch.allclose(both, alone, atol=1e-3) else "other vectors in a packed sequence"
            except Exception as error:  # models of the hub take what they like
                different = f"{type(error).__name__}: {error}"
        if different:
            raise InputError("the encoder cannot read candidates beside each other", got=different,
                             expected="a transformer that takes a mask of four dimensions and positions, such as BERT",
                             fix="name another [encoder], or leave out what reads text")  # fmt: skip
        return self.transformer.config


def _mean(hidden: Float[Tensor, "*_ length dim"], mask: Float[Tensor, "*_ length 1"]) -> Float[Tensor, "*_ dim"]:
    return (hidden * mask).sum(dim=-2) / mask.sum(dim=-2).clamp(min=1.0)


LONGEST_TOKEN = 12
"""Letters of a token, on average at most: more text than so many times the tokens is not tokenised."""


def _end(passages: Sequence[str], *, tokens: int) -> str:
    return " ".join(text.strip() for text in passages)[-LONGEST_TOKEN * tokens :]


def _start(text: str, tokens: int) -> str:
    return text[: LONGEST_TOKEN * tokens]


def open_cross_encoder(encoder: EncoderSettings, settings: CrossEncoderSettings) -> CrossEncoder:
    """Return an untrained cross-encoder of an encoder's first layers.

    Raises:
        InputError: the encoder cannot be loaded, or cannot be trained in this way.
    """
    changes = {"runtime": "torch", "precision": "float32", "device": settings.device, "maximum_tokens": None}
    loaded = load_encoder(encoder.model_copy(update=changes))
    return CrossEncoder(reader_of(loaded), settings, origin=loaded.space.revision)


def load_cross_encoder(folder: Path) -> CrossEncoder:
    """Load the model that ``train_cross_encoder`` or ``CrossEncoder.save`` wrote.

    Raises:
        InputError: a file is missing or broken.
    """
    settings = CrossEncoderSettings.model_validate(read_json(folder / SETTINGS_FILE))
    reader = load_module(folder / MODEL_FOLDER).to(choose_device(settings.device))
    model = CrossEncoder(reader, settings, origin=folder_revision(folder / MODEL_FOLDER))
    weights = load_file(folder / HEAD_FILE)
    with torch.no_grad():
        model.log_first_weight.copy_(weights.pop("log_first_weight")[0])
    model.head.load_state_dict(weights)
    return model


@dataclass(frozen=True)
class ScoredLists:
    """Lists to learn from.

    Attributes:
        windows: windows of the lists.
        rows: their candidates, −1 for padding; at most one of each duplicate group.
        first: the reranker's score of each, by one that was not fitted on these documents.
    """

    windows: Windows
    rows: Int[np.ndarray, "window candidate"]
    first: Float[np.ndarray, "window candidate"]


def train_cross_encoder(
    bank: Bank,
    lists: ScoredLists,
    *,
    encoder: EncoderSettings,
    settings: CrossEncoderSettings,
    steps: int,
    folder: Path,
    score: Callable[[CrossEncoder], Mapping[str, float | None]],
    progress: Progress = no_progress,
    follow: Follow = follow_nothing,
) -> TrainingResult:
    """Train a cross-encoder that starts from the bank's encoder; ``load_cross_encoder(folder)`` loads it.

    A folder with a state of the same training is resumed, to the bit; a finished one is only read.

    Args:
        bank: a bank with texts.
        lists: what it learns from.
        encoder: the model it starts from.
        settings: settings of its training.
        steps: optimiser steps.
        folder: folder of the run.
        score: returns the model's validation scores, ``MRR`` among them, which selects.
        progress: called at every step.
        follow: called with the curve after every step.

    Raises:
        InputError: the bank has no texts, no list holds its target and enough others, the encoder cannot be trained,
            training diverged, or the folder is of another training.
    """
    learner = CrossLearner(bank, lists, encoder=encoder, settings=settings)
    tuning = FineTuning(learner, settings, steps=steps, folder=folder, score=lambda: score(learner.model),
                        patience=settings.patience)  # fmt: skip
    tuning.run(progress, follow)
    learner.model.save(folder)
    return tuning.result(learner.batches.steps_per_epoch)


def seconds_per_step(
    bank: Bank,
    lists: ScoredLists,
    *,
    encoder: EncoderSettings,
    settings: CrossEncoderSettings,
    seconds: float = 10.0,
) -> float:
    """Return the seconds of a training step, measured over about ``seconds``."""
    learner = CrossLearner(bank, lists, encoder=encoder, settings=settings)
    return seconds_of_a_step(learner, settings, seconds=seconds)


def most_probable_weight(
    scores: Float[np.ndarray, "list candidate"], truth: Bool[np.ndarray, "list candidate"]
) -> float:
    """Return the w in [0.01, 1000] under which the targets are most probable, where candidates are as exp(w · score).

    Args:
        scores: -inf at the pads.
        truth: one target in each list.
    """
    behind = scores - scores[truth][:, None]

    def surprise(log_weight: float) -> float:
        return float(logsumexp(math.exp(log_weight) * behind, axis=1).mean())

    return math.exp(minimize_scalar(surprise, bounds=(math.log(0.01), math.log(1000)), method="bounded").x)


class CrossLearner:
    """A cross-encoder with the lists it learns from; see ``fine_tuning.Learner``.

    Lists without their target are left out: they teach nothing about ordering their candidates.
    """

    def __init__(
        self, bank: Bank, lists: ScoredLists, *, encoder: EncoderSettings, settings: CrossEncoderSettings
    ) -> None:
        require_texts(bank)
        self.bank, self.settings = bank, settings
        same = bank.duplicate_group[lists.rows] == bank.duplicate_group[lists.windows.target][:, None]
        truth = same & (lists.rows >= 0)
        usable = truth.any(axis=1) & ((lists.rows >= 0).sum(axis=1) > settings.negatives)
        if not usable.any():
            raise InputError(
                "there is nothing to rerank",
                got="no list with its target and enough others",
                expected=f"{settings.negatives} in addition to it",
                fix="let more candidates be read",
            )
        windows = lists.windows.take(usable)
        self.rows, self.first, self.truth = lists.rows[usable], lists.first[usable], truth[usable]
        self.near = bank.document_of[self.rows] == bank.document_of[windows.target][:, None]
        self.batches = Batches(bank, windows, batch_size=settings.batch_size, seed=settings.seed)
        self.model = open_cross_encoder(encoder, settings)
        if settings.first_weight is None:
            weight = most_probable_weight(np.where(self.rows >= 0, self.first, -np.inf), self.truth)
            nn.init.constant_(self.model.log_first_weight, math.log(weight))

    def gradients(self, step: int) -> float:
        """Add the gradient of a step to the weights, and return its loss."""
        chosen = self.batches.chosen(step)
        places, stands_for = self.drawn(chosen, step)
        at_once = max(1, self.settings.texts_at_once // places.shape[1])
        total = 0.0
        for begin in range(0, len(chosen), at_once):
            part = slice(begin, begin + at_once)
            loss = self._loss(chosen[part], places[part], stands_for[part]) * len(chosen[part]) / len(chosen)
            loss.backward()
            total += float(loss.detach())
        return total

    def identity(self) -> dict[str, object]:
        """Return what must be equal for a state to be resumed."""
        return {
            "encoder": self.model.origin,
            "precision": self.model.precision,
            "bank": {"passages": len(self.bank), "dimension": self.bank.dimension},
            "windows": windows_hash(self.batches.windows),
            "lists": windows_hash(Windows(self.rows, np.zeros(len(self.rows), dtype=np.int64))),
        }

    def drawn(
        self, chosen: Int[np.ndarray, "batch"], step: int
    ) -> tuple[Int[np.ndarray, "batch list"], Float[np.ndarray, "batch list"]]:
        """Draw the candidates that a step reads of each list: the target, and others at random.

        Those of the target's document come first: telling them apart is what vectors do worst.

        Returns:
            Their places in the list, the target's first, and how many candidates of the list each stands for.
        """
        generator = random_stream(self.settings.seed, LIST_NEGATIVES, step)
        random, truth, near = generator.random(self.rows[chosen].shape), self.truth[chosen], self.near[chosen]
        others = (self.rows[chosen] >= 0) & ~truth
        kind = np.where(others, np.where(near, 0, 1), 2)  # [batch, candidate]
        most, count = self.settings.negatives, [(kind == one).sum(axis=1) for one in range(2)]
        take = [np.minimum(count[0], np.maximum(math.ceil(SAME_DOCUMENT * most), most - count[1]))]
        take.append(most - take[0])
        places = np.argsort(np.where(truth, -1.0, kind + random), axis=1, kind="stable")
        behind = 1 + np.arange(most)[None, :]  # the target, those of its document, the others
        behind = np.where(behind > take[0][:, None], behind + (count[0] - take[0])[:, None], behind)
        places = np.concatenate([places[:, :1], np.take_along_axis(places, behind, axis=1)], axis=1)
        share = np.stack([count[n] / np.maximum(take[n], 1) for n in range(2)], axis=1)  # [batch, kind]
        stands_for = np.take_along_axis(share, np.take_along_axis(kind, places[:, 1:], axis=1), axis=1)
        return places, np.concatenate([np.ones((len(chosen), 1)), stands_for], axis=1)

    def _loss(
        self,
        chosen: Int[np.ndarray, "part"],
        places: Int[np.ndarray, "part list"],
        stands_for: Float[np.ndarray, "part list"],
    ) -> Float[Tensor, ""]:
        model, windows = self.model, self.batches.windows.take(chosen)
        rows = np.take_along_axis(self.rows[chosen], places, axis=1)
        first = np.take_along_axis(self.first[chosen], places, axis=1)
        contexts = gather_contexts(self.bank, windows, texts=True).texts
        assert contexts is not None, "the bank has texts"
        ids = model.candidate_ids(self.bank.texts(rows.ravel()))
        candidates = [ids[start : start + rows.shape[1]] for start in range(0, len(ids), rows.shape[1])]
        added = model(model.pack([model.context_ids(one) for one in contexts], candidates))  # [part, list]
        given = torch.from_numpy(np.stack([first, np.log(stands_for)])).to(added)
        scores = model.log_first_weight.exp() * given[0] + added + given[1]
        return -torch.log_softmax(scores, dim=1)[:, 0].mean()
