"""The parquet files: frames, instructions and episodes."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.data.lerobot.layout import INDICES, OUTCOMES


def arrow() -> Any:
    """pyarrow with its part for parquet files; ValueError that says how to install it."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ValueError("datasets of demonstrations need pyarrow: pip install 'embodkd[lerobot]'") from error
    return importlib.import_module("pyarrow")


def table_of(columns: Mapping[str, np.ndarray]) -> Any:
    """An arrow table of frames; several numbers per frame become a column of lists of one length."""
    pa = arrow()
    dtypes = {**INDICES, **OUTCOMES}
    arrays = {}
    for name, values in columns.items():
        flat = pa.array(values.reshape(-1), pa.from_numpy_dtype(np.dtype(dtypes.get(name, "float32"))))
        wide = values.ndim == 2 and values.shape[1] > 1
        arrays[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1]) if wide else flat
    return pa.table(arrays)


def write_table(path: Path, table: Any) -> None:
    """One parquet file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow().parquet.write_table(table, path)


def instructions(said: str) -> Any:
    """The table of the one instruction; LeRobot finds its text where pandas keeps an index."""
    pa = arrow()
    described = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
            for name, kind, dtype in described
        ],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([said], pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A table of plain values, one mapping per row."""
    return arrow().Table.from_pylist(list(rows))


def read_columns(folder: Path, where: str, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """These columns of all files of a folder, in the order of their names: (F,) or, of lists of one length, (F, D).

    ValueError naming the file if one is missing, damaged or without such a column.
    """
    pa = arrow()
    files = sorted((folder / where).glob("*/*.parquet"))
    if not files:
        raise ValueError(f"{folder}: no parquet files in {where}/; the dataset is not complete, fetch or write it anew")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for file in files:
        try:
            table = pa.parquet.read_table(file, columns=list(columns))
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(f"{file}: not a readable parquet file ({error}); damaged: fetch it anew") from error
        for name in columns:
            if name not in table.column_names:
                raise ValueError(f"{file}: has no column {name!r}; it is not of this dataset, fetch it anew")
            parts[name].append(_numbers(table.column(name), len(table), f"{file}: column {name!r}"))
    return {name: np.concatenate(values) for name, values in parts.items()}


def _numbers(column: Any, length: int, where: str) -> np.ndarray:
    pa = arrow()
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    listed = (
        pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type) or pa.types.is_large_list(array.type)
    )
    values = (array.flatten() if listed else array).to_numpy(zero_copy_only=False)
    if values.dtype == object or (length and len(values) % length):
        raise ValueError(f"{where}: not numbers, the same count in each row")
    return values.reshape(length, -1) if listed else values
