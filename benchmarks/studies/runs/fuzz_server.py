"""Damaged and odd requests to the server.

`python -m studies.runs.fuzz_server FILE [COUNT] [SEED]`

Four clients send what is drawn for each number: forms of every kind with odd parameters and damaged
pictures, bodies that are cut, heads that are no HTTP. Every answer is HTTP with a known status, or
the connection ends; the server goes on, writes no traceback, and its memory stays where it was.
Goes into FILE, that of `studies.runs.fuzz`, as `server`.
"""

from __future__ import annotations

import base64
import json
import socket
import sys
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

from birefnet_apps.serve.apis import rembg, removebg
from birefnet_benchmarks.bench.environment import read_environment
from birefnet_benchmarks.bench.results import write_results

from studies.runs.fuzz_cases import ODD_VALUES, mutated, pictures
from studies.service.serve_bad_paths import flatness, rss_at_rest
from studies.service.serve_processes import Plan, Server, ours

COUNT = 5000
CLIENTS = 4
ROUNDS = 50
TIMEOUT_S = 3
"""Of the server, for a body and for an answer."""
HANG_S = 60
"""How long a client waits before it speaks of a hang."""
STATUSES = frozenset(
    {200, 400, 403, 404, 405, 408, 411, 413, 414, 415, 417, 422, 429, 431, 501, 503}
)
PATHS = (
    "/v1.0/removebg",
    "/api/remove",
    "/v1.0/account",
    "/",
    "/health",
    "/%00",
    "/v1.0/removebg/",
)
HEADS = (
    *("Content-Length: -1", "Content-Length: 1e9", "Content-Length: 5\r\nContent-Length: 6"),
    *("Transfer-Encoding: chunked", "Transfer-Encoding: gzip", "Expect: 100-continue"),
    *("Host: \xff", "Accept: a;q=b, */*;q=", "X-Api-Key: " + "k" * 9000, "Content-Type: \t;;="),
    *("Connection: Upgrade\r\nUpgrade: websocket", "Cookie: " + "a=b;" * 300, "Range: bytes=0-"),
)


def parameters(random: Random) -> dict[str, str]:
    """Some parameters of both APIs, most with values that they don't expect."""
    names = [*removebg.PARAMETERS, *rembg.parameters("nano")]
    return {
        random.choice(names): str(random.choice(ODD_VALUES)) for _ in range(random.randrange(4))
    }


def picture(random: Random) -> bytes:
    """A picture, most often a damaged one."""
    _, content = random.choice(pictures())
    return mutated(random, content) if random.random() < 0.7 else content


