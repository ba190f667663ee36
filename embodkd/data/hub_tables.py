"""Rows of a data set of the hub: pictures and labels, named by file and row where they are not as they should be."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from embodkd.core.runs.reading import check_file, json_of
from embodkd.data.partition import from_package


class LabelledPictures(NamedTuple):
    """Pictures (N, H, W) or (N, H, W, 3), in [0, 1]; labels as they are stored; a digest of each picture's bytes."""

    pictures: list[np.ndarray]
    labels: list[Any]
    digests: list[int]


def read_rows(files: Sequence[Path], image: str, label: str, where: str) -> LabelledPictures:
    """All rows of these files. ValueError naming file and row for a picture that cannot be decoded or has another size
    than the first, and for a label that is missing or of a kind that is no class."""
    rows = LabelledPictures([], [], [])
    for file in files:
        found = table(file, image, label, where)
        rows.labels.extend(_labels(found.column(label), label, f"{where}: {file.name}"))
        for number, value in enumerate(found.column(image).to_pylist()):
            at = f"{where}: {file.name}: row {number}"
            content = encoded(value, file, at)
            picture = decoded(content, at)
            if rows.pictures and picture.shape[:2] != rows.pictures[0].shape[:2]:
                sizes = [f"{p.shape[0]}x{p.shape[1]}" for p in (picture, rows.pictures[0])]
                raise ValueError(f"{at}: a picture of {sizes[0]} pixels among others of {sizes[1]}; all must be alike")
            rows.pictures.append(picture)
            rows.digests.append(int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 1)
    if not rows.pictures:
        raise ValueError(f"{where}: {files[0].name} has no rows")
    return rows


def fields_of(rows: LabelledPictures, places: Mapping[Any, int], channels: int, where: str) -> dict[str, torch.Tensor]:
    """The fields input (N, C, H, W), label and item of these rows, grey pictures among coloured ones made coloured.

    places: label -> class; ValueError for a label without one.
    """
    unknown = [value for value in rows.labels if value not in places]
    if unknown:
        raise ValueError(
            f"{where}: {len(unknown)} rows are labelled {unknown[0]!r}, which is none of its {len(places)} classes"
        )
    input_NCHW = torch.empty(len(rows.pictures), channels, *rows.pictures[0].shape[:2])
    for number, picture in enumerate(rows.pictures):
        own = picture[:, :, None] if picture.ndim == 2 else picture
        input_NCHW[number] = torch.from_numpy(np.array(own, np.float32)).permute(2, 0, 1)
        input_NCHW[number] /= np.iinfo(picture.dtype).max
    return {
        "input": input_NCHW,
        "label": torch.tensor([places[value] for value in rows.labels]),
        "item": torch.tensor(rows.digests),
    }


def class_names(file: Path, label: str) -> list[str] | None:
    """What a file itself calls the classes, None if it does not say."""
    metadata = from_package("pyarrow.parquet", "hub_images").read_schema(file).metadata or {}
    try:
        said = json_of(metadata.get(b"huggingface", b"{}").decode(), file)
        names = said.get("info", {}).get("features", {}).get(label, {}).get("names")
    except (ValueError, AttributeError):
        return None
    return [str(name) for name in names] if isinstance(names, list) and names else None


def table(file: Path, image: str, label: str, where: str) -> Any:
    """Two columns of a parquet file; ValueError if it has them not, or is none."""
    parquet, pa = from_package("pyarrow.parquet", "hub_images"), from_package("pyarrow", "hub_images")
    check_file(file)
    try:
        names = parquet.read_schema(file).names
        for name in (image, label):
            if name not in names:
                raise ValueError(f"{where}: {file.name} has no column {name!r}, it has {', '.join(names)}")
        return parquet.read_table(file, columns=[image, label], partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{where}: {file} is not a readable parquet file ({error}); fetch it anew") from error


def _labels(column: Any, name: str, where: str) -> list[Any]:
    types = from_package("pyarrow", "hub_images").types
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if not (types.is_integer(kind) or types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind)):
        raise ValueError(f"{where}: column {name!r} holds {column.type}: a label is one whole number or one text")
    values = column.to_pylist()
    if None in values:
        raise ValueError(f"{where}: row {values.index(None)} has no label; take such rows out")
    return values


def encoded(value: Any, file: Path, at: str) -> bytes:
    """The bytes of a picture: stored, or in the file that is named."""
    content = value.get("bytes") if isinstance(value, Mapping) else value
    path = value.get("path") if isinstance(value, Mapping) else value
    if content is None or isinstance(content, str):
        if not isinstance(path, str):
            raise ValueError(f"{at}: has no picture; take such rows out")
        name = Path(path)
        if name.is_absolute() or ".." in name.parts or not (file.parent / name).is_file():
            raise ValueError(
                f"{at}: holds only the name of a picture, {path!r}, and no such file lies beside {file.name}; put it "
                "there, or store the pictures themselves"
            )
        content = (file.parent / name).read_bytes()
    if not isinstance(content, bytes):
        raise ValueError(f"{at}: holds a {type(value).__name__}, not an encoded picture")
    return content


def decoded(content: bytes, at: str) -> np.ndarray:
    """(H, W) or (H, W, 3), whole numbers of one or two bytes."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.mode.startswith("I;16"):
                return np.asarray(picture).astype(np.uint16)
            if picture.mode in ("I", "F"):
                raise ValueError(f"its pixels are numbers of an unknown range (mode {picture.mode})")
            return np.asarray(picture if picture.mode in ("L", "RGB") else picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{at}: not a readable picture: {error}; mend the row or take it out") from error
