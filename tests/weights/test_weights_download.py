"""The seven files of a GPT-2 from a loopback mirror that misbehaves in every way of the list."""

import errno
import hashlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import urllib.error
from pathlib import Path

import pytest
from mirror_faults import always, claim, cut, other, redirect, stall, status
from training_helpers import assert_helpful, files_in

from gptlib.commands.cli import main
from gptlib.utils.download import DownloadError, RetryPolicy, fetch, fetching
from gptlib.utils.download.request import RefusalError, classify_error
from gptlib.weights import download
from gptlib.weights.download import DATA, FILES, fetch_openai_files
from tools.mirror import Mirror

QUICK = RetryPolicy(timeout=0.3, attempts=4, first_wait=0.001)
BPE = "124M/vocab.bpe"
HPARAMS = {"n_vocab": 50257, "n_ctx": 1024, "n_embd": 768, "n_head": 12, "n_layer": 12}
SMALL = HPARAMS | {"n_embd": 48, "n_head": 4, "n_layer": 2}


def store(size="124M", hparams=SMALL, seed=0):
    """The paths of one size with random content; the data are long enough for several pieces."""
    rng = hashlib.shake_256(bytes([seed]))
    files = {f"{size}/{name}": rng.digest(3000 + len(name)) for name in FILES}
    files[f"{size}/{DATA}"] = rng.digest(300_000)
    files[f"{size}/hparams.json"] = json.dumps(hparams).encode()
    return files


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("GPTLIB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GPTLIB_OPENAI_MIRROR", raising=False)


@pytest.fixture
def mirror(monkeypatch):
    with Mirror(store()) as mirror:
        monkeypatch.setenv("GPTLIB_OPENAI_URL", mirror.url)
        yield mirror


@pytest.fixture
def second(monkeypatch, mirror):
    """A second host, asked where the first one fails."""
    with Mirror(store()) as second:
        monkeypatch.setenv("GPTLIB_OPENAI_MIRROR", second.url + "/")
        yield second


def get(folder, size="124M", **options):
    return fetch_openai_files(size, folder, **{"retry": QUICK} | options)


def assert_right(folder, files, size="124M"):
    for name in FILES:
        assert (folder / name).read_bytes() == files[f"{size}/{name}"], name
    assert sorted(files_in(folder)) == sorted(FILES)  # and nothing else is left


def fails(folder, *fragments, **options):
    with pytest.raises(DownloadError) as error:
        get(folder, **options)
    assert_helpful(error, *fragments)
    return str(error.value)


# Where nothing goes wrong.


def test_all_seven_files_come_once_and_never_again(mirror, tmp_path, capsys):
    folder = get(tmp_path / "models", "gpt2-small (124M)")
    assert folder == tmp_path / "models" / "124M"
    assert_right(folder, mirror.files)
    assert [path for _, path, _ in mirror.requests] == [f"124M/{name}" for name in FILES]
    bars = capsys.readouterr().err
    assert all(f"{name}: 100%" in bars for name in FILES)  # one bar each
    assert get(tmp_path / "models") == folder
    assert len(mirror.requests) == len(FILES)


def test_by_default_they_go_into_the_workbook(mirror, tmp_path):
    assert fetch_openai_files("124M") == tmp_path / "home" / "model_weights" / "openai" / "124M"


def test_a_folder_filled_by_hand_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://127.0.0.1:9")
    (tmp_path / "124M").mkdir()
    for path, content in store().items():
        (tmp_path / path).write_bytes(content)
    (tmp_path / "124M").chmod(0o500)
    assert_right(get(tmp_path), store())
    (tmp_path / "124M").chmod(0o700)


def test_only_what_is_missing_or_empty_is_fetched(mirror, tmp_path):
    folder = get(tmp_path)
    (folder / "vocab.bpe").unlink()
    (folder / "checkpoint").write_bytes(b"")
    mirror.requests.clear()
    assert_right(get(tmp_path), mirror.files)
    assert {path for _, path, _ in mirror.requests} == {BPE, "124M/checkpoint"}


