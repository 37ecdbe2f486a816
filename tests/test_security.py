"""What somebody else's file, text or request may do: be read, and nothing else. SECURITY.md names these tests."""

import ast
import json
import logging
import re
import socket
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bundle_world import make_bank_on_disk, make_run, sentence
from command_line import run as command
from doc_blocks import missing_tests
from fastapi.testclient import TestClient
from installed import install
from markdown_it import MarkdownIt
from network_watch import network_watched
from rich.console import Console

import segue
from segue import parts, storage
from segue.bank.import_vectors import _read_vectors
from segue.bundles.build import bundle_card
from segue.bundles.files import CONTRACT, GATES, MANIFEST, SEAL, seal, verify
from segue.bundles.store import CURRENT, current_bundle
from segue.cli import output
from segue.comparison.settings import ComparisonSettings
from segue.encoders import EncoderSettings, require_own_encoder
from segue.errors import InputError, SettingsError, StorageError
from segue.files import file_sha256, read_json, write_json
from segue.models import ModelSettings, build_model, load_predictor, save_predictor
from segue.models.model_card import ModelCard, render_card
from segue.printable import OneLine, printable, printable_line
from segue.progress import Bars, Lines
from segue.retrieval.index.own import OwnSettings, _make
from segue.retrieval.own import OwnPart
from segue.serving import limits
from segue.serving.server import make_app, make_server
from segue.serving.settings import ServeSettings
from segue.workflows.bank import add
from segue.workflows.serve import _load

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")])
OWN_PROCESSES = {"parts.py", "cluster.py", "encode_on_ray.py", "tasks.py", "ranks.py"}
"""Files that pickle: for the processes that Segue starts itself, never for a file."""
EVIL = "a\x1b]0;owned\x07\x9b2J\r\u202egnp.exe\u2066\n<script>alert(1)</script> [bold]|x|\ud800"
"""Text that would act on a terminal, a log, a page or a table."""


def test_every_line_of_the_threat_model_names_tests_that_exist():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    tables = text.split("## Threats")[1].split("## Limits")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| could try")]
    assert len(rows) > 30
    assert [row for row in rows if not re.search(r"`tests/\S+::test_\w+`", row)] == []
    assert missing_tests(text) == set()


# No code from data


