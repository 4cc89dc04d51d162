# SPDX-License-Identifier: GPL-2.0-only
"""Serves random bytes over HTTP on the host's loopback device, which a guest's user network reaches as
10.0.2.2. If a guest receives every byte, the DMA of its network card is correct."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler
from http.server import ThreadingHTTPServer


class FileServer:
    """A server that runs in a `with` block. Every path has the same file."""

    def __init__(self, mebibytes: int) -> None:
        content = os.urandom(mebibytes << 20)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                try:
                    self.wfile.write(content)
                except OSError:
                    # The guest was killed while it read, which is a test.
                    pass

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.settings = {
            "SERVED_PORT": str(self._server.server_port),
            "SERVED_BYTES": str(len(content)),
            "SERVED_SHA256": hashlib.sha256(content).hexdigest(),
        }

    def __enter__(self) -> "FileServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
