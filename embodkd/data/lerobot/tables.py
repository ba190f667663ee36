"""The parquet files: frames, instructions and episodes."""

from __future__ import annotations

import importlib
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodkd.core.runs.reading import check_file
from embodkd.data.lerobot.layout import INDICES, OUTCOMES


def arrow() -> Any:
    """pyarrow with its part for parquet files; ValueError that says how to install it."""
    try:
        importlib.import_module("pyarrow.parquet")
        importlib.import_module("pyarrow.compute")
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


def instructions(said: Sequence[str]) -> Any:
    """The table of the sentences; LeRobot finds their text where pandas keeps an index."""
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
    table = pa.table({"task_index": pa.array(range(len(said)), pa.int64()), "task": pa.array(said, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A table of plain values, one mapping per row."""
    return arrow().Table.from_pylist(list(rows))


def files_of(folder: Path, where: str) -> list[Path]:
    """The parquet files in the sub-folders of `where`, by name; what some systems put beside a file is none of them."""
    files = [file for file in sorted((folder / where).glob("*/*.parquet")) if not file.name.startswith(".")]
    if not files:
        raise ValueError(f"{folder}: no parquet files in {where}/; the dataset is not complete, fetch or write it anew")
    for file in files:
        check_file(file)
    return files


def read_columns(folder: Path, where: str, columns: Mapping[str, int]) -> dict[str, np.ndarray]:
    """These columns of all files of a folder, in the order of their names, each with so many numbers per row:
    (F,) for 1, else (F, D).

    ValueError naming file, column and row if one is missing, damaged, not of numbers or of another length.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in columns}
    for file in files_of(folder, where):
        table = _table(file, columns)
        for name, size in columns.items():
            parts[name].append(_numbers(table.column(name), size, f"{file}: column {name!r}"))
    return {name: np.concatenate(values) for name, values in parts.items()}


def mapped_column(file: Path, group: int, column: str) -> Any:
    """A column of one row group, mapped from a copy that is nowhere once it is not used.

    A parquet file gives a row only by reading all of its group, which in a set of pictures may be a gigabyte; of the
    copy a row is read alone, and what is not looked at takes no memory. ValueError if the file cannot be read, or there
    is no room for the copy.
    """
    pa = arrow()
    try:
        table = pa.parquet.ParquetFile(file).read_row_group(group, columns=[column])
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); damaged: fetch it anew") from error
    try:
        with tempfile.NamedTemporaryFile(prefix="embodkd-pictures-") as copy:
            with pa.ipc.new_file(copy.name, table.schema) as writer:
                writer.write_table(table.combine_chunks())
            return pa.ipc.open_file(pa.memory_map(copy.name)).read_all().column(0)
    except OSError as error:
        raise ValueError(
            f"{file}: no room for a copy of its pictures in {tempfile.gettempdir()} ({error}); let TMPDIR name a "
            "folder on a larger disk"
        ) from error


def row_count(folder: Path, where: str) -> int:
    """How many rows all files of a folder have, by what they say of themselves, without reading them."""
    return sum(int(_opened(file).metadata.num_rows) for file in files_of(folder, where))


def has_column(folder: Path, where: str, column: str) -> bool:
    """Whether the first file of a folder has that column."""
    return column in _schema(files_of(folder, where)[0])


def read_texts(folder: Path, where: str, column: str) -> list[Any]:
    """A column of texts, or of lists of texts, of all files of a folder; [] where the first file has none."""
    files = files_of(folder, where)
    if not has_column(folder, where, column):
        return []
    return [value for file in files for value in _table(file, [column]).column(column).to_pylist()]


def read_sentences(file: Path) -> tuple[str, ...]:
    """The sentences of meta/tasks.parquet by their numbers; () where there is no such file.

    Their text is where pandas keeps an index. ValueError if the numbers are not 0, 1, ... or there is no text.
    """
    if not file.is_file():
        return ()
    table = _table(file, _schema(file)).to_pydict()
    numbers = table.pop("task_index", None)
    texts = [column for name, column in table.items() if name in ("task", "__index_level_0__")]
    if numbers is None or len(texts) != 1 or not all(isinstance(text, str) for text in texts[0]):
        raise ValueError(f"{file}: has no column 'task_index', or no column of texts beside it; fetch or write it anew")
    if sorted(map(str, numbers)) != sorted(map(str, range(len(numbers)))):
        raise ValueError(f"{file}: column 'task_index' does not count from 0 to {len(numbers) - 1}; write it anew")
    return tuple(text for _, text in sorted(zip(numbers, texts[0], strict=True)))


def _opened(file: Path) -> Any:
    pa = arrow()
    try:
        return pa.parquet.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); damaged: fetch it anew") from error


def _schema(file: Path) -> list[str]:
    return list(_opened(file).schema_arrow.names)


def _table(file: Path, columns: Iterable[str]) -> Any:
    pa, known = arrow(), _schema(file)
    for name in columns:
        if name not in known:
            raise ValueError(f"{file}: has no column {name!r}; it is not of this dataset, fetch it anew")
    try:
        return pa.parquet.read_table(file, columns=list(columns), partitioning=None)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(f"{file}: not a readable parquet file ({error}); damaged: fetch it anew") from error


def _numbers(column: Any, size: int, where: str) -> np.ndarray:
    """The rows of a column of numbers, or of lists of them however deep, each with `size` numbers."""
    pa = arrow()
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    length, each = len(array), 1
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type) or pa.types.is_large_list(array.type):
        _whole(array, where, each)
        counts = pa.compute.list_value_length(array)
        found = pa.compute.min_max(counts).as_py()
        if length and found["min"] != found["max"]:
            odd = next(i for i, n in enumerate(counts.to_pylist()) if n != counts[0].as_py())
            raise ValueError(
                f"{where}: row {odd // each} has another count of numbers than row 0; damaged: fetch or write it anew"
            )
        each *= found["min"] or 0
        array = array.flatten()
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if not any(kind(array.type) for kind in kinds):
        raise ValueError(f"{where}: holds {array.type}, not numbers; fetch or write it anew")
    _whole(array, where, each)
    if length and each != size:
        raise ValueError(f"{where}: has {each} numbers per row, meta/info.json says {size}; fetch or write them anew")
    values = np.asarray(array.to_numpy(zero_copy_only=False))
    return values if size == 1 else values.reshape(length, size)


def _whole(array: Any, where: str, each: int) -> None:
    if array.null_count:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]) // max(each, 1)
        raise ValueError(f"{where}: row {row} is empty; damaged: fetch or write it anew")
