"""One HTTP request for a file or the rest of it, and every way it can fail, told apart by whether to try again."""

import base64
import binascii
import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlsplit

from gptlib.utils.download.part import Note
from gptlib.utils.text import shorten

PASSING = (408, 429, 500, 502, 503, 504)  # statuses that may be another one in a moment
_HEX = {"md5": 32, "sha1": 40}


class RefusalError(Exception):
    """This URL will not give the file, however often it is asked; the message goes on "HOST: ..."."""


class UnreachableError(RefusalError):
    """Nobody answers there; whoever did a moment ago may do so again."""


class InterruptionError(Exception):
    """Asking again may help. `wait` are the seconds that the server wants us to wait, if it said so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ChangedError(InterruptionError):
    """The server has another file now than the one that we have a part of."""


@dataclass
class Answer:
    """A response whose body is the whole file (start 0) or all of it from byte `start`."""

    body: http.client.HTTPResponse
    start: int
    note: Note


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to something that anybody on the way could change."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        scheme = urlsplit(new_url).scheme
        if scheme != request.type and scheme != "https":
            raise RefusalError(f"redirects from {request.type} to {scheme}, which is not safe")
        return super().redirect_request(request, file, code, message, headers, new_url)


def ask(url: str, start: int, validator: str | None, timeout: float) -> Answer:
    """Ask for the file from byte `start` on, if it still is the one that `validator` names; else the whole of it.

    Raises: RefusalError or InterruptionError.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise RefusalError(f"{url!r} is no web address; it should begin with https://")
    request = urllib.request.Request(url, headers={"User-Agent": "gptlib", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", validator)
    try:
        response = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
    except Exception as error:
        told = classify_error(error)
        if isinstance(told, UnreachableError) and request.host != urlsplit(url).netloc:
            told = UnreachableError(f"the proxy {request.host} {told}")
        raise told from None
    try:
        return Answer(response, *_understood(response, url, start, validator))
    except BaseException:
        response.close()
        raise


def _understood(response, url: str, start: int, validator: str | None) -> tuple[int, Note]:
    """Where the body begins, and what the server says of the whole file."""
    headers = response.headers
    if headers.get_content_type() == "text/html" and "Content-Type" in headers:
        raise RefusalError("sent a web page in place of the file, as networks do that want a login or block an address")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise RefusalError("sent the file compressed, which was not asked for")
    named = _validator(headers)
    if response.status == 200:
        length = _number(headers.get("Content-Length"))
        return 0, Note(url, named, length, _digests(headers))
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", "").strip())
        if start and found and int(found[1]) == start and named in (None, validator):
            return start, Note(url, validator, int(found[2]), {})  # its Content-MD5 would be that of the rest
        raise ChangedError("sent a part of another file than before", wait=0)
    raise RefusalError(f"answered with status {response.status}")


def _validator(headers) -> str | None:
    """What If-Range may name the file by: a strong ETag, else its date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _digests(headers) -> dict[str, str]:
    """The file's digests in hex, as Azure (Content-MD5, base64) and Backblaze (X-Bz-Content-Sha1) state them."""
    stated = {"md5": "", "sha1": headers.get("X-Bz-Content-Sha1", "").lower()}
    try:
        stated["md5"] = base64.b64decode(headers.get("Content-MD5", ""), validate=True).hex()
    except (binascii.Error, ValueError):
        raise RefusalError("states a Content-MD5 that is none") from None
    return {name: text for name, text in stated.items() if re.fullmatch(rf"[0-9a-f]{{{_HEX[name]}}}", text)}


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def classify_error(error: Exception) -> Exception:
    """The error of a request or of reading its body as one of ours; itself, if it has nothing to do with the web."""
    if isinstance(error, RefusalError | InterruptionError):
        return error
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        message = f"answered {error.code} {shorten(error.reason, 100)}".strip()
        if error.code == 416:
            return ChangedError("has a shorter file than before", wait=0)
        return InterruptionError(message, _retry_after(error)) if error.code in PASSING else RefusalError(message)
    connecting = isinstance(error, urllib.error.URLError)
    if connecting and isinstance(error.reason, Exception):
        error = error.reason
    if isinstance(error, TimeoutError):
        return (
            UnreachableError("can't be reached, it times out")
            if connecting
            else InterruptionError("went silent (timed out)")
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusalError(
            f"its certificate could not be verified ({error.verify_message}): where a school or company inspects the "
            "traffic, set SSL_CERT_FILE to the file with its certificate; a Python from python.org on macOS wants its "
            "'Install Certificates.command' run once"
        )
    if isinstance(error, http.client.InvalidURL | ValueError):
        return RefusalError(f"the address can't be used ({error})")
    if isinstance(error, ConnectionRefusedError):
        return UnreachableError("refused the connection")
    if isinstance(error, ConnectionError | http.client.HTTPException | ssl.SSLError):
        return InterruptionError(f"broke the connection ({type(error).__name__})")
    if isinstance(error, OSError):  # no such host, no network, a proxy that wants a password
        reason = error.strerror or getattr(error, "reason", None) or error
        return UnreachableError(f"can't be reached ({reason})")
    return error


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Seconds to wait, from the header's number or date."""
    text = error.headers.get("Retry-After", "").strip()
    if (seconds := _number(text)) is not None:
        return float(seconds)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
