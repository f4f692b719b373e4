"""Corpora by name: the one in every Python, and the one that is downloaded (here from a server of our own)."""

import hashlib
import http.server
import threading

import pytest

from gptlib.corpus import named, read_text


def test_python_docs_are_there_offline_and_always_the_same():
    text = read_text("python-docs")
    assert text == read_text("python-docs")
    assert text.startswith('The "assert" statement')
    assert len(text) > 300_000


def test_an_unknown_corpus_is_refused_with_the_choices():
    with pytest.raises(FileNotFoundError, match=r"'moby-dick'.*choose a corpus by name \(python-docs, tiny-"):
        read_text("moby-dick")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A loopback server in the place of the real one; it answers with server.content."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests += 1
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.content)

        def log_message(self, *_):
            pass

    content = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.requests, server.content = 0, content
    url = f"http://127.0.0.1:{server.server_port}/input.txt"
    download = {"urls": [url], "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    monkeypatch.setattr(named, "_TINY_SHAKESPEARE", download)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_tiny_shakespeare_is_fetched_once_and_again_only_where_it_is_damaged(server, tmp_path):
    file = tmp_path / "data" / "tiny-shakespeare.txt"
    assert read_text("tiny-shakespeare").encode() == server.content == file.read_bytes()
    assert read_text(["tiny-shakespeare"]).startswith("First")
    assert server.requests == 1
    file.write_bytes(server.content[:-5])
    assert read_text("tiny-shakespeare").encode() == server.content == file.read_bytes()
    assert server.requests == 2


@pytest.mark.parametrize("change", [lambda c: c.upper(), lambda c: c[:-1], lambda c: c + b"!", lambda c: b""])
def test_a_wrong_download_is_not_kept(server, tmp_path, change):
    server.content = change(server.content)
    with pytest.raises(FileNotFoundError, match=r"is not the 61 bytes expected.*save it as '.*tiny-shakespeare\.txt'"):
        read_text("tiny-shakespeare")
    assert not list(tmp_path.rglob("*.txt*"))


def test_without_a_network_the_message_says_where_to_put_the_file(server, monkeypatch):
    nowhere = {"urls": ["http://127.0.0.1:9/input.txt"], "size": 1, "sha256": ""}
    monkeypatch.setattr(named, "_TINY_SHAKESPEARE", nowhere)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched.*save it as '.*data.tiny-shakespeare\.txt'"):
        read_text("tiny-shakespeare")
