"""A browser that opens pages as people see them: Chromium, told by its DevTools protocol.

Through a pipe, so that it needs no driver of the same version, no port and no further package:
https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

__all__ = ["Browser", "browser_path"]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def browser_path() -> str | None:
    """Where a browser of this kind is installed; None if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """One window; it ends with the `with` block."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        own_in, its_out = os.pipe()
        its_in, own_out = os.pipe()
        # The protocol is spoken on the files 3 and 4.
        words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{its_in} 4>&{its_out}', "bash", path, *words],
            pass_fds=(its_in, its_out),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        self._to, self._from = os.fdopen(own_out, "wb"), os.fdopen(own_in, "rb")
        self._count, self._session = 0, ""
        self.said: list[str] = []  # Exceptions, and what the page's security refused.
        self._buffer = b""
        pages = self._send("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        told = self._send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = told["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._to.close()  # It ends with its pipe.
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._from.close()
        shutil.rmtree(self._folder.name, ignore_errors=True)

    def open(
        self, path: pathlib.Path, hash: str = "", *, width: int = 1280, dark: bool = False
    ) -> None:
        """Opens a file in a window of this width, and waits until it is there."""
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._send("Emulation.setEmulatedMedia", features=scheme)
        mobile = {"deviceScaleFactor": 1, "mobile": width < 600}
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=900, **mobile)
        self._send("Page.navigate", url="about:blank")
        self.said.clear()
        self._send("Page.navigate", url=f"{path.as_uri()}{hash}")
        self.value(
            "new Promise(done => document.readyState === 'complete' ? done()"
            " : addEventListener('load', () => done()))"
        )

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page; of a promise, what it comes to."""
        told = self._send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(json.dumps(told["exceptionDetails"], indent=1))
        return told["result"].get("value")

    def click(self, selector: str) -> None:
        """Clicks in the middle of what a CSS selector names, as a mouse does."""
        x, y = self.value(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            " found.scrollIntoView({block: 'center'}); const at = found.getBoundingClientRect();"
            " return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        where = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, **where)

    def type(self, selector: str, text: str) -> None:
        """Types a text into an input, in place of what is there, and waits until it is heard."""
        self.value(f"document.querySelector({json.dumps(selector)}).select()")
        self._send("Input.insertText", text=text)
        self.value("new Promise(done => setTimeout(done, 300))")

    def choose(self, selector: str, value: str) -> None:
        """Chooses one of a list."""
        self.value(
            f"(() => {{ const found = document.querySelector({json.dumps(selector)});"
            f" found.value = {json.dumps(value)}; found.dispatchEvent(new Event('input')); }})()"
        )

    def press(self, key: str) -> None:
        """Presses a key, such as Tab or Enter."""
        text = {"text": "\r"} if key == "Enter" else {}
        codes = {"Enter": 13, "Tab": 9}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self._send("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self._send("Input.dispatchKeyEvent", type="keyUp", **about)

    def picture(self, path: pathlib.Path, *, height: int | None = None) -> None:
        """Writes what is seen as a PNG; the whole page by default."""
        size = self._send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
        told = self._send(
            "Page.captureScreenshot", clip={**clip, "scale": 1}, captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(told["data"]))

    def _send(self, method: str, **words: Any) -> dict[str, Any]:
        self._count += 1
        about: dict[str, Any] = {"id": self._count, "method": method, "params": words}
        if self._session:
            about["sessionId"] = self._session
        self._to.write(json.dumps(about).encode() + b"\0")
        self._to.flush()
        while (told := self._receive()).get("id") != self._count:
            self._hear(told)
        if "error" in told:
            raise AssertionError(f"{method}: {told['error']}")
        return told["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            block = os.read(self._from.fileno(), 1 << 20)
            if not block:
                raise AssertionError("the browser has ended")
            self._buffer += block
        line, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(line)

    def _hear(self, told: dict[str, Any]) -> None:
        if told.get("method") == "Runtime.exceptionThrown":
            self.said.append(json.dumps(told["params"]["exceptionDetails"]))
        if told.get("method") == "Log.entryAdded":
            self.said.append(told["params"]["entry"]["text"])
