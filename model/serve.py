"""The platform's invoke API: GET /health answers 200 once the model is loaded, POST /invoke runs a case.

The request has no body that matters: the case lies in the input folder, the results go to the output
folder. 201: done. Everything else is a failure, with a one-line reason in the answer and on stderr.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from model.errors import printable, reason_of
from model.volume import InputError

PORT = 4743
BODY_BYTES = 1 << 20
"""Longest request body that is read, to be ignored."""

Answer = tuple[int, str]


class InvokeServer(ThreadingHTTPServer):
    """Answers in threads of its own; the cases wait in `jobs` for the thread that calls `serve`.

    busy is held from the acceptance of a case until its answer is sent: one case at a time.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.ready = threading.Event()
        self.busy = threading.Lock()
        self.jobs: Queue[Future[Answer]] = Queue()
        super().__init__(("0.0.0.0", port), _Handler)

    def server_bind(self) -> None:
        """As the parent's, without the look-up of the machine's name: there may be no network."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]


class _Handler(BaseHTTPRequestHandler):
    server: InvokeServer
    timeout = 30
    path = ""  # of a request that cannot be read

    def do_GET(self) -> None:
        if self._path() != "/health":
            self._answer(404, "expected GET /health or POST /invoke")
        elif self.server.ready.is_set():
            self._answer(200, "ready")
        else:
            self._answer(503, "loading the model")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES:
            self._answer(413, f"expected a body of at most {BODY_BYTES} bytes, or none")
            return
        self.rfile.read(int(length))
        if self._path() != "/invoke":
            self._answer(404, "expected GET /health or POST /invoke")
        elif not self.server.ready.is_set():
            self._answer(503, "loading the model")
        elif not self.server.busy.acquire(blocking=False):
            self._answer(409, "another case is running")
        else:
            try:
                job: Future[Answer] = Future()
                self.server.jobs.put(job)
                self._answer(*job.result())
            finally:
                self.server.busy.release()

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode(errors="backslashreplace")
        with suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()

    def log_message(self, format: str, *values: object) -> None:
        """To stdout, without the many questions for health: on the platform, stderr is for the user."""
        if self._path() != "/health":
            print(printable(format % values), flush=True)


def serve(load: Callable[[], Callable[[], str]], port: int = PORT) -> None:
    """Answers requests until a signal ends it with SystemExit; returns then, unless a case is running.

    load: loads the model and returns the function that runs one case and says in one line what was
    found. Both run in the calling thread: only there, a signal interrupts them.
    """
    server = InvokeServer(port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"listening on port {server.server_port}", flush=True)
    job: Future[Answer] | None = None
    try:
        run = load()
        server.ready.set()
        print("ready", flush=True)
        while True:
            job = server.jobs.get()
            job.set_result(_run(run))
            job = None
    except SystemExit:
        if job is not None:
            raise
    finally:
        server.ready.clear()
        if job is not None and not job.done():
            job.set_result((500, "the server broke off"))
            server.busy.acquire(timeout=2)  # the answer is on its way
        server.server_close()


def _run(run: Callable[[], str]) -> Answer:
    try:
        text = run()
    except Exception as error:  # noqa: BLE001 - the next case may be a better one
        text = f"error: {reason_of(error)}"
        print(text, file=sys.stderr, flush=True)
        return (422 if isinstance(error, InputError) else 500), text
    print(text, flush=True)
    return 201, text