def test_a_name_that_is_no_size_is_refused_before_anything_is_asked(mirror, tmp_path):
    for name in ("125M", "../124M", "", None, "gpt2/../../x"):
        with pytest.raises(ValueError, match="124M"):
            get(tmp_path, name)
    assert mirror.requests == []
    assert files_in(tmp_path) == []


# Broken connections.


@pytest.mark.parametrize("n_bytes", [0, 1, 70_000, 299_999])
def test_cut_after_n_bytes_and_only_the_rest_is_asked_for(mirror, tmp_path, n_bytes):
    path = f"124M/{DATA}"
    mirror.faults[path] = [cut(n_bytes)]
    assert_right(get(tmp_path), mirror.files)
    ranges = [asked for _, where, asked in mirror.requests if where == path]
    assert ranges == ["", f"bytes={n_bytes}-" if n_bytes else ""]
    assert mirror.served[path] == 300_000


def test_cut_again_and_again_ends_in_a_sentence_and_the_next_call_goes_on(mirror, tmp_path):
    mirror.faults[BPE] = [always(cut(100))]
    fails(tmp_path, "vocab.bpe", "broke the connection", "are kept for the next try", "load_hf_gpt2('124M')")
    assert mirror.asked(BPE) == QUICK.attempts
    assert (tmp_path / "124M" / "vocab.bpe.part").stat().st_size == 100 * QUICK.attempts
    mirror.faults.clear()
    assert_right(get(tmp_path), mirror.files)
    assert mirror.served[BPE] == len(mirror.files[BPE])


def test_a_line_that_breaks_often_but_brings_a_megabyte_each_time_gets_through(mirror, tmp_path):
    mirror.files[BPE] = bytes(range(256)) * 40_000
    mirror.faults[BPE] = [always(cut(1_100_000))]
    assert_right(get(tmp_path), mirror.files)
    assert mirror.asked(BPE) == 10 > QUICK.attempts


def test_a_server_that_falls_silent_is_asked_again(mirror, tmp_path):
    mirror.faults[BPE] = [stall(1000), stall(0)]
    assert_right(get(tmp_path), mirror.files)
    assert mirror.served[BPE] == len(mirror.files[BPE])
    (tmp_path / "124M" / "vocab.bpe").unlink()
    mirror.faults[BPE] = [always(stall(0))]
    fails(tmp_path, "vocab.bpe", "went silent")


def test_a_server_without_ranges_sends_all_of_it_again(mirror, tmp_path):
    mirror.hidden |= {"range"}
    mirror.faults[BPE] = [cut(1000)]
    assert_right(get(tmp_path), mirror.files)
    assert mirror.served[BPE] == 1000 + len(mirror.files[BPE])


