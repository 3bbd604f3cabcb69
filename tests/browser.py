"""A page in headless Chromium, by its own protocol over a pipe: what it logged, asked for and drew."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

Json = dict[str, Any]
SECONDS = 120


class Page:
    """A page that was opened: its complaints, the addresses that it asked for, and what its scripts return."""

    def __init__(self, to: int, answers: int) -> None:
        self.to, self.answers, self.last, self.read = to, answers, 0, b""
        self.session: str | None = None
        self.loaded = False
        self.complaints: list[str] = []
        self.requests: list[str] = []

    def _next(self, until: float) -> Json:
        while b"\0" not in self.read:
            ready, _, _ = select.select([self.answers], [], [], max(0, until - time.monotonic()))
            part = os.read(self.answers, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("Chromium does not answer")
            self.read += part
        message, self.read = self.read.split(b"\0", 1)
        answer: Json = json.loads(message)
        self._note(answer.get("method"), answer.get("params", {}))
        return answer

    def _note(self, event: str | None, values: Json) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(str(values["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.complaints.append(str(values["args"]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.complaints.append(f"{values['entry']['text']} {values['entry'].get('url', '')}")
        elif event == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif event == "Page.loadEventFired":
            self.loaded = True

    def call(self, method: str, **values: Any) -> Json:
        """Return what a command of the protocol answers."""
        self.last += 1
        command: Json = {"id": self.last, "method": method, "params": values}
        if self.session:
            command["sessionId"] = self.session
        os.write(self.to, json.dumps(command).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while (answer := self._next(until)).get("id") != self.last:
            pass
        assert "error" not in answer, answer
        return dict(answer["result"])

    def value(self, script: str) -> Any:
        """Return what a script is worth, once it is settled."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def open(self, address: str) -> None:
        """Open an address, and wait until its scripts have drawn every plot."""
        self.call("Page.navigate", url=address)
        until = time.monotonic() + SECONDS
        while not self.loaded:
            self._next(until)
        # Plots are drawn by timers after the page has loaded.
        script = "[...document.querySelectorAll('.hc-plot.not_rendered')].filter(plot => plot.offsetParent).length"
        while self.value(script) and time.monotonic() < until:
            time.sleep(0.2)
        self.value("new Promise(done => setTimeout(done, 500))")

    def screenshot(self, path: Path) -> None:
        """Save the whole page as an image."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def opened(page: Path, profile: Path, width: int = 1400, theme: str = "light") -> Iterator[Page]:
    """Open a file at a width and in a theme; skip the test where there is no Chromium."""
    browser = shutil.which("chromium")
    if not browser:
        pytest.skip("chromium is not on PATH, so the page is not opened in a browser")
    commands, to = os.pipe()
    answers, into = os.pipe()
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", "about:blank"]

    def pipes() -> None:
        # The browser reads commands from file 3 and answers on 4.
        a, b = os.dup(commands), os.dup(into)
        os.dup2(a, 3)
        os.dup2(b, 4)

    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, close_fds=False, preexec_fn=pipes)
    try:
        one = Page(to, answers)
        targets = one.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        one.session = one.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            one.call(f"{domain}.enable")
        one.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=1000, deviceScaleFactor=1, mobile=width < 600
        )
        one.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        one.open(page.as_uri())
        yield one
    finally:
        process.kill()
        process.wait()
        for end in (commands, to, answers, into):
            os.close(end)
