"""A page from its template and what it shows."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from embodkd.core.runs.files import write_atomic
from embodkd.core.runs.reading import check_file, read_bytes

_LARGEST_FILM = 25_000_000


def write_page(out: Path, template: str, **shown: Any) -> Path:
    """Fill `template` with what is `shown` (plain text is escaped) and write the page whole or not at all.

    The script that sorts and filters its tables is the only one that its own policy lets run; without it nothing is
    missing.
    """
    from markupsafe import Markup

    import embodkd

    date = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    script = Path(__file__).with_name("table.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    about = {"version": embodkd.__version__, "date": date, "script": Markup(script), "digest": Markup(digest)}
    page = _environment().get_template(template).render(**about, **shown)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, page)
    return out


@cache
def _environment() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("embodkd.evaluation", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "listed": listed, "base64": base64_of}
    return environment


def percent(share: float) -> str:
    """0.985 -> "98.5 %" (with a space that does not break), whole numbers without a decimal."""
    value = 100 * share
    return f"{value:.0f}\u00a0%" if abs(value - round(value)) < 0.05 else f"{value:.1f}\u00a0%"


def listed(names: Sequence[str]) -> str:
    """ "one, two and three"."""
    *others, last = list(names) or [""]
    return " and ".join(filter(None, [", ".join(others), last]))


def base64_of(content: bytes) -> str:
    """As it stands in a page."""
    return base64.b64encode(content).decode()


def picture(file: Path | None) -> str:
    """A PNG in base64; "" without one, or if it is too large to be inside the page."""
    if file is None or file.stat().st_size > _LARGEST_FILM:
        return ""
    return base64_of(read_bytes(file))


def films(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Each film by its name, in base64, with its first frame for paper; one that is too large only by its size."""
    found = []
    for name, file in files.items():
        check_file(file)
        size = file.stat().st_size
        data = base64_of(read_bytes(file)) if size <= _LARGEST_FILM else ""
        still = _first_frame(file) if data else ""
        found.append({"name": name, "data": data, "still": still, "megabytes": f"{size / 1e6:.0f}"})
    return found


def _first_frame(file: Path) -> str:
    """A PNG in base64; "" if it is no film that can be read."""
    import av

    try:
        with av.open(str(file)) as film:
            image = next(film.decode(video=0)).to_image()
    except (av.error.FFmpegError, IndexError, StopIteration):
        return ""
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    return base64_of(content.getvalue())