def test_without_an_etag_nothing_is_glued(mirror, tmp_path):
    mirror.hidden |= {"etag"}
    mirror.faults[BPE] = [other(b"x" * 999, ETag="W/weak", Content_MD5=""), status(404)]
    get(tmp_path)
    part = tmp_path / "124M" / "encoder.json.part"
    part.write_bytes(b"from who knows where")  # and without its note
    (tmp_path / "124M" / "encoder.json").unlink()
    get(tmp_path)
    assert (tmp_path / "124M" / "encoder.json").read_bytes() == mirror.files["124M/encoder.json"]
    assert "bytes=" not in "".join(asked for *_, asked in mirror.requests)


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("length", [2000, 3009, 5000])
def test_a_file_that_changed_between_two_calls_is_not_glued(mirror, tmp_path, honest, length):
    """Also where a server ignores If-Range and sends the rest of the new file."""
    mirror.faults[BPE] = [always(cut(700))]
    fails(tmp_path, "vocab.bpe")
    new = mirror.files[BPE] = b"N" * length
    del mirror.faults[BPE]
    if not honest:

        def rest_of_another(handler, content):
            start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            headers = {"ETag": '"new"', "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
            if start >= len(content):
                return False
            handler.send_content(BPE, content[start:], headers, 206)
            return True

        mirror.faults[BPE] = [rest_of_another]
    get(tmp_path)
    assert (tmp_path / "124M" / "vocab.bpe").read_bytes() == new


def test_what_a_liar_glued_is_found_by_its_md5_and_fetched_whole(mirror, tmp_path):
    def rest_with_the_old_name(handler, content):
        start = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        handler.send_content(
            BPE,
            b"?" * (len(content) - start),
            {"ETag": handler.headers["If-Range"], "Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"},
            206,
        )
        return True

    mirror.faults[BPE] = [cut(1000), rest_with_the_old_name]
    assert_right(get(tmp_path), mirror.files)
    assert mirror.asked(BPE) == 3


# Answers that are wrong.


WRONG = {
    "hash": (other(b"?" * 3009), "its md5 differs"),
    "hash, as Backblaze states it": (other(b"?" * 9, Content_MD5="", X_Bz_Content_Sha1="0" * 40), "its sha1 differs"),
    "size, too large": (claim(9), "broke the connection after"),
    "size, too small": (claim(-9), "its md5 differs"),
    "empty": (other(b"", Content_MD5=""), "empty"),
    "a login page": (other(b"<html>", Content_Type="text/html; charset=utf-8"), "a web page"),
    "compressed": (other(b"\x1f\x8b", Content_Encoding="gzip"), "compressed"),
    "no md5": (other(b"123", Content_MD5="!!"), "Content-MD5"),
    "204": (status(204), "204"),
    "404": (status(404), "404 Not Found"),
    "403": (status(403), "403 Forbidden"),
    "500": (status(500), "500 Internal Server Error"),
    "a redirect to itself": (redirect(f"/{BPE}"), "redirect"),
    "a redirect to a file": (redirect("file:///etc/passwd"), "is not allowed"),
    "a redirect to ftp": (redirect("ftp://127.0.0.1/x"), "redirects from http to ftp"),
}


@pytest.mark.parametrize(("fault", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_sends_us_to_the_other_host(mirror, second, tmp_path, fault, words):
    mirror.faults[BPE] = [always(fault)]
    assert_right(get(tmp_path), second.files)
    assert second.asked(BPE) == len(second.requests) == 1


@pytest.mark.parametrize(("fault", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_of_both_is_a_sentence_and_leaves_no_file(mirror, second, tmp_path, fault, words):
    mirror.faults[BPE] = second.faults[BPE] = [always(fault)]
    message = fails(tmp_path, "'vocab.bpe'", words, "HTTPS_PROXY", "GPTLIB_OPENAI_URL", "by hand", tmp_path / "124M")
    assert message.count("127.0.0.1: ") == 2
    assert not (tmp_path / "124M" / "vocab.bpe").exists()
    mirror.faults.clear()
    assert_right(get(tmp_path), mirror.files)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_troubles_that_pass_are_waited_for(mirror, tmp_path, code):
    mirror.faults[BPE] = [status(code), status(code)]
    assert_right(get(tmp_path), mirror.files)
    assert mirror.asked(BPE) == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 501])
def test_troubles_that_stay_are_not_asked_about_twice(mirror, tmp_path, code):
    mirror.faults[BPE] = [always(status(code))]
    fails(tmp_path, str(code))
    assert mirror.asked(BPE) == 1


def test_the_waits_double_and_scatter_and_the_servers_wish_comes_first(mirror, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: waits.append(seconds))
    mirror.faults[BPE] = [status(503)] * 4 + [status(429, Retry_After="7")]
    get(tmp_path, retry=RetryPolicy(first_wait=1, longest_wait=60))
    assert all(2**i / 2 <= wait <= 2**i for i, wait in enumerate(waits[:4]))
    assert waits[4:] == [7]
    (tmp_path / "124M" / "vocab.bpe").unlink()
    mirror.faults[BPE] = [status(429, Retry_After="3600")]
    fails(tmp_path, "429 Too Many Requests", retry=RetryPolicy())
    assert len(waits) == 5  # nobody waits for an hour


def test_a_redirect_is_followed_with_its_range(mirror, second, tmp_path):
    second.files["elsewhere/bpe"] = mirror.files[BPE]
    mirror.faults[BPE] = [always(redirect(f"{second.url}/elsewhere/bpe"))]
    second.faults["elsewhere/bpe"] = [cut(1500)]
    assert_right(get(tmp_path), mirror.files)
    assert [asked for *_, asked in second.requests] == ["", "bytes=1500-"]


def test_nobody_there_is_a_sentence_at_once(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(fetching.time, "sleep", lambda seconds: pytest.fail("waited"))
    fails(tmp_path, "refused the connection", "HTTPS_PROXY", retry=RetryPolicy())
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "ftp://example")
    fails(tmp_path, "should begin with https://")
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://bad host:x/")
    fails(tmp_path, "can't be used")
    assert files_in(tmp_path) == []  # nothing has come, so nothing is left
    (tmp_path / "124M").mkdir()
    fails(tmp_path, "can't be used")
    assert files_in(tmp_path) == ["124M"]  # it was there
    fails(tmp_path / "new" / "folder", "can't be used")
    assert files_in(tmp_path) == ["124M"]
    assert files_in(tmp_path / "124M") == []


def test_a_proxy_is_used_and_named_where_it_is_the_one_that_fails(mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://someone:secret@127.0.0.1:9")
    assert "secret" not in fails(tmp_path, "127.0.0.1: the proxy 127.0.0.1:9 refused the connection")
    monkeypatch.setenv("https_proxy", mirror.url)  # which knows no CONNECT
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "https://localhost")
    fails(tmp_path, "can't be reached (Tunnel connection failed: 501", "localhost: the proxy 127.0.0.1:")


def test_the_one_who_answered_first_is_asked_first_for_the_rest(mirror, second, tmp_path):
    """What came from the mirror is not thrown away because the first host is back."""
    mirror.faults[BPE] = [status(404)]
    second.faults[BPE] = [always(cut(500))]
    fails(tmp_path, "broke the connection")
    second.faults.clear()
    assert_right(get(tmp_path), second.files)
    assert second.served[BPE] == len(second.files[BPE])


def test_certificates_and_silence_while_connecting_are_told():
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    told = classify_error(urllib.error.URLError(error))
    assert isinstance(told, RefusalError)
    assert all(words in str(told) for words in ("self-signed", "SSL_CERT_FILE", "Install Certificates"))
    assert "times out" in str(classify_error(urllib.error.URLError(TimeoutError())))
    assert "407" in str(classify_error(urllib.error.URLError(OSError("Tunnel connection failed: 407 Proxy"))))


# What is known of the official files.


def test_the_data_of_the_official_shape_have_the_known_size_whoever_serves_them(mirror, second, tmp_path):
    for host in (mirror, second):
        host.files["124M/hparams.json"] = json.dumps(HPARAMS).encode()
    fails(tmp_path, DATA, "has 300,000 bytes and not the 497,759,232 bytes expected")
    assert f"{DATA}.part" not in files_in(tmp_path / "124M")  # the size was refused before the first byte was kept
    (tmp_path / "124M" / DATA).write_bytes(b"by hand, and cut off")
    fails(tmp_path, f"'{DATA}' is there, but its size is 20")
    assert (tmp_path / "124M" / DATA).read_bytes() == b"by hand, and cut off"


def test_the_hash_is_asked_of_the_official_hosts_only(mirror, tmp_path, monkeypatch):
    """A school's host may serve a fine-tuned model of the same shape; OpenAI's numbers are known to the bit."""
    data = mirror.files[f"124M/{DATA}"]
    mirror.files["124M/hparams.json"] = json.dumps(HPARAMS).encode()
    monkeypatch.setattr(download, "DATA_BYTES", {"124M": len(data)})
    assert_right(get(tmp_path / "a"), mirror.files)
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "")
    monkeypatch.setattr(download, "OFFICIAL", mirror.url)
    monkeypatch.setenv("GPTLIB_OPENAI_MIRROR", "")
    fails(tmp_path / "b", "is not the 300,000 bytes expected", "its sha256 differs")
    monkeypatch.setattr(download, "DATA_SHA256", {"124M": hashlib.sha256(data).hexdigest()})
    assert_right(get(tmp_path / "b"), mirror.files)


def test_the_hosts_are_chosen_by_two_variables(monkeypatch):
    monkeypatch.delenv("GPTLIB_OPENAI_URL", raising=False)
    assert download.openai_hosts() == ([download.OFFICIAL, download.MIRROR], True)
    monkeypatch.setenv("GPTLIB_OPENAI_MIRROR", "http://school/")
    assert download.openai_hosts() == ([download.OFFICIAL, "http://school"], True)
    monkeypatch.setenv("GPTLIB_OPENAI_MIRROR", "")
    assert download.openai_hosts() == ([download.OFFICIAL], True)
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://other")
    assert download.openai_hosts() == (["http://other"], False)
    monkeypatch.delenv("GPTLIB_OPENAI_MIRROR")
    assert download.openai_hosts() == (["http://other"], False)  # what it serves may not be OpenAI's


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'{"n_vocab": "many"}', b"[" * 9000, b'{"n_vocab": 5}'])
def test_hparams_that_are_none_are_not_kept(mirror, second, tmp_path, content):
    mirror.files["124M/hparams.json"] = content
    assert_right(get(tmp_path), second.files)
    second.files["124M/hparams.json"] = content
    fails(tmp_path / "b", "hparams.json")
    assert not (tmp_path / "b" / "124M" / "hparams.json").exists()


