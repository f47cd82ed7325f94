"""A server that speaks OpenAI's API on localhost, and misbehaves as a test wants it to."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any


@dataclasses.dataclass
class Asked:
    """A request."""

    path: str  # Behind /v1/.
    body: dict[str, Any]
    headers: dict[str, str]
    times: int  # Times that this text was asked so far, this one included.

    @property
    def prompt(self) -> str:
        if self.path == "completions":
            return self.body["prompt"]
        return self.body["messages"][0]["content"]

    @property
    def text(self) -> str:
        """What a user asked, within our prompt; all of it, if it is no prompt of ours."""
        found = re.search("<request>\n(.*)\n</request>", self.prompt, re.S)
        return self.prompt if found is None else found[1]

    @property
    def said(self) -> str:
        return re.search("<answer>\n(.*)\n</answer>", self.prompt, re.S)[1]

    @property
    def kind(self) -> str:
        """What it asks for."""
        if "<answer>" in self.prompt:
            return "quality"
        return "complexity" if '{"score"' in self.prompt else "tags"


@dataclasses.dataclass
class Said:
    """A reply."""

    body: str | bytes = ""
    status: int = 200
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    cut_at: int | None = None  # Bytes after which the line is cut.
    before: float = 0.0  # Seconds of silence.
    between: float = 0.0  # Seconds between two bytes.

    @property
    def is_good(self) -> bool:
        return self.status == 200 and self.cut_at is None


def chat(content: Any, **message: Any) -> Said:
    """The reply that says this."""
    choice = {"message": {"content": content, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 7}
    return Said(json.dumps({"choices": [choice], "usage": usage}))


def good(asked: Asked) -> Said:
    """What a model says that does as it is told: the first words, or how many there are."""
    words = (asked.said if asked.kind == "quality" else asked.text).split()
    if asked.kind == "tags":
        return chat(json.dumps({"tags": words[:2]}))
    return chat(json.dumps({"score": min(len(words), 10)}))


def error(status: int, message: str, **headers: str) -> Said:
    body = json.dumps({"error": {"message": message}})
    return Said(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class Server:
    """The server; what it was asked, and how often it gave each whole answer."""

    def __init__(self) -> None:
        self.behave: Callable[[Asked], Said] = good
        self.greet: Callable[[], Said] = lambda: Said('{"data": [{"id": "small"}]}')
        self.asked: list[Asked] = []
        self.answered: collections.Counter[str] = collections.Counter()
        self.most_at_once = 0
        self.url = ""

    def texts(self) -> collections.Counter[str]:
        return collections.Counter(one.text for one in self.asked)


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs within the block."""
    found = Server()
    lock = threading.Lock()
    times: collections.Counter[str] = collections.Counter()
    at_once = 0

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._say(found.greet())

        def do_POST(self) -> None:
            nonlocal at_once
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.path.removeprefix("/v1/"), body, headers, 0)
            with lock:
                times[asked.prompt] += 1
                asked.times = times[asked.prompt]
                found.asked.append(asked)
                at_once += 1
                found.most_at_once = max(found.most_at_once, at_once)
            try:
                said = found.behave(asked)
                if self._say(said) and said.is_good:
                    with lock:
                        found.answered[asked.prompt] += 1
            finally:
                with lock:
                    at_once -= 1

        def _say(self, said: Said) -> bool:
            body = said.body.encode() if isinstance(said.body, str) else said.body
            time.sleep(said.before)
            try:
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if said.between:
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        self.wfile.flush()
                        time.sleep(said.between)
                else:
                    self.wfile.write(body[: said.cut_at])
                self.wfile.flush()
            except OSError:  # Nobody waits for it any more.
                self.close_connection = True
                return False
            if said.cut_at is not None:
                self.close_connection = True
            return True

    class Threads(http.server.ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass

    with Threads(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
