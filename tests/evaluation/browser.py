"""Chromium without a window: what a script finds out on a page at some width, and the page on paper."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ.get("AXE", ".browser/node_modules/axe-core/axe.min.js"))
_WORDS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=20000"
)


def ask(page: Path, width: int, script: str, library: str = "", dark: bool = False) -> Any:
    """What the body of an async function returns on a page of this width, the page's own policy in force.

    The policy lets our scripts run by their hashes, as it does the page's own. ``library`` is run before.
    """
    there = page.with_name("asked")
    there.mkdir(exist_ok=True)
    told = f"(async () => {{{script}}})().then(found => parent.postMessage(JSON.stringify(found), '*'),"
    told += " error => parent.postMessage(JSON.stringify({error: String(error)}), '*'));"
    scripts = [text for text in (library, f"window.addEventListener('load', () => {{{told}}});") if text]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    head, rest = text.replace(policy[1], f"{policy[1]} {allowed}", 1).split("</head>", 1)
    inside = "".join(f"<script>{one}</script>" for one in scripts)
    (there / "page.html").write_text(f"{head}{inside}</head>{rest}", encoding="utf-8")
    listen = "addEventListener('message', e => document.body.setAttribute('data-found', e.data))"
    frame = f'<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>'
    (there / "frame.html").write_text(f"<!doctype html><body><script>{listen}</script>{frame}")
    more = ["--force-dark-mode"] if dark else []
    dom = _run([*more, f"--window-size={max(width, 500)},900", "--dump-dom", (there / "frame.html").as_uri()], there)
    found = re.search(r'data-found="([^"]*)"', dom)
    assert found is not None, "the page did not answer"
    return json.loads(unescape(found[1]))


def on_paper(page: Path) -> list[list[str]]:
    """The lines of each page as they come out of a printer."""
    pdf = page.with_suffix(".pdf")
    _run(["--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri()], page.parent)
    text = subprocess.run(["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True).stdout
    sheets = [[line.strip() for line in sheet.splitlines() if line.strip()] for sheet in text.split("\f")]
    return [sheet for sheet in sheets if sheet]


def _run(words: list[str], there: Path) -> str:
    assert BROWSER is not None
    profile = there / "profile"
    shutil.rmtree(profile, ignore_errors=True)
    command = [BROWSER, *_WORDS.split(), f"--user-data-dir={profile}", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