# The disk.


def test_a_full_disk_is_seen_before_anything_large_is_fetched(mirror, tmp_path, monkeypatch):
    mirror.files["124M/hparams.json"] = json.dumps(HPARAMS).encode()
    usage = fetching.shutil.disk_usage(tmp_path)._replace(free=400_000_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda folder: usage)
    fails(tmp_path, "needs 501.8 MB more and its disk has 400.0 MB free")
    assert mirror.asked(f"124M/{DATA}") == 0
    mirror.files["124M/hparams.json"] = json.dumps(SMALL).encode()
    usage = usage._replace(free=100_000)
    fails(tmp_path / "b", "MB free")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_fills_up_or_breaks_while_writing_keeps_what_came(mirror, tmp_path, monkeypatch, code):
    path = f"124M/{DATA}"

    def write(file, piece):
        if file.tell() + len(piece) > 100_000 and DATA in file.name:
            file.write(piece[: 100_000 - file.tell()])
            raise OSError(code, os.strerror(code))
        file.write(piece)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_write", write)
        fails(tmp_path, "The disk is full" if code == errno.ENOSPC else "Input/output error", DATA)
    assert mirror.asked(path) == 1  # not the network's fault
    assert (tmp_path / "124M" / f"{DATA}.part").stat().st_size == 100_000
    assert_right(get(tmp_path), mirror.files)
    assert mirror.requests[-1] == ("GET", path, "bytes=100000-")