def forbidden(tree: ast.AST, name: str) -> list[str]:
    """Return what a module does that could run data as code."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            tops = {one.partition(".")[0] for one in names}
            found += tops & {"marshal", "shelve", "dill", "subprocess", "pty", "code", "runpy"}
            found += tops & {"pickle", "cloudpickle"} if name not in OWN_PROCESSES else ()
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {one.arg: ast.unparse(one.value) for one in node.keywords}
            found += [called] if called in {"eval", "exec", "compile", "__import__"} else []
            found += [called] if re.fullmatch(r"os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?)", called) else []
            found += [called] if re.fullmatch(r"yaml\.(unsafe_|full_)?load(_all)?|joblib\.load", called) else []
            found += [called] if called == "torch.load" and given.get("weights_only") != "True" else []
            found += ["allow_pickle"] if given.get("allow_pickle", "False") != "False" else []
            found += ["trust_remote_code"] if given.get("trust_remote_code", "False") != "False" else []
            found += ["shell"] if given.get("shell", "False") != "False" else []
    return found


@pytest.mark.parametrize("line", [
    "import pickle", "from cloudpickle import dumps", "import subprocess as s", "eval(text)", "exec(text)",
    "os.system(text)", "os.execvp('a', b)", "yaml.load(text)", "torch.load(path)", "torch.load(p, weights_only=False)",
    "np.load(path, allow_pickle=True)", "open_(name, trust_remote_code=yes)", "run(text, shell=True)",
])  # fmt: skip
def test_the_search_finds(line):
    assert forbidden(ast.parse(line), "any.py")


def test_nothing_runs_data_as_code():
    assert len(SOURCES) > 200
    found = {path.name: forbidden(ast.parse(path.read_text(encoding="utf-8")), path.name) for path in SOURCES}
    assert {name: what for name, what in found.items() if what} == {}


def test_a_file_of_objects_is_not_opened(tmp_path):
    np.save(tmp_path / "vectors.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        _read_vectors(tmp_path / "vectors.npy")


# Names in somebody else's bundle, bank, index or checkpoint

STRANGE = ("subprocess:Popen", "os:system", "builtins:eval", "numpy:load", "segue.files:write_text",
           "sentence_transformers:SentenceTransformer")  # fmt: skip


@pytest.mark.parametrize("name", STRANGE)
def test_a_bundle_calls_no_library(tmp_path, name):
    mark = tmp_path / "mark"
    about = {"part": name, "options": {"args": ["touch", str(mark)]}, "name": "mine"}
    reader = SimpleNamespace(folder=tmp_path, bank=None)
    for kind in ("retriever", "reranker"):
        with pytest.raises(SettingsError, match="names code that is not run"):
            OwnPart.load(kind, about, reader)
    with pytest.raises(SettingsError, match="names code that is not run"):
        _make(OwnSettings(kind=name), None, tmp_path)
    with pytest.raises(SettingsError, match="names code that is not run"):
        require_own_encoder(EncoderSettings(name=name), tmp_path)
    assert not mark.exists()


def test_a_checkpoint_calls_no_library(tmp_path):
    predictor = build_model(ModelSettings(name="mlp", size="toy"), dimension=8, context=2)
    save_predictor(predictor, tmp_path / "model", card=ModelCard(name="a model"))
    load_predictor(tmp_path / "model")
    config = read_json(tmp_path / "model" / "config.json")
    config["model"]["name"] = "sentence_transformers:SentenceTransformer"
    write_json(tmp_path / "model" / "config.json", config)
    with pytest.raises(SettingsError, match="names code that is not run"):
        load_predictor(tmp_path / "model")


def test_a_bundle_and_a_bank_run_no_code_of_their_own_folder(tmp_path, monkeypatch):
    """Python finds modules in the working folder, where a downloaded bundle may lie."""
    inside = tmp_path / "downloaded"
    inside.mkdir()
    (inside / "net.py").write_text("open('ran', 'w')", encoding="utf-8")
    (inside / "__init__.py").write_text("open('ran', 'w')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="in a module of that folder itself"):
        parts.require_own_part("model", "downloaded.net:Net", inside)
    monkeypatch.syspath_prepend(str(inside))
    with pytest.raises(SettingsError, match="in a module of that folder itself"):
        parts.require_own_part("model", "net:Net", inside)
    assert not (tmp_path / "ran").exists()


def test_a_module_that_imported_a_function_does_not_lend_it(tmp_path, monkeypatch):
    (tmp_path / "lender_of_parts.py").write_text("from subprocess import Popen\nclass Mine: ...\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    parts.require_own_part("encoder", "lender_of_parts:Mine", tmp_path / "bundle")
    with pytest.raises(SettingsError, match="in the module subprocess"):
        parts.require_own_part("encoder", "lender_of_parts:Popen", tmp_path / "bundle")


def test_a_package_made_for_segue_may_be_named(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "class Words: ...", module="words_for_segue", retrievers={"words": "Words"})
    install(tmp_path, monkeypatch, "class Words: ...", module="words_for_others")
    (tmp_path / "words_for_segue-1.0.dist-info" / "top_level.txt").write_text("words_for_segue\n")
    (tmp_path / "words_for_others-1.0.dist-info" / "top_level.txt").write_text("words_for_others\n")
    parts._libraries.cache_clear()
    try:
        parts.require_own_part("retriever", "words_for_segue:Words", tmp_path / "bundle")
        with pytest.raises(SettingsError, match="not made for Segue"):
            parts.require_own_part("retriever", "words_for_others:Words", tmp_path / "bundle")
    finally:
        parts._libraries.cache_clear()


def test_what_a_recipe_names_may_stand_in_the_files_of_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_chosen", set())
    with pytest.raises(SettingsError, match="names code that is not run"):
        parts.require_own_part("encoder", "collections:Counter", tmp_path)
    ComparisonSettings(encoder={"name": "collections:Counter"})
    parts.require_own_part("encoder", "collections:Counter", tmp_path)


def test_a_bundle_sends_no_key_and_no_text_to_its_authors_endpoint(tmp_path, monkeypatch):
    at = "https://author.example/v1"
    settings = EncoderSettings(name="openai:m", endpoint={"base_url": at, "key_variable": "AWS_SECRET_ACCESS_KEY"})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the secret of the user")
    with pytest.raises(InputError, match=r"you have not confirmed.*AWS_SECRET_ACCESS_KEY") as caught:
        require_own_encoder(settings, tmp_path)
    assert "the secret" not in str(caught.value)
    monkeypatch.setenv("SEGUE_ENDPOINTS", f"https://other.example {at}/")
    assert require_own_encoder(settings, tmp_path) is settings
    for usual in ({}, {"base_url": "http://127.0.0.1:8000/v1"}):
        require_own_encoder(EncoderSettings(name="openai:m", endpoint=usual), tmp_path)
    for strange in (
        {"key_variable": "HOME"}, {"base_url": "http://127.0.0.1.example/v1"},
        {"base_url": "http://169.254.169.254/latest"}, {"base_url": "http://127.0.0.1/", "key_variable": "HOME"},
    ):  # fmt: skip
        with pytest.raises(InputError, match="not confirmed"):
            require_own_encoder(EncoderSettings(name="openai:m", endpoint=strange), tmp_path)


def test_a_bank_calls_no_library(tmp_path):
    bank = make_bank_on_disk(tmp_path)
    manifest = read_json(tmp_path / "bank" / "manifest.json")
    manifest["encoder"] |= {"name": "subprocess:Popen", "options": {"args": ["touch", str(tmp_path / "mark")]}}
    write_json(tmp_path / "bank" / "manifest.json", manifest)
    (tmp_path / "new.md").write_text("A new document, of one sentence.", encoding="utf-8")
    with pytest.raises(SettingsError, match="names code that is not run"):
        add(bank.path, [tmp_path / "new.md"])
    assert not (tmp_path / "mark").exists()


# Paths


@pytest.mark.parametrize("path", ["../outside", "bank/../../outside", "/etc/passwd", "a\0b"])
def test_a_bundle_names_no_file_outside(tmp_path, path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "outside").write_text("x")
    seal(tmp_path / "bundle", name="a", created="2026")
    manifest = read_json(tmp_path / "bundle" / MANIFEST)
    (tmp_path / "bundle" / MANIFEST).unlink()
    (tmp_path / "bundle" / SEAL).unlink()
    write_json(tmp_path / "bundle" / MANIFEST, manifest | {"files": {path: {"bytes": 1, "sha256": "0"}}})
    (tmp_path / "bundle" / SEAL).write_text(f"{file_sha256(tmp_path / 'bundle' / MANIFEST)}  {MANIFEST}\n")
    with pytest.raises(InputError, match="names a file that is not in the bundle"):
        verify(tmp_path / "bundle")


def test_a_part_names_no_folder_outside(tmp_path):
    about = {"part": "fake_encoder:HashEncoder", "options": {}, "name": "mine", "saved": "../../elsewhere"}
    with pytest.raises(InputError, match="names a folder that is not in it"):
        OwnPart.load("retriever", about, SimpleNamespace(folder=tmp_path, bank=None))


@pytest.mark.parametrize("state", [
    {"version": "../elsewhere", "history": []}, {"version": "/etc", "history": []}, {"version": 3, "history": []},
    {"version": "a", "history": [{"version": "../elsewhere"}]}, {"version": "a"},
])  # fmt: skip
def test_a_folder_of_bundles_names_no_folder_outside(tmp_path, state):
    write_json(tmp_path / CURRENT, state)
    with pytest.raises(StorageError, match=r"current\.json is damaged"):
        current_bundle(tmp_path)


@pytest.mark.parametrize("url", ["s3://../../home", "memory://a/../../b", "s3://a/b\0c"])
def test_a_url_stays_in_the_cache(url):
    with pytest.raises(InputError, match="leaves its bucket"):
        storage.local(url)


def test_an_object_of_a_bucket_becomes_no_file_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_CACHE", str(tmp_path / "cache"))
    listed = {"bank/../../../../outside": {"type": "file", "size": 1, "name": "bank/../../../../outside"}}
    system = SimpleNamespace(find=lambda path, detail: listed)
    monkeypatch.setattr(storage, "_system", lambda url: (system, "bank"))
    with pytest.raises(StorageError, match="no file below it"):
        storage.pull("memory://bank")
    assert list(tmp_path.rglob("outside")) == []


# Credentials


def test_a_password_in_a_url_is_refused_and_not_repeated():
    with pytest.raises(InputError, match="holds a password") as caught:
        storage.local("ftp://me:hunter2@host/bank")
    assert "hunter2" not in str(caught.value)
    assert storage.local("abfs://container@account.example/bank").name == "bank"
    with pytest.raises(ValueError, match="base_url"):
        EncoderSettings(name="openai:m", endpoint={"base_url": "https://me:hunter2@host/v1"})


def test_keys_are_kept_as_hashes_in_a_file_of_their_owner(tmp_path):
    key = limits.new_key(tmp_path / "keys", label="a label\nwith a line")
    assert key not in (tmp_path / "keys").read_text()
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
    assert len(limits.read_keys(tmp_path / "keys")) == 1


def test_a_key_is_compared_in_constant_time_with_every_hash(monkeypatch):
    compared = []
    monkeypatch.setattr(limits.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or a == b)
    hashes = tuple(limits._hash(name) for name in ("first", "second", "third"))
    assert limits.is_known("first", hashes)
    assert not limits.is_known("another", hashes)
    assert len(compared) == 6  # it does not stop at the one that fits


# The server


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A bundle that copies, made without training."""
    folder = tmp_path_factory.mktemp("small")
    return make_run(folder, names=("copy-last",)).bundle("copy-last", folder / "bundle")


