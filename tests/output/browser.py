"""Headless Chromium, driven through its DevTools protocol on a pair of pipes: no port, no further package.

with Browser() as browser:
    tab = browser.open(page)               waits for the page, and then knows what it asked for and said
    tab.run("document.title")              the value of an expression
    tab.key("ArrowRight"), tab.click("#play"), tab.wait("condition")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
"""The program; None: there is none here."""

_OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",  # containers have none to offer, and the pages are our own
    "--disable-gpu",
    "--disable-dev-shm-usage",  # small in containers
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
    "--force-color-profile=srgb",
)
_START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for pipe, number in zip(pipes, (3, 4)):
    os.dup2(pipe, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Puts the pipes where the browser looks for them: it reads descriptor 3 and writes 4."""
_PATIENCE = 60.0


class BrowserError(Exception):
    """The browser went away, or an expression threw."""


class Browser:
    """One process for many tabs."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self._folder = tempfile.mkdtemp(prefix="browser-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        with open(Path(self._folder) / "log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _START,
                    str(theirs_in),
                    str(theirs_out),
                    CHROMIUM,
                    *_OPTIONS,
                    f"--user-data-dir={self._folder}/profile",
                ],
                pass_fds=(theirs_in, theirs_out),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number = b"", 0
        self._tabs: dict[str, Tab] = {}

    def open(
        self, page: Path, *, width: int = 1100, height: int = 800, dark: bool = False, phone: bool = False
    ) -> Tab:
        """A tab with the page in it, loaded. The one before is closed."""
        for old in self._tabs.values():
            old.call("Page.close")
        self._tabs.clear()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session)
        for domain in ("Page", "Runtime", "Network", "Log", "Security"):
            tab.call(f"{domain}.enable")
        scale = 2 if phone else 1
        tab.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=scale, mobile=phone,
        )  # fmt: skip
        theme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": theme}]
        features.append({"name": "prefers-reduced-motion", "value": "reduce"})
        tab.call("Emulation.setEmulatedMedia", features=features)
        tab.call("Page.navigate", url=page.resolve().as_uri())
        tab.wait("document.readyState === 'complete'")
        return tab

    def call(self, method: str, session: str | None = None, /, **parameters: object) -> dict[str, Any]:
        """The result of a command. Events that come first go to their tabs."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise BrowserError(f"{method}: {reply['error']}")
                result: dict[str, Any] = reply["result"]
                return result
            if "method" in reply and reply.get("sessionId") in self._tabs:
                self._tabs[reply["sessionId"]].take(reply["method"], reply["params"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._from, 1 << 20)
            if not chunk:
                log = (Path(self._folder) / "log").read_text("utf-8", "replace")
                raise BrowserError(f"the browser is gone: {log[-2000:]}")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def close(self) -> None:
        """Ends the process and removes what it kept."""
        with suppress(OSError, BrowserError):
            self.call("Browser.close")
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session
        self._requests: dict[str, str] = {}
        self.refused: list[str] = []
        """Addresses that the page wanted, and its policy did not let it ask for."""
        self.complaints: list[str] = []
        """Errors and warnings: of scripts, of the policy, of the network."""

    @property
    def requests(self) -> list[str]:
        """Addresses that the page asked for, itself first."""
        return [*self._requests.values()]

    def take(self, event: str, parameters: dict[str, Any]) -> None:
        """Something happened in it."""
        if event == "Network.requestWillBeSent":
            self._requests[parameters["requestId"]] = parameters["request"]["url"]
        elif event == "Network.loadingFailed" and parameters.get("blockedReason") == "csp":
            self.refused.append(self._requests.pop(parameters["requestId"]))
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(parameters["exceptionDetails"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.complaints.append(parameters["entry"]["text"])
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(parameters["args"]))

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command to this tab."""
        return self._browser.call(method, self._session, **parameters)

    def run(self, expression: str) -> Any:
        """Its value; promises are awaited."""
        done = self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if "exceptionDetails" in done:
            raise BrowserError(json.dumps(done["exceptionDetails"]))
        return done["result"].get("value")

    def wait(self, condition: str) -> Any:
        """The value of an expression, once it is true."""
        last = time.monotonic() + _PATIENCE
        while not (value := self.run(condition)):
            if time.monotonic() > last:
                raise BrowserError(f"it never came true: {condition}")
            time.sleep(0.02)
        return value

    def key(self, key: str, text: str = "", *, shift: bool = False) -> None:
        """Press a key and let it go."""
        code = {"Enter": 13, " ": 32, "Escape": 27}.get(key, 0)
        parameters = {"key": key, "modifiers": 8 if shift else 0, "windowsVirtualKeyCode": code}
        text = text or (key if len(key) == 1 else "\r" if key == "Enter" else "")
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **parameters)
        self.call("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def click(self, where: str, *, across: float = 0.5) -> None:
        """With the mouse, on what the selector or expression gives; `across`: how far from its left edge."""
        element = where if "(" in where else f"document.querySelector({json.dumps(where)})"
        box = self.run(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center'}});"
            " const b = e.getClientRects()[0]; return [b.x, b.y, b.width, b.height] })()"
        )
        at = {"x": box[0] + box[2] * across, "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **at)

    def screenshot(self, path: Path) -> None:
        """What is seen of it, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def pdf(self, path: Path) -> None:
        """As it is printed."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF")["data"]))
