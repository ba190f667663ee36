"""The page of a system's tables: every cell with its numbers, nothing where a row says nothing."""

import pytest

from embodkd.core.runs.files import write_json
from embodkd.evaluation.report import write_tables

PLAIN = {
    "setting": ["task", "seed"], "task": "peg", "modality": "state", "episodes": 200, "ci95": [0.4, 0.6],
    "command": "embodkd distill <student>", "commit": "abc", "minutes": 0.25,
}  # fmt: skip
BASE = [
    {**PLAIN, "cell": f"peg/{seed}/base", "seed": seed, "success_rate": won / 200, "successes": won}
    for seed, won in ((0, 90), (1, 110))
]
LEARNED = {
    **PLAIN, "cell": "peg/0/resip", "seed": 0, "success_rate": 0.95, "successes": 190, "memory_mib": 812,
    "parameters": 123456, "steps_to_success": 31.5, "curve": [[0, 0.1, 0.45], [64000, 2.0, 0.95]],
    "corrections": {"insert": {"mm": 4.25, "degrees": 1.5, "share": 0.4}},
}  # fmt: skip


def test_seeds_are_pooled_and_named_and_every_cell_has_its_cost(tmp_path):
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": [*BASE, LEARNED]}})
    page = write_tables(tmp_path / "toy.json")
    assert page == tmp_path / "toy.html"
    text = page.read_text()
    assert "base: 50\u00a0%, 95 % interval 45.1\u00a0% to 54.9\u00a0%" in text and "by seed: 45.0, 55.0" in text
    for said in ("64,000", "812", "123,456", "31.5", "4.2", "&lt;student&gt;", "insert"):
        assert said in text
    # one curve by steps and one by minutes
    assert text.count('<svg class="curve"') == 2


def test_stale_rows_are_starred_and_listed_with_their_reason(tmp_path):
    rows = [{**BASE[0], "stale": "other sources"}, BASE[1]]
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": rows}})
    text = write_tables(tmp_path / "toy.json").read_text()
    assert "by seed: 45.0*, 55.0" in text and "1 of 2 rows" in text
    assert '<th scope="row">peg/0/base</th><td>other sources</td>' in text and "1 stale" in text


def test_films_in_the_run_folders_are_inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = {**LEARNED, "command": "embodkd train residual base=x run=runs/resip"}
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": [row]}})
    (tmp_path / "runs/resip/videos").mkdir(parents=True)
    (tmp_path / "runs/resip/videos/._beside_base.mp4").write_bytes(b"hidden")
    assert "<video" not in write_tables("toy.json").read_text()
    (tmp_path / "runs/resip/videos/beside_base.mp4").write_bytes(b"film")
    text = write_tables("toy.json").read_text()
    assert "data:video/mp4;base64,ZmlsbQ==" in text and "peg/0/resip: beside_base.mp4" in text
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for run in ("../runs/resip", str(tmp_path / "runs/resip")):
        row["command"] = f"embodkd train residual base=x run={run}"
        write_json(tmp_path / "elsewhere/toy.json", {"slug": "toy", "tables": {"main": [row]}})
        assert "<video" not in write_tables("toy.json").read_text(), "a table may not name any folder of the disk"


def test_parts_without_numbers_are_left_out(tmp_path):
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {"main": BASE}})
    text = write_tables(tmp_path / "toy.json", tmp_path / "other" / "page.html").read_text()
    assert "Learning" not in text and "Stale" not in text and "moves its base" not in text and "peg/1/base" in text


def test_a_file_of_another_kind_is_refused(tmp_path):
    write_json(tmp_path / "toy.json", {"slug": "toy", "tables": {}})
    with pytest.raises(ValueError, match="no rows"):
        write_tables(tmp_path / "toy.json")
    with pytest.raises(ValueError, match="no such file"):
        write_tables(tmp_path / "nowhere.json")