def test_a_folder_that_can_not_be_written_to_is_told(mirror, tmp_path, monkeypatch):
    (tmp_path / "124M").mkdir()

    def closed(path, *_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))  # root, as in CI, may write anywhere

    monkeypatch.setattr(fetching, "locked", closed)
    fails(tmp_path, "could not be written (Permission denied)", "put the file there by other means")
    assert mirror.requests == []


def test_a_file_in_the_place_of_the_folder_is_told(mirror, tmp_path):
    (tmp_path / "file").write_text("x")
    fails(tmp_path / "file", "could not be written (Not a directory)")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "124M").write_text("x")
    fails(tmp_path / "a", "could not be written")


# Stopped, and several at once.


def test_ctrl_c_keeps_the_part(mirror, tmp_path, monkeypatch):
    def write(file, piece):
        file.write(piece)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_write", write)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path)
    assert "hparams.json.part" in files_in(tmp_path / "124M")
    assert_right(get(tmp_path), mirror.files)


def test_threads_at_once_are_served_once(mirror, tmp_path, capsys):
    mirror.pace = lambda path, served: mirror.ended.wait(0.02)
    threads = [threading.Thread(target=get, args=(tmp_path,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_right(tmp_path / "124M", mirror.files)
    assert len(mirror.requests) == len(FILES)
    assert "Another process is fetching into '124M'; waiting for it." in capsys.readouterr().out


# `fetch` by itself.


def test_a_file_of_unknown_length_needs_something_to_be_told_by(mirror, tmp_path):
    mirror.hidden |= {"length"}
    url, content = f"{mirror.url}/{BPE}", mirror.files[BPE]
    with pytest.raises(DownloadError, match="does not say how long the file is"):
        fetch([url], tmp_path / "a", retry=QUICK)
    digest = hashlib.sha256(content).hexdigest()
    assert fetch([url], tmp_path / "a", sha256=digest, retry=QUICK).read_bytes() == content
    assert fetch([url], tmp_path / "b", size=len(content), retry=QUICK).read_bytes() == content
    for size in (1, len(content) - 1, len(content) + 1):
        with pytest.raises(DownloadError, match=f"is not the {size:,} bytes expected"):
            fetch([url], tmp_path / "c", size=size, retry=QUICK)


def test_a_wrong_file_is_replaced_only_by_a_right_one(mirror, tmp_path):
    path, content = tmp_path / "a", mirror.files[BPE]
    path.write_bytes(b"old")
    known = {"sha256": hashlib.sha256(content).hexdigest(), "retry": QUICK}
    with pytest.raises(DownloadError, match="'a' is there, but its sha256 differs, and could not be fetched"):
        fetch([f"{mirror.url}/nowhere"], path, **known)
    assert path.read_bytes() == b"old"
    assert fetch([f"{mirror.url}/nowhere", f"{mirror.url}/{BPE}"], path, **known).read_bytes() == content


# The command.


HUB = """
import sys
from gptlib.commands.cli import main
sys.exit(main(["download", "gpt2-medium (355M)", "--source", "huggingface"]))
"""


def test_the_command_takes_hugging_faces_files_into_its_cache_and_no_others(mirror, tmp_path, monkeypatch):
    """In a process of its own, because huggingface_hub reads its variables when it is imported."""
    repository = "openai-community/gpt2-medium"
    mirror.files = {f"{repository}/config.json": b"{}", f"{repository}/model.safetensors": b"tensors" * 999}
    mirror.listing = ["../../../../evil.txt", "/evil.txt", "pytorch_model.bin"]
    environment = os.environ | {"HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path / "hub")}

    def run():
        return subprocess.run([sys.executable, "-c", HUB], env=environment, capture_output=True, text=True)

    first = run()
    assert first.returncode == 0, first.stderr
    folder = Path(first.stdout.split(" are in ")[1].split(". In Python")[0])
    assert files_in(folder) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == b"tensors" * 999
    assert "gptlib.weights.load_hf_gpt2('355M')" in first.stdout
    assert not [path for path in tmp_path.rglob("*") if "evil" in path.name or path.suffix == ".bin"]
    assert mirror.served[f"{repository}/model.safetensors"] == 6993
    mirror.files.clear()
    shutil.rmtree(tmp_path / "hub")
    second = run()
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith("gptlib: ")


def test_the_command_fetches_and_says_where_and_what_next(mirror, tmp_path, capsys):
    assert main(["download", "124M", "--out", str(tmp_path)]) == 0
    assert_right(tmp_path / "124M", mirror.files)
    assert f"in {tmp_path / '124M'}. In Python: gptlib.weights.load_openai_gpt2('124M')" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ("124M", 1, "refused the connection"),
        ("125M", 2, "124M"),
        ("124M --source=torrent", 2, "torrent"),
        ("124M --source huggingface --out x", 2, "HF_HOME"),
        ("", 2, "size"),
    ],
)
def test_the_command_says_every_error_in_a_sentence(capsys, monkeypatch, arguments, status, words):
    monkeypatch.setenv("GPTLIB_OPENAI_URL", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as stop:
        main(["download", *arguments.split()])
    assert stop.value.code == status
    assert words in capsys.readouterr().err.splitlines()[-1]
