"""Chromium, headless, through the pipe of its own protocol: no driver, no port, no download.

For studies that measure in a browser, and for the tests that open pages in one.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE_S = 60.0
KEY_CODES = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
COMMAND = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu"),
    *("--no-sandbox", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars", "about:blank"),
)


def find() -> str | None:
    """The browser's path, where there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """An open tab, what it asked the network for, and what it complained of."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self._patience_s = PATIENCE_S
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str, *, width: int, phone: bool, scheme: str, still: bool = False) -> None:
        """Load a page at a width, in a color scheme; what happens meanwhile is in `events`.

        `still`: as somebody who asked for reduced motion.
        """
        self.events.clear()
        scale = 2 if phone else 1
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 800, "deviceScaleFactor": scale, "mobile": phone},
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=url)
        while not self.named("Page.loadEventFired"):
            self.events.append(self._next())

    def named(self, *methods: str) -> list[dict[str, Any]]:
        """The parameters of the events of these names."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for; what a page holds itself is not."""
        urls = [each["request"]["url"] for each in self.named("Network.requestWillBeSent")]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Everything in the console: errors, warnings, violations."""
        return self.named("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")

    def value(self, expression: str) -> Any:
        """What an expression is in the page, a promise's value once it is kept."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, condition: str, patience_s: float = PATIENCE_S) -> None:
        """Until a condition holds in the page, which may be too busy to answer meanwhile."""
        deadline = time.monotonic() + patience_s
        self._patience_s = max(patience_s, PATIENCE_S)
        while not self.value(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {patience_s:.0f} s: {condition}")
            time.sleep(0.05)
        self._patience_s = PATIENCE_S

    def choose_files(self, selector: str, files: Sequence[Path]) -> None:
        """Files into an `<input type=file>`, as its dialog does it."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call(
            "DOM.setFileInputFiles", nodeId=node, files=[str(file.resolve()) for file in files]
        )

    def keep_downloads(self, folder: Path) -> None:
        """Where what a page downloads goes from now on."""
        self.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def press(self, key: str, *, times: int = 1) -> None:
        """A key by its name: `Tab`, `ArrowLeft`, `Enter`."""
        extra = {"text": "\r"} if key == "Enter" else {}
        key_code = KEY_CODES[key]
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                self.call(
                    "Input.dispatchKeyEvent",
                    **{"type": kind, "key": key, "windowsVirtualKeyCode": key_code, **extra},
                )

    def names(self) -> list[tuple[str, str]]:
        """Role and accessible name of everything a screen reader meets, in its order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in nodes
            if not node["ignored"]
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG, not only what fits the window."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience_s
        while b"\0" not in self._buffer:
            ready, _, _ = select.select(
                [self._answers], [], [], max(0, deadline - time.monotonic())
            )
            chunk = os.read(self._answers, 1 << 16) if ready else b""
            if not chunk:
                raise TimeoutError("the browser said nothing more")
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def tab(browser: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser of our own, with a profile that nothing was in."""
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    # It reads from 3 and writes to 4, which may be anybody's here: copies well above first.
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 50) for each in (their_in, their_out)]

    def as_three_and_four() -> None:
        os.dup2(high[0], 3)
        os.dup2(high[1], 4)

    process = subprocess.Popen(
        [browser, *COMMAND, f"--user-data-dir={profile}"],
        preexec_fn=as_three_and_four,
        close_fds=False,
        stderr=subprocess.DEVNULL,
    )
    for each in (their_in, their_out, *high):
        os.close(each)
    try:
        yield Tab(our_out, our_in)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        os.close(our_out)
        os.close(our_in)