def app_of(bundle: Path, **given: object):
    return make_app(make_server(bundle, ServeSettings(**given), lambda path: _load(path, device="cpu")))


def test_a_wrong_key_is_in_no_answer_and_no_log(small, tmp_path, caplog):
    key = limits.new_key(tmp_path / "keys")
    with caplog.at_level(logging.DEBUG), TestClient(app_of(small, keys=str(tmp_path / "keys"))) as client:
        client.headers["host"] = "127.0.0.1"
        for header in ({"authorization": "Bearer segue_wrong"}, {"x-api-key": "segue_wrong"}, {}):
            answer = client.get("/v1/info", headers=header)
            assert answer.status_code == 401
            assert "segue_wrong" not in answer.text
        assert client.get("/v1/info", headers={"authorization": f"Bearer {key}"}).status_code == 200
    kept = [line for line in caplog.messages if "segue_wrong" in line or key in line]
    assert kept == []


def test_an_error_of_the_server_is_one_line_in_the_log_and_tells_the_client_nothing(small, capsys):
    app, lines = app_of(small), []

    @app.get("/broken/{name}")
    async def broken(name: str) -> None:
        raise RuntimeError(f"a secret detail {EVIL.encode(errors='replace').decode()}")

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    kept, log = Kept(), logging.getLogger("segue.serving")
    log.addHandler(kept)
    try:
        with TestClient(app, raise_server_exceptions=False) as client:
            client.headers["host"] = "127.0.0.1"
            answer = client.get("/broken/a%0D%0A2026-01-01 all is well%1B[2J")
    finally:
        log.removeHandler(kept)
    assert answer.status_code == 500
    assert "secret detail" not in answer.text
    (text,) = lines
    first, *rest = text.split("\n")
    assert first.endswith("all is well\\x1b[2J failed")
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)