def multipart(random: Random) -> tuple[str, bytes]:
    """A form in parts, some of it damaged."""
    mark = random.choice(["9b1d", "9b1d", "a" * 70, "--", "9b 1d"])
    name = random.choice(["image_file", "image_file", "file", "bg_image_file", "", "image_url"])
    fields = parameters(random).items()
    parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}'.encode() for n, v in fields]
    head = f'Content-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'.encode()
    parts.insert(random.randrange(len(parts) + 1), head + picture(random))
    body = b"".join(b"--" + mark.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    body += b"--" + mark.encode() + b"--\r\n"
    return f"multipart/form-data; boundary={mark}", body


def urlencoded(random: Random) -> tuple[str, bytes]:
    """A form as browsers' plain ones are."""
    fields = {**parameters(random), "image_file_b64": base64.b64encode(picture(random)).decode()}
    text = "&".join(f"{quote(name)}={quote(value)}" for name, value in fields.items())
    return "application/x-www-form-urlencoded", text.encode()


def as_json(random: Random) -> tuple[str, bytes]:
    """JSON: of fields, nested without end, or of numbers."""
    fields: dict[str, Any] = {**parameters(random)}
    fields["image_file_b64"] = base64.b64encode(picture(random)).decode()
    fields["roi"] = random.choice([1, None, [], {}, "0 0 1 1", 1e400])
    odd = (b"[" * 50_000, b"1," * 50_000, b"NaN", b"{}", b'{"a":' * 3000)
    return "application/json", random.choice([*odd, *[json.dumps(fields).encode()] * 4])


def raw(random: Random) -> bytes:
    """A request, whole, as the bytes that are sent."""
    kind, body = random.choice([multipart, multipart, urlencoded, as_json])(random)
    if random.random() < 0.4:
        body = mutated(random, body)
    method = random.choice([*["POST"] * 8, "GET", "PUT", "OPTIONS", "HEAD", "\x00", "PRI"])
    path = random.choice([*[PATHS[0]] * 5, *[PATHS[1]] * 3, *PATHS])
    lines = [f"{method} {path} HTTP/1.{random.choice([1, 1, 1, 0, 2])}", "Host: 127.0.0.1"]
    lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += ["Connection: close"]
    if random.random() < 0.3:
        lines.insert(random.randrange(1, len(lines) + 1), random.choice(HEADS))
    head = "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n"
    if random.random() < 0.1:
        head = mutated(random, head)
    sent = head + body
    return sent[: random.randrange(len(sent))] if random.random() < 0.1 else sent


def ask(server: Server, content: bytes, *, half_close: bool) -> str:
    """Send a request and read what comes: its status, or how the connection ended."""
    with socket.create_connection(("127.0.0.1", server.target.port), HANG_S) as connection:
        try:
            connection.sendall(content)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(1 << 16):
                answer = answer[:10_000] + piece
        except TimeoutError:
            return "hang"
        except OSError:
            return "connection ended"
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if not answer:
        return "connection ended"
    words = answer.split(b" ", 2)
    if not answer.startswith(b"HTTP/1.") or len(words) < 3 or not words[1].isdigit():
        return "not HTTP"
    status = int(words[1])
    return str(status) if status in STATUSES else f"unexpected {status}"


def run(server: Server, count: int, seed: int) -> dict[str, Any]:
    """All requests, in rounds, after each of which the memory at rest is read."""
    outcomes: Counter[str] = Counter()
    findings: list[dict[str, Any]] = []
    samples: list[int] = []
    lock = threading.Lock()

    def client(numbers: range) -> None:
        for number in numbers:
            random = Random(f"{seed} {number}")
            content = raw(random)
            outcome = ask(server, content, half_close=random.random() < 0.3)
            with lock:
                outcomes[outcome] += 1
                if not outcome.isdigit() and outcome != "connection ended":
                    findings.append({"number": number, "outcome": outcome})

    each = count // ROUNDS
    for first in range(0, each * ROUNDS, each):
        numbers = [range(first + n, first + each, CLIENTS) for n in range(CLIENTS)]
        clients = [threading.Thread(target=client, args=(some,)) for some in numbers]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
        samples.append(rss_at_rest(server))
        print(f"{first + each} of {count}: {dict(outcomes)}", file=sys.stderr, flush=True)
    log = server.log.read_text(errors="replace")
    return {
        "requests": sum(outcomes.values()),
        "seed": seed,
        "outcomes": dict(outcomes.most_common()),
        "findings": findings,
        "tracebacks": log.count("Traceback"),
        "alive": server.process.poll() is None and server.target.get("/health")[0] == 200,
        "peak_rss_bytes": server.peak_rss_bytes(),
        **flatness(samples),
    }


def main(arguments: list[str]) -> None:
    """Run all and add it to the results file."""
    file = Path(arguments[0])
    count = int(arguments[1]) if len(arguments) > 1 else COUNT
    seed = int(arguments[2]) if len(arguments) > 2 else 0
    plan = Plan(Path("nano"), 160, 1, 0, count, Path())
    bounds = ("--timeout", str(TIMEOUT_S), "--max-upload", "5000000", "--keep-alive", "1")
    with ours(plan, "nano", 160, *bounds) as server:
        measured = run(server, count, seed)
        text = server.log.read_text(errors="replace")
        print(text if measured["tracebacks"] else "", file=sys.stderr)
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    results["server"] = {**measured, "environment": asdict(read_environment())}
    write_results(file, results)
    print(json.dumps({**measured, "findings": measured["findings"][:20]}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
