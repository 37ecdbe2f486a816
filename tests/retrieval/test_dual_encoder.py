"""The retriever of a dual encoder keeps the rules of retrievers, with the bank's own vectors and with new ones."""

import numpy as np
import pytest
from text_world import bert_folder, encoder_settings, topic_bank

from segue.encoders import load_encoder
from segue.encoders.space import require_same
from segue.ranking.pool import Pool
from segue.retrieval.retrievers.conformance import check_retriever
from segue.retrieval.retrievers.text_encoder import dual_encoder_retriever
from segue.text_models.fine_tuning import learnt_weights
from segue.text_models.settings import DualEncoderSettings
from segue.text_models.transformer import open_transformer
from segue.windows.windows import WindowSettings, gather_contexts, make_windows


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A bank, and the encoder of another weight drawn at random in place of one that was trained."""
    folder = tmp_path_factory.mktemp("bert")
    encoder = encoder_settings(bert_folder(folder))
    transformer = open_transformer(encoder, DualEncoderSettings(maximum_tokens=16, device="cpu"))
    for weight in learnt_weights(transformer).values():
        weight.data *= 1.5
    transformer.save(folder / "tuned")
    return topic_bank(encoder, documents=12), load_encoder(encoder_settings(folder / "tuned"))


@pytest.mark.parametrize("documents", ["trained", "frozen"])
def test_it_keeps_the_rules_of_retrievers(world, tmp_path, documents):
    bank, encoder = world
    retriever = dual_encoder_retriever(encoder, Pool(bank), name="dual", documents=documents, folder=tmp_path)
    check_retriever(retriever, bank, make_windows(bank, np.arange(12), WindowSettings(context=2)).take(slice(8)))


def test_candidates_are_as_the_documents_were_trained(world, tmp_path):
    bank, encoder = world
    asked = make_windows(bank, np.arange(3), WindowSettings(context=1))
    contexts = gather_contexts(bank, asked, texts=True)
    queries = encoder.encode([text for (text,) in contexts.texts])
    for documents, vectors in (("trained", encoder.encode(bank.passage_texts)), ("frozen", bank.vectors)):
        scores = queries @ vectors.T
        scores[np.arange(len(asked)), asked.context[:, 0]] = -np.inf
        retriever = dual_encoder_retriever(encoder, Pool(bank), name="dual", documents=documents, folder=tmp_path)
        assert np.array_equal(retriever.rank(contexts, 1).rows[:, 0], scores.argmax(axis=1))
        searched = retriever.pool.bank
        require_same(searched.space, bank.space if documents == "frozen" else encoder.space, "both")
