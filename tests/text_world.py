"""A toy world of texts with a known answer, and a tiny random BERT that reads them.

Each document has some *topics*, and each of its passages names them among words that mean nothing. So who has learnt
which words are topics finds the passages of a document never seen before, and who has not is misled.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from worlds import MemoryBank, make_bank

from segue.encoders import EncoderSettings, load_encoder

TOPICS = [f"t{letter}" for letter in ascii_lowercase[:20]]
NOISE = [f"n{letter}" for letter in ascii_lowercase[:20]]


def bert_folder(folder: Path, *, layers: int = 2, dimension: int = 32) -> Path:
    """Save a sentence-transformers model of BERT's architecture with small random weights; one word, one token."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *TOPICS, *NOISE])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    names = ["input_ids", "token_type_ids", "attention_mask"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=64, model_input_names=names, **special
    ).save_pretrained(folder / "bert")
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=dimension, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=4 * dimension, max_position_embeddings=64, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder / "bert")
    modules = [Transformer(str(folder / "bert")), Pooling(dimension, pooling_mode="mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"))
    return folder / "model"


def encoder_settings(folder: Path) -> EncoderSettings:
    """Return the settings of the model in ``folder``, in float32 on the CPU."""
    return EncoderSettings(name=str(folder), device="cpu", precision="float32")


def topic_texts(*, documents: int = 60, length: int = 6, topics: int = 3, noise: int = 5) -> list[str]:
    """Return the passages of all documents in order: the document's topics and some words of noise each, shuffled."""
    generator = np.random.default_rng(0)
    texts = []
    for _ in range(documents):
        named = generator.choice(TOPICS, topics, replace=False)
        for _ in range(length):
            texts.append(" ".join(generator.permutation([*named, *generator.choice(NOISE, noise, replace=False)])))
    return texts


def topic_bank(settings: EncoderSettings, *, documents: int = 60, length: int = 6) -> MemoryBank:
    """Return the toy texts as a bank in the space of an encoder."""
    encoder = load_encoder(settings)
    texts = topic_texts(documents=documents, length=length)
    bank = make_bank(encoder.encode(texts), [length] * documents, texts)
    return dataclasses.replace(bank, space=encoder.space)
