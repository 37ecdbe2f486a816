"""The transformer run by OpenVINO: PyTorch's vectors in float32, a space of its own in int8, else one clear error."""

import sys

import numpy as np
import pytest
import torch
from network_watch import network_watched
from t5_world import t5_folder
from text_world import bert_folder, topic_texts

from segue.bank.bank import BankSettings, PassageBank
from segue.bank.build import build_bank
from segue.encoders import EncoderSettings, check_encoder, load_encoder
from segue.encoders.minilm import packaged_folder
from segue.encoders.sentence_transformer import require_near
from segue.encoders.space import difference, with_fingerprint
from segue.errors import InputError, MissingExtraError, SettingsError, SpaceError
from segue.files import disk
from segue.text_models.dual_encoder import open_transformer
from segue.text_models.settings import DualEncoderSettings
from segue.types import Document

TEXTS = ["Snow reflects light.", "", "Ice melts slowly in the sun of spring.", "Snow",
         "Albedo is the share of the sun's light that a surface reflects, 0.9 for snow. " * 9] * 2  # fmt: skip


def load(name, **options):
    return load_encoder(EncoderSettings(**{"name": str(name), "device": "cpu", "runtime": "openvino", **options}))


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return bert_folder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def reference():
    """Vectors of sentence-transformers' own loop."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(packaged_folder()), device="cpu").encode(TEXTS, show_progress_bar=False)


@pytest.fixture(scope="module")
def minilm():
    return load("minilm", precision="float32")


@pytest.fixture(scope="module")
def minilm_int8():
    return load("minilm", precision="int8")


def test_float32_agrees_with_sentence_transformers_own_loop(minilm, reference):
    np.testing.assert_allclose(minilm.encode(TEXTS), reference, atol=1e-5)
    assert minilm.space.precision == "float32"


@pytest.mark.parametrize(("precision", "farthest", "nearest"), [("bfloat16", 1e-3, 1e-7), ("int8", 1e-2, 1e-5)])
def test_lower_precisions_are_near_but_not_the_same(precision, farthest, nearest, reference):
    encoder = load("minilm", precision=precision)
    apart = 1 - np.einsum("td,td->t", encoder.encode(TEXTS), reference)
    assert nearest < apart.max() < farthest
    assert encoder.space.precision == precision


def test_every_precision_keeps_the_contract(minilm, minilm_int8):
    for encoder in (minilm, minilm_int8):
        check_encoder(encoder)


def test_a_vector_in_int8_depends_on_other_texts_in_rounding_alone(minilm_int8):
    alone = np.concatenate([minilm_int8.encode([text]) for text in TEXTS])
    assert np.einsum("td,td->t", minilm_int8.encode(TEXTS), alone).min() > 1 - 3e-4


def test_threads_side_by_side_change_no_byte(minilm_int8):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = minilm_int8.encode(TEXTS * 3)
        torch.set_num_threads(3)
        assert minilm_int8.encode(TEXTS * 3).tobytes() == expected.tobytes()
    finally:
        torch.set_num_threads(before)


def test_tokens_have_pytorchs_vectors(minilm):
    pytorch = load("minilm", runtime="torch", precision="float32")
    pairs = zip(minilm.encode_tokens(TEXTS), pytorch.encode_tokens(TEXTS), strict=True)
    for (numbers, vectors), (same, expected) in pairs:
        assert numbers.tolist() == same.tolist()
        np.testing.assert_allclose(vectors, expected, atol=1e-4)


@pytest.mark.parametrize("dense", [True, False])
def test_other_architectures_and_what_follows_the_transformer(dense, tmp_path):
    """T5 has relative positions and no token types; its dense layer stays in PyTorch."""
    folder, texts = t5_folder(tmp_path, dense=dense), ["Snow", "The cat sat on the mat.", "", "capital of Mongolia"]
    found, expected = load(folder), load(folder, runtime="torch", precision="float32")
    np.testing.assert_allclose(found.encode(texts), expected.encode(texts), atol=1e-5)


def test_what_is_fine_tuned_is_pytorchs_model(bert):
    """A model that was traced is copied, read again and trained as any other."""
    texts = topic_texts(documents=1)
    encoder = load(bert)
    with torch.inference_mode():
        copied = encoder.copy_to_train()
        features = copied(copied.preprocess(texts))["sentence_embedding"]
    np.testing.assert_allclose(encoder.encode(texts), features.numpy(), atol=1e-5)
    settings = EncoderSettings(name=str(bert), runtime="openvino", precision="int8")
    trained = open_transformer(
        settings, DualEncoderSettings(layers=1, maximum_tokens=32, precision="float32", device="cpu")
    )
    trained(trained.tokens(texts)).sum().backward()
    assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in trained.model.parameters())


def test_int8_is_a_space_of_its_own_even_with_the_same_fingerprint(minilm, minilm_int8):
    same = with_fingerprint(minilm_int8.space, minilm.space.fingerprint)
    assert difference(same, minilm.space) == "precision int8 against float32"
    assert difference(minilm.space, same) == "precision float32 against int8"
    assert difference(load("minilm", precision="int8").space, minilm_int8.space) is None
    bfloat16 = load("minilm", precision="bfloat16")
    assert difference(bfloat16.space, minilm.space) is None


class ListReader:
    def __init__(self, number: int = 3) -> None:
        self.number = number

    def read(self):
        texts = topic_texts(documents=self.number)
        for n in range(self.number):
            yield Document(f"d{n}", f"Title {n}", tuple(texts[6 * n : 6 * n + 6]))


def settings_of(folder, runtime: str, precision: str) -> EncoderSettings:
    return EncoderSettings(name=str(folder), device="cpu", runtime=runtime, precision=precision)


def test_a_bank_says_what_made_it_and_a_bank_in_int8_is_no_bank_in_float32(bert, tmp_path):
    out = tmp_path / "bank"
    bank = build_bank(ListReader(), settings_of(bert, "openvino", "int8"), out)
    manifest = PassageBank.open(out).manifest
    assert (bank.space.precision, manifest.encoder.runtime, manifest.space.precision) == ("int8", "openvino", "int8")
    assert manifest.versions["openvino"][:2] == "20"
    with pytest.raises(InputError, match="encoder: precision int8 against float32"):
        build_bank(ListReader(), settings_of(bert, "torch", "float32"), out)
    again = build_bank(ListReader(), settings_of(bert, "openvino", "int8"), out)
    assert again.hash == bank.hash


def test_either_runtime_opens_a_bank_in_float32_but_only_its_own_continues_one(bert, tmp_path):
    out, torch_, openvino = tmp_path / "bank", *(settings_of(bert, one, "float32") for one in ("torch", "openvino"))
    whole = build_bank(ListReader(), torch_, out)
    assert build_bank(ListReader(), openvino, out).hash == whole.hash
    disk.remove(out / "manifest.json")
    with pytest.raises(InputError, match=r"an unfinished build .*encoder: runtime torch \(now openvino\)"):
        build_bank(ListReader(), openvino, out)
    assert build_bank(ListReader(), torch_, out, settings=BankSettings()).hash == whole.hash


def test_added_documents_are_refused_in_another_precision(bert, tmp_path):
    from segue.bank.changes import append

    bank = build_bank(ListReader(), settings_of(bert, "openvino", "int8"), tmp_path / "bank")
    with pytest.raises(SpaceError, match="precision int8 against float32"):
        append(bank, [Document("new", "New", ("ta nb tc nd " * 20,))], settings_of(bert, "torch", "float32"))


def test_without_openvino_the_error_names_the_extra(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'segue\[fast\]'.*runtime = \"torch\""):
        load(bert)


def test_a_model_that_openvino_cannot_run_is_refused(bert, tmp_path, monkeypatch):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer, models

    words = StaticEmbedding(Tokenizer(models.WordLevel({"snow": 0, "?": 1}, unk_token="?")), embedding_dim=4)
    SentenceTransformer(modules=[words], device="cpu").save(str(tmp_path / "static"))
    with pytest.raises(InputError, match=r"static' cannot be run by OpenVINO: got StaticEmbedding, expected a transf"):
        load(tmp_path / "static")

    def broken(*given, **options):
        raise RuntimeError("no such operator\nand a page of more")

    monkeypatch.setattr("openvino.convert_model", broken)
    with pytest.raises(InputError, match="cannot be run by OpenVINO: got RuntimeError: no such operator, expected"):
        load(bert)


def test_a_runtime_that_answers_otherwise_is_refused(minilm):
    turned = minilm.space.fingerprint.copy()
    turned[3] = np.roll(turned[3], 1)
    with pytest.raises(InputError, match=r"runs it in float32: got cosine -?0\.\d+ to PyTorch's vector of probe 3"):
        require_near(with_fingerprint(minilm.space, turned), minilm.space)
    with pytest.raises(InputError, match="got cosine nan"):
        require_near(with_fingerprint(minilm.space, turned * np.float32(np.nan)), minilm.space)


def test_settings_that_contradict_each_other_are_refused(bert):
    with pytest.raises(ValueError, match='precision is "int8", but runtime is "torch": write runtime = "openvino"'):
        EncoderSettings(precision="int8")
    with pytest.raises(InputError, match='on the CPU alone: got device "cuda"'):
        load(bert, device="cuda")
    for name in ("openai:some-model", "fake_encoder:HashEncoder"):
        with pytest.raises(SettingsError, match=f'needs a model of sentence-transformers: got name = "{name}"'):
            load(name)


def test_nothing_is_reported_to_anyone(bert, monkeypatch):
    """OpenVINO reports each import and conversion where its package for that can be imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with network_watched() as asked:
        load(bert).encode(["ta"])
    assert asked == []
    assert "openvino_telemetry" not in sys.modules
