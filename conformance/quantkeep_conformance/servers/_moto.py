"""moto's S3 behind HTTP as S3 speaks it: connections stay open, and each request is done whole.

moto's own server ends every connection after one answer, so that clients never meet one that was
cut while nobody used it, and looks through all of its services for each request.

Run as ``python -m quantkeep_conformance.servers._moto PORT``.
"""

import sys
from collections.abc import Mapping
from io import BytesIO
from threading import Lock
from typing import Any, Final

from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

_WITHOUT_BODY: Final = (204, 304)
_turn: Final = Lock()  # moto looks whether an object is there, and then writes: nobody in between


class _Handler(WSGIRequestHandler):
    """One connection, for as many requests as the client has."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer behind "100 Continue" waits for 40 ms

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        environ["wsgi.input"] = BytesIO(self._body(environ))
        with _turn:
            parts, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
            body = b"".join(parts)
        code = int(status.split()[0])
        if "Content-Length" not in headers and code not in _WITHOUT_BODY:
            headers["Content-Length"] = str(len(body))
        if self.close_connection:
            headers["Connection"] = "close"
        lines = (f"{name}: {value}\r\n" for name, value in headers)
        head = f"{self.protocol_version} {status}\r\n{''.join(lines)}\r\n".encode("latin-1")
        self.wfile.write(head if self.command == "HEAD" else head + body)

    def _body(self, environ: Mapping[str, Any]) -> bytes:
        """The whole of it, so that the next request begins where this one ends."""
        ends = "wsgi.input_terminated" in environ
        body: bytes = environ["wsgi.input"].read(
            -1 if ends else int(environ.get("CONTENT_LENGTH") or 0)
        )
        return body


def main(port: int) -> None:
    """Answer on *port* of the loopback, until killed."""
    app = create_backend_app("s3")
    app.debug = False
    make_server("127.0.0.1", port, app, threaded=True, request_handler=_Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
