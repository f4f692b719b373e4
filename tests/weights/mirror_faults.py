"""What may go wrong with an answer of the loopback mirror.

with Mirror({"124M/hparams.json": b"{}"}) as mirror:
    mirror.faults["124M/hparams.json"] = [cut(1), status(500)]    # the first and the second answer; then it is fine
"""

import hashlib
import re
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from tools.mirror import Fault, Handler, md5


def always(fault: Fault) -> Fault:
    def stays(handler: Handler, content: bytes) -> bool:
        return fault(handler, content)

    stays.stays = True
    return stays


def path_of(handler: Handler) -> str:
    return unquote(urlsplit(handler.path).path).strip("/")


def rest_of(handler: Handler, content: bytes) -> tuple[int, HTTPStatus, dict]:
    """Where the asked range begins, with the status and headers of a right answer to it."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    start = int(asked[1]) if asked else 0
    headers = {"ETag": f'"0x{hashlib.sha1(content).hexdigest()[:15].upper()}"', "Content-MD5": md5(content)}
    if not asked:
        return 0, HTTPStatus.OK, headers
    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
    return start, HTTPStatus.PARTIAL_CONTENT, headers


def cut(n_bytes: int) -> Fault:
    """Break the connection after that many bytes of the answer's body."""

    def fault(handler: Handler, content: bytes) -> bool:
        start, status, headers = rest_of(handler, content)
        handler.send_content(
            path_of(handler), content[start : start + n_bytes], headers, status, length=len(content) - start
        )
        handler.close_connection = True
        return True

    return fault


def stall(n_bytes: int) -> Fault:
    """Send that many bytes of the body and then nothing, with the connection open, until the mirror ends."""

    def fault(handler: Handler, content: bytes) -> bool:
        cut(n_bytes)(handler, content)
        handler.wfile.flush()
        handler.mirror.ended.wait(60)
        return True

    return fault


def status(code: int, **headers: str) -> Fault:
    def fault(handler: Handler, content: bytes) -> bool:
        handler.send_empty(HTTPStatus(code), {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return fault


def redirect(url: str) -> Fault:
    return status(302, Location=url)


def other(content: bytes, **headers: str) -> Fault:
    """Other content than stated: with the right ETag and MD5, if not given."""

    def fault(handler: Handler, right: bytes) -> bool:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send_content(path_of(handler), content, rest_of(handler, right)[2] | given)
        return True

    return fault


def claim(more: int) -> Fault:
    """State a length that is not that of what is sent: so many bytes more, or less."""

    def fault(handler: Handler, content: bytes) -> bool:
        handler.send_content(path_of(handler), content, rest_of(handler, content)[2], length=len(content) + more)
        handler.close_connection = True
        return True

    return fault
