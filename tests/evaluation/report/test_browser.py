"""A report in a browser: what strangers wrote into run folders is text, none of it runs or asks the network."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coin import Coin, guesser

from embodkd.evaluation import evaluate
from embodkd.evaluation.report import write_report
from embodkd.evaluation.samples.kept import Sample, Samples, Shown, samples_of
from embodkd.evaluation.samples.media import png, wav

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OWN = "document.documentElement.setAttribute('owned', 1)"
HARMLESS = "plain"


def payloads(server: str) -> dict[str, str]:
    return {
        "element": f"<script>{OWN}</script><img src={server}/a><svg onload={OWN}>",
        "attribute": f'" onerror="{OWN}" autofocus onfocus="{OWN}" x="',
        "quote": f"' onmouseover='{OWN}' y='",
        "end": f"</pre></style></title></summary>--><script>{OWN}</script>",
        "address": f"javascript:{OWN}",
        "data": f"data:text/html,<script>{OWN}</script>",
        "style": f"red; background: url({server}/b)",
        "template": "{{ 7 * 191 }}{% raw %}",
    }


class Structure(HTMLParser):
    """The elements of a page with the names of their attributes, and where any of these points."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        for name, value in attrs:
            own = (value or "").startswith(
                ("data:image/png;base64,", "data:video/mp4;base64,", "data:audio/wav;base64,")
            )
            assert own or name not in ("src", "href", "action", "poster")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    return evaluate(guesser(), Coin(4), episodes=6, quiet=True).as_dict()


def report(root: Path, stored: dict[str, Any], text: str) -> str:
    """The page of two runs in which `text` stands wherever one can write: names, groups, settings, curves, failures,
    samples."""
    name = text.replace("/", "\u2215")[:80]
    for run in (root / "student", root / f"{name}.run"):
        (run / "policy").mkdir(parents=True)
        (run / "videos").mkdir()
        (run / "videos" / f"{name}.mp4").write_bytes(b"x")
        groups = {text: {"shape": [3], "privileged": False}}
        (run / "policy/config.json").write_text(json.dumps({"groups": groups, "lineage": {}}))
        (run / "config.yaml").write_text(f"task: {text}\n")
        facts = {"command": ["embodkd", text], "minutes": 1.0, "seed": text, "git_commit": text, "device": text}
        (run / "manifest.json").write_text(json.dumps({**facts, "versions": {text: text}}))
        (run / "metrics.jsonl").write_text("".join(json.dumps({"step": n, f"loss {text}": n}) + "\n" for n in (1, 2)))
        judged = copy.deepcopy(stored)
        judged["protocol"] |= {"unit": text, "task": text, "engine": text, "options": {"randomness": text}}
        judged["manifest"] |= {"renderer": text, "beware": [text], "reads": {text: "deployable"}}
        for episode in judged["per_episode"]:
            episode["failure"] = None if episode["success"] else text
        (run / "evaluation.json").write_text(json.dumps(judged))
        both = Shown(text, png(np.zeros((2, 2), np.uint8)), wav(np.zeros(9), 8000))
        rows = (Sample(both, both, both, True), Sample(Shown(f"{text}2"), Shown(text)))
        Samples(text, rows, judged["manifest"]["weights_sha256"]).save(samples_of(run / "evaluation.json"))
        row = {"group": text, "way": text, "verdict": text, "success_rate": 0.5, "ci95": [0.1, 0.9]}
        intact = {"success_rate": 0.5, "ci95": [0.1, 0.9], "successes": 1, "episodes": 2, "failures": {text: 1}}
        spoiled = {
            "intact": intact,
            "rows": [{**row, "successes": 1, "episodes": 2, "failures": {text: 1}}],
            "unused": [text],
            "protocol": judged["protocol"],
        }
        (run / "ablation.json").write_text(json.dumps(spoiled))
    return write_report(root).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", payloads(""))
def test_a_hostile_text_adds_no_element_and_no_attribute(kind: str, tmp_path: Path, stored: dict[str, Any]) -> None:
    text = payloads("http://stranger")[kind]
    plain = Structure(report(tmp_path / "plain", stored, HARMLESS))
    page = Structure(report(tmp_path / "hostile", stored, text))
    assert page.elements == plain.elements
    assert page.text.count(text) > 30, "it is shown as it was written"
    assert page.elements[1:3] == [("head", ()), ("meta", ("charset",))]
    assert page.elements[3] == ("meta", ("http-equiv", "content")), "the policy stands before whatever is not ours"


def test_a_page_holds_no_file_that_a_link_in_a_run_points_at(tmp_path: Path, stored: dict[str, Any]) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"a secret of the disk": 1}\n')
    report(tmp_path / "runs", stored, HARMLESS)
    for file in (tmp_path / "runs").glob("*/*"):
        if file.name in ("config.yaml", "manifest.json", "metrics.jsonl", "ablation.json"):
            file.unlink()
            file.symlink_to(secret)
    page = write_report(tmp_path / "runs").read_text(encoding="utf-8")
    assert "secret of the disk" not in page


class Visitors:
    """A server that only notes who comes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_error(404)

            def log_message(self, *args: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def visitors() -> Iterator[Visitors]:
    found = Visitors()
    yield found
    found.server.shutdown()
    found.server.server_close()


def shown(page: Path, profile: Path) -> str:
    """The page as a browser holds it after its scripts ran."""
    assert BROWSER is not None
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=2000"]
    words += ["--disable-background-networking", f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    return subprocess.run(words, capture_output=True, text=True, timeout=240, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="no browser here: apt-get install chromium")
def test_in_a_browser_nothing_of_theirs_runs_and_nobody_is_asked(
    tmp_path: Path, stored: dict[str, Any], visitors: Visitors
) -> None:
    texts = payloads(visitors.address)
    raw = f'<script>{OWN}</script><img src="{visitors.address}/raw"><a id="here">{texts["element"]}</a>'
    (tmp_path / "bare.html").write_text(f"<!doctype html><title>bare</title>{raw}")
    assert "owned" in shown(tmp_path / "bare.html", tmp_path / "profile").split(">")[1], "a script would be seen"
    assert visitors.seen, "and so would a request"
    visitors.seen.clear()
    page = report(tmp_path / "runs", stored, "".join(texts.values()))
    # Even if a text came through as it is, the page's own policy would hold it.
    (tmp_path / "report.html").write_text(page.replace("<main>", f"<main>{raw}"), encoding="utf-8")
    dom = shown(tmp_path / "report.html", tmp_path / "profile")
    assert 'id="here"' in dom and "<audio" in dom and "owned" not in dom.split(">")[1]
    assert not visitors.seen
