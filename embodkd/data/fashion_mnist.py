"""Fashion-MNIST (Xiao et al. 2017, MIT licence): 70,000 grey pictures of clothes, 28 x 28, 10 classes.

`embodkd data get fashion_mnist` takes them from Debian's package dataset-fashion-mnist (installed, or downloaded and
unpacked without root), where there is no apt from the hub; the pixels are the same, and checked.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from embodkd.core import Splits
from embodkd.core.config.ranges import Count, Ratio, Seed, Severity, Whole, Within
from embodkd.data.assets import ASSETS, client, load
from embodkd.data.partition import split, stratified_order
from embodkd.data.registry import DATA

SHA256 = "ca3ab2a37f845e1b8ae23cab1b51749a3011ba3bf1d9016176d75cbaabac376f"
"""Of train images, train labels, test images, test labels, one after the other as bytes."""
DEBIAN = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
HUB, HUB_REVISION = "zalando-datasets/fashion_mnist", "refs/convert/parquet"
PARTS = {"train": "train", "test": "t10k"}
NAMES = (
    "T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


@DATA.register("fashion_mnist", title="grey clothes, 28 x 28, 10 classes", licence="MIT", asset="fashion_mnist")
def fashion_mnist(
    *,
    seed: Seed = 0,
    train: Count = 10_000,
    validation: Count = 2_000,
    test: Annotated[int, Within(1, 10_000)] = 10_000,
    unlabelled: Whole = 0,
    imbalance: Ratio = 1.0,
    corruptions: Mapping[str, Severity] | None = None,
) -> Splits:
    """Splits with inputs (1, 28, 28) in [0, 1]. The test is the published one, or `test` items of it, the same ones
    for every seed; the other parts come from the 60,000 published training images.

    unlabelled, imbalance, corruptions: see `partition.split`.
    """
    tensors, _ = load("fashion_mnist")
    fields = {part: _fields(tensors, part) for part in PARTS}
    published = len(fields["test"]["label"])
    if not 1 <= test <= published:
        raise ValueError(f"data fashion_mnist: test={test}, the published test has {published}; give 1..{published}")
    chosen = np.sort(stratified_order(fields["test"]["label"].numpy(), 0)[:test])
    return split(
        fields["train"],
        NAMES,
        source="Fashion-MNIST",
        test_items=len(fields["train"]["label"]) + torch.from_numpy(chosen),
        seed=seed,
        train=train,
        validation=validation,
        unlabelled=unlabelled,
        imbalance=imbalance,
        corruptions=corruptions,
        test={name: value[chosen] for name, value in fields["test"].items()},
        where="data fashion_mnist",
    )


def _fields(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    images_NHW = tensors[f"{part}_images"]
    return {"input": images_NHW[:, None].float() / 255.0, "label": tensors[f"{part}_labels"].long()}


@ASSETS.register("fashion_mnist", title="Fashion-MNIST", size="31 MB")
def fetch(work: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """uint8 tensors {train,test}_images (N, 28, 28) and _labels (N,); ValueError unless they are the published ones."""
    if INSTALLED.is_dir():
        arrays, source = _from_idx(INSTALLED), f"Debian package {DEBIAN}, installed"
    elif shutil.which("apt-get"):
        client(["apt-get", "download", DEBIAN], work)
        (package,) = work.glob("*.deb")
        client(["dpkg-deb", "-x", package.name, "root"], work)
        arrays, source = _from_idx(work / "root" / INSTALLED.relative_to("/")), f"Debian package {package.name}"
    else:
        arrays, source = _from_hub(), f"hub data set {HUB}"
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    if digest.hexdigest() != SHA256:
        raise ValueError(f"fashion_mnist from {source}: sha256 {digest.hexdigest()}, expected {SHA256}; not used")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}, {"source": source, "licence": "MIT"}


def _from_idx(folder: Path) -> dict[str, np.ndarray]:
    """The published gzip files; an IDX header is 4 bytes of type and rank, then 4 per dimension."""
    arrays = {}
    for part, stem in PARTS.items():
        images = gzip.decompress((folder / f"{stem}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((folder / f"{stem}-labels-idx1-ubyte.gz").read_bytes())
        arrays[f"{part}_images"] = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28).copy()
        arrays[f"{part}_labels"] = np.frombuffer(labels, np.uint8, offset=8).copy()
    return arrays


def _from_hub() -> dict[str, np.ndarray]:
    from PIL import Image

    try:
        from huggingface_hub import hf_hub_download
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ValueError(f"fashion_mnist from the hub needs {error.name}: pip install {error.name}") from error
    arrays = {}
    for part in PARTS:
        try:
            file = f"fashion_mnist/{part}/0000.parquet"
            path = hf_hub_download(HUB, file, repo_type="dataset", revision=HUB_REVISION)
        except OSError as error:
            raise ValueError(f"fashion_mnist: the hub cannot be reached ({error}); without it, use Debian's") from error
        rows = parquet.read_table(path).to_pydict()
        images = [np.asarray(Image.open(io.BytesIO(image["bytes"]))) for image in rows["image"]]
        arrays[f"{part}_images"] = np.stack(images).astype(np.uint8)
        arrays[f"{part}_labels"] = np.asarray(rows["label"], np.uint8)
    return arrays