# Texts of documents, titles, ids, names


def acts(text: str) -> bool:
    """Return whether a terminal would do something other than show the text."""
    return re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text) is not None


def test_a_text_acts_on_no_terminal(capsys):
    assert acts(EVIL)
    assert not acts(printable(EVIL))
    assert "\n" not in printable_line(EVIL)
    assert printable("Käse, 東京, עברית, a\tb\nc") == "Käse, 東京, עברית, a\tb\nc"
    output.show(EVIL)
    output.print_info({"title": EVIL, "names": [EVIL], "by": {EVIL: EVIL}}, as_json=False)
    output.print_rows([{EVIL: EVIL, "b": 1.0}])
    output.print_json({"title": EVIL})
    printed = capsys.readouterr().out
    assert not acts(printed)
    assert "[bold]" in printed  # text, not markup


def test_json_on_a_terminal_holds_the_same_text(capsys):
    output.print_json({"title": EVIL})
    assert json.loads(capsys.readouterr().out) == {"title": EVIL}


def test_an_error_acts_on_no_terminal(capsys, tmp_path):
    (tmp_path / "a\x1b[2J.toml").write_text('titel = "a"\n["\x9b2J"]\n', encoding="utf-8")
    assert command("triage", str(tmp_path / "a\x1b[2J.toml")) == 2
    assert not acts(capsys.readouterr().err)


