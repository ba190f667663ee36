"""What a page of 40 runs with 1,000 logged points each costs: seconds to make, megabytes, seconds until it is drawn."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from benchmarks.measure import Contender, Line, median_interval, summary, take_turns
from embodkd.evaluation import Episode, Evaluation
from embodkd.evaluation.report import write_report

COMMAND = "python -m benchmarks report"
RUNS, POINTS = 40, 1000
KEYS = ("train/value_loss", "train/policy_loss", "train/entropy", "rollout/ep_rew_mean", "evaluation/return")
_PAINTED = """<script>new PerformanceObserver(list => {
  for (const entry of list.getEntriesByName("first-contentful-paint"))
    fetch("%s/" + entry.startTime, {mode: "no-cors"});
}).observe({type: "paint", buffered: true});</script>"""


def lines() -> list[Line]:
    """Making it, its size, and its first picture where there is a browser."""
    with tempfile.TemporaryDirectory() as folder:
        root, page = Path(folder) / "runs", Path(folder) / "report.html"
        for number in range(RUNS):
            _run(root / f"depth_cnn_peg_hole_run_{number}", number)
        samples = take_turns({"report": Contender(lambda: write_report(root, page))})
        made, interval = median_interval([sample.wall for sample in samples["report"]])
        size = page.stat().st_size / 1e6
        details = summary(samples, 1.0) | {"unit_of_rates": "pages", "runs": RUNS, "points": POINTS}
        found = [
            Line(f"page of {RUNS} runs", made, interval, "s", "<=", 5.0, COMMAND, details),
            Line(f"page of {RUNS} runs, size", size, (size, size), "MB", "<=", 3.0, COMMAND),
        ]
        if browser := shutil.which("chromium") or shutil.which("google-chrome"):
            seconds = [_first_picture(browser, page) for _ in range(5)]
            drawn, interval = median_interval(seconds)
            found.append(Line(f"page of {RUNS} runs, first picture", drawn, interval, "s", "<=", 1.0, COMMAND))
        return found


def _run(folder: Path, number: int) -> None:
    """A run as training leaves it, of which more succeed the later its number is."""
    folder.mkdir(parents=True)
    rows = [
        {"step": 1000 * n, "time_s": n, "evaluation/success": min(1.0, n * number / (POINTS * RUNS))}
        | {key: math.exp(-n / 300) * (1 + 0.3 * math.sin(n * k + number)) for k, key in enumerate(KEYS, 1)}
        for n in range(1, POINTS + 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "config.yaml").write_text("".join(f"key_{n}: {n}\n" for n in range(200)))
    command = ["embodkd", "train", "teacher", "task=peg_hole", f"seed={number}"]
    (folder / "manifest.json").write_text(json.dumps({"command": command, "seed": number, "minutes": 10.0}))
    outcomes = tuple(Episode(n, n < 5 * number, None if n < 5 * number else "dropped", 0.0, 30) for n in range(200))
    protocol = {"task": "peg_hole", "engine": "mujoco", "options": {"randomness": "low"}, "episodes": 200, "seed": 0}
    Evaluation(outcomes, protocol, {}).save(folder)


def _first_picture(browser: str, page: Path) -> float:
    """Seconds from asking for the page until the browser has drawn something of it, as the browser says."""
    said: list[float] = []
    there = threading.Event()

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.append(float(self.path[1:]) / 1000)
            self.send_response(204)
            self.end_headers()
            there.set()

        def log_message(self, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Listener) as server, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = page.read_text(encoding="utf-8").replace("<meta http-equiv", "<meta data-not", 1)
        copy = Path(profile) / "page.html"
        address = f"http://127.0.0.1:{server.server_port}"
        copy.write_text(text.replace("<head>", f"<head>{_PAINTED % address}", 1), encoding="utf-8")
        words = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        words += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        words += [f"--user-data-dir={profile}/profile", "--remote-debugging-port=0", copy.as_uri()]
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            if not there.wait(60):
                raise RuntimeError(f"{browser} drew nothing of {page} in a minute")
        finally:
            child.terminate()
            child.wait(30)
            server.shutdown()
    return said[0]
