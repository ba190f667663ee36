"""Pairs of the hub: rows of parquet files as they are, cut to a square, known by their bytes; mistakes by their row."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from embodkd.data import make_data

pyarrow = pytest.importorskip("pyarrow", reason="extra vision is not installed")
pytest.importorskip("tokenizers", reason="extra language is not installed")


def png(colour, size=(20, 12)):
    """A picture whose left and right quarters are black."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    edge = (size[0] - size[1]) // 2
    pixels[:, edge : size[0] - edge] = colour
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write(folder, name, colours, texts, **columns):
    from pyarrow import parquet

    content = {"image": [{"bytes": png(colour), "path": None} for colour in colours], "caption": texts}
    parquet.write_table(pyarrow.table({**content, **columns}), folder / f"{name}.parquet")


@pytest.fixture
def repo(tmp_path):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set", "train", [(k, 0, 0) for k in range(1, 11)], [f"Number  {k} Thing" for k in range(1, 11)])
    write(tmp_path / "set", "test", [(k, 9, 0) for k in range(1, 5)], [[f"number {k}", "another"] for k in range(1, 5)])
    return tmp_path / "set"


def get(repo, **more):
    return make_data(
        "hub_pairs", repo=str(repo), **{"size": 8, "length": 12, "vocabulary": 300, "validation": 3, **more}
    )


def test_rows_keep_their_text_and_pictures_are_the_middle_square(repo):
    data = get(repo)
    assert {name: part.size() for name, part in data.parts().items()} == {"train": 7, "validation": 3, "test": 4}
    for name, part in data.parts().items():
        for image, tokens in zip(part.fields["image"], part.fields["tokens"], strict=True):
            number = round(image[0, 4, 4].item() * 255)
            said = f"number {number}" + ("" if name == "test" else " thing")
            assert data.spelling.decode(tokens.tolist()) == said
            torch.testing.assert_close(image[0], torch.full((8, 8), number / 255), atol=1e-6, rtol=0)


def test_pictures_are_known_by_their_bytes_whatever_seed_cut_them(repo):
    one, other = get(repo), get(repo, seed=1)

    def known(data):
        return {
            item: tuple(image.flatten().tolist())
            for name, part in data.parts().items()
            for item, image in zip(data.items.rows[name].tolist(), part.fields["image"], strict=True)
        }

    assert known(one) == known(other) and len(known(one)) == 14
    assert one.items.rows["validation"].tolist() != other.items.rows["validation"].tolist()


def test_blank_data_have_the_shape_of_real_ones():
    data = make_data("hub_pairs", blank=True, size=16, length=9, vocabulary=400)
    assert data.facts() == {"shape": (3, 16, 16), "vocabulary": 400, "length": 9}


def test_mistakes_are_named(repo, tmp_path):
    with pytest.raises(ValueError, match="give repo"):
        make_data("hub_pairs")
    with pytest.raises(ValueError, match="has no column 'pic', it has image, caption"):
        get(repo, image="pic")
    with pytest.raises(ValueError, match="validation=10 of 10 rows"):
        get(repo, validation=10)
    write(repo, "test", [(1, 1, 1)], [" "])
    with pytest.raises(ValueError, match=r"test: test\.parquet: row 0: has no text"):
        get(repo)