def test_progress_acts_on_no_terminal(capsys):
    Lines().say(EVIL)
    with Lines()(EVIL) as progress:
        progress(1, 2, EVIL)
    shown = Console(file=StringIO(), force_terminal=False)
    Bars(shown).say(EVIL)
    assert not acts(capsys.readouterr().err)
    assert not acts(shown.file.getvalue())


def test_a_line_of_a_log_is_one_line():
    record = logging.LogRecord("segue", logging.ERROR, "", 0, "%s failed", ("a\nb\x1b[2J",), None)
    assert OneLine().filter(record)
    assert record.getMessage() == "a\\nb\\x1b[2J failed"


def test_cards_hold_no_markup_of_others(small):
    evil = EVIL.replace("\ud800", "") + "![x](http://author.example/pixel)"
    contract, gates = read_json(small / CONTRACT), read_json(small / GATES)
    contract |= {"name": evil, "option": evil, "description": evil}
    contract["space"] |= {"encoder": evil, "pooling": evil}
    card = ModelCard(name=evil, space={"encoder": evil, evil: "b"}, loss=evil, training={evil: evil},
                     metrics={evil: 0.5})  # fmt: skip
    gates["gates"] = [{"name": evil, "outcome": "pass"}]
    for text in (
        bundle_card(contract, gates),
        render_card(card, ModelSettings(), dimension=8, context=2, parameters=3),
    ):
        assert not acts(text)
        page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text.split("---\n", 2)[2])
        assert "<script" not in page
        assert "<img" not in page


# No network unless asked for


def test_the_ways_that_need_no_network_ask_for_none(tmp_path):
    with network_watched() as asked, socket.socket() as tried:
        tried.settimeout(0.01)
        tried.connect_ex(("192.0.2.1", 9))  # an address that answers nobody
    assert asked == [("socket.connect", "192.0.2.1")]  # an attempt is seen
    with network_watched() as asked:
        (tmp_path / "run").mkdir()
        built = make_run(tmp_path / "run", names=("copy-last",)).bundle("copy-last", tmp_path / "bundle")
        answers = segue.load(built).next(text=f"{sentence(1, 0)}\n\n{sentence(1, 1)}", k=3)
        assert len(answers) == 3
        with TestClient(app_of(built)) as client:
            client.headers["host"] = "127.0.0.1"
            assert client.post("/v1/next", json={"ids": ["volume/1 №1#1"]}).status_code == 200
    assert asked == []
