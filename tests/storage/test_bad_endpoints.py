"""An endpoint that is slow, answers 500, gives half a file or is not there: it goes on, or one error names the URL."""

import time

import pytest
from s3fs import S3FileSystem

from segue.errors import InputError, MissingExtraError, StorageError
from segue.storage import pull, writing


def parts(cache):
    """Return the files of the cache, unfinished ones included."""
    return [path.name for path in cache.rglob("*") if path.is_file()]


def save(url: str, text: str) -> None:
    """Write a file below a URL."""
    with writing(url) as folder:
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(text)


@pytest.mark.parametrize("times", [1, 1000])
def test_an_answer_of_500(bucket, cache, forget, times):
    forget()
    bucket.write("docs/a.txt", b"whole")
    failed = []

    def fault(environ, start_response, inner):
        if len(failed) < times and environ["PATH_INFO"].endswith("a.txt"):
            failed.append(1)
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        return None

    bucket.endpoint.fault = fault
    if times == 1:
        assert (pull(f"{bucket.url}/docs") / "a.txt").read_bytes() == b"whole"
        return
    with pytest.raises(StorageError, match=rf"cannot read {bucket.url}/docs/a\.txt: got \w+"):
        pull(f"{bucket.url}/docs")
    assert parts(cache) == []
    with pytest.raises(StorageError, match=rf"cannot write {bucket.url}/run/a\.txt"):
        save(f"{bucket.url}/run", "new")
    bucket.endpoint.fault = None
    assert "run/a.txt" not in bucket.contents()


@pytest.mark.parametrize("says_so", [True, False])
def test_half_a_file_is_never_taken_for_a_whole_one(bucket, cache, monkeypatch, says_so):
    """The answer states that half is all, or it breaks off."""
    monkeypatch.setattr(S3FileSystem, "read_timeout", 1)
    bucket.write("docs/a.txt", b"0123456789" * 100)
    times = [1]

    def fault(environ, start_response, inner):
        if environ["REQUEST_METHOD"] != "GET" or not environ["PATH_INFO"].endswith("a.txt") or times[0] == 0:
            return None
        times[0] -= 1
        start_response("200 OK", [("Content-Length", "500" if says_so else "1000"), ("ETag", '"x"')])
        return [b"0123456789" * 50]

    bucket.endpoint.fault = fault
    if says_so:
        with pytest.raises(StorageError, match=r"docs/a\.txt was not read whole: got 500 bytes, expected 1000 bytes"):
            pull(f"{bucket.url}/docs")
        assert parts(cache) == []
    assert (pull(f"{bucket.url}/docs") / "a.txt").read_bytes() == b"0123456789" * 100


def test_an_endpoint_that_is_slow_or_not_there(bucket, cache, forget, monkeypatch):
    bucket.write("docs/a.txt", b"whole")
    monkeypatch.setattr(S3FileSystem, "read_timeout", 0.05)
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    forget()
    bucket.endpoint.fault = lambda *_: time.sleep(0.3)
    with pytest.raises(StorageError, match=rf"cannot read {bucket.url}/docs: got \w*Time"):
        pull(f"{bucket.url}/docs")
    bucket.endpoint.fault = None
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    forget()
    with pytest.raises(StorageError, match=rf"cannot read {bucket.url}/docs: got EndpointConnectionError.*127.0.0.1:1"):
        pull(f"{bucket.url}/docs")
    assert parts(cache) == []


def test_a_bucket_that_is_not_there_and_a_kind_that_is_not_installed(bucket, cache):
    assert not pull("s3://no-such-bucket/bank").exists()
    with pytest.raises(StorageError, match=r"cannot write s3://no-such-bucket/run/a\.txt"):
        save("s3://no-such-bucket/run", "new")
    with pytest.raises(MissingExtraError, match=r"adlfs.*install fsspec's package for abfs://"):
        pull("abfs://container/bank")
    with pytest.raises(InputError, match="a URL that fsspec knows"):
        pull("s4://bucket/bank")
