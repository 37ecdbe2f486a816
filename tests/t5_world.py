"""A tiny random model of GTR-T5's architecture that knows the words of the probe texts."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from segue.encoders.space import PROBES

WORDS = sorted({word.strip(".,;:?!()") for probe in PROBES for word in probe.split()} - {""})


def t5_folder(folder: Path, *, dense: bool = True, pooling: str = "mean") -> Path:
    """Save a model of GTR-T5's architecture with small random weights: T5 encoder, mean pooling, dense, normalise."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **special).save_pretrained(folder / "t5")
    torch.manual_seed(5)
    config = T5Config(vocab_size=len(vocabulary), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    T5EncoderModel(config).save_pretrained(folder / "t5")
    modules = [Transformer(str(folder / "t5")), Pooling(32, pooling_mode=pooling)]
    if dense:
        modules.append(Dense(32, 24, bias=False, activation_function=torch.nn.Identity()))
    SentenceTransformer(modules=[*modules, Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"
