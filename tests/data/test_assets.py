"""Assets: fetched by package clients, checked, whole or absent; clients that fail are quoted."""

import base64
import gzip
import hashlib
import io
import json
import shutil
import struct
import subprocess
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from embodkd.data import DATA, assets, emoji, fashion_mnist, make_data
from embodkd.data.text import wordnet

RNG = np.random.default_rng(0)
CLOTHES = {
    "train_images": RNG.integers(0, 256, (40, 28, 28), np.uint8),
    "train_labels": np.arange(40, dtype=np.uint8) % 10,
    "test_images": RNG.integers(0, 256, (20, 28, 28), np.uint8),
    "test_labels": np.arange(20, dtype=np.uint8) % 10,
}


@pytest.fixture
def small_clothes(monkeypatch, tmp_path):
    """Sixty pictures pass for the published ones; nothing is installed."""
    digest = hashlib.sha256(b"".join(a.tobytes() for a in CLOTHES.values())).hexdigest()
    monkeypatch.setattr(fashion_mnist, "SHA256", digest)
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "usr/share/datasets/fashion-mnist")


def write_idx(folder):
    folder.mkdir(parents=True)
    for part, stem in fashion_mnist.PARTS.items():
        images, labels = CLOTHES[f"{part}_images"], CLOTHES[f"{part}_labels"]
        header = struct.pack(">IIII", 0x803, *images.shape)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        header = struct.pack(">II", 0x801, len(labels))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header + labels.tobytes()))


def check_clothes():
    data = make_data("fashion_mnist", train=20, validation=10, test=20)
    assert data.shape == (1, 28, 28) and data.classes == 10 and data.names[9] == "ankle boot"
    published = len(CLOTHES["train_labels"])
    assert data.items.rows["train"].max() < published <= data.items.rows["test"].min()
    for part, published in ((data.test, "test"), (data.train, "train")):
        images = (part.fields["input"][:, 0] * 255).round().byte().numpy()
        found = {(i.tobytes(), k) for i, k in zip(images, part.fields["label"].tolist(), strict=True)}
        pairs = zip(CLOTHES[f"{published}_images"], CLOTHES[f"{published}_labels"].tolist(), strict=True)
        assert found <= {(i.tobytes(), k) for i, k in pairs} and len(found) == 20


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a Debian package")
def test_clothes_from_a_debian_package_unpacked_without_root(cache, fake_client, small_clothes, tmp_path):
    root = tmp_path / "package"
    write_idx(root / fashion_mnist.INSTALLED.relative_to("/"))
    (root / "DEBIAN").mkdir()
    control = "Package: dataset-fashion-mnist\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
    (root / "DEBIAN/control").write_text(control)
    deb = tmp_path / "dataset-fashion-mnist_1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, deb], check=True, capture_output=True)
    fake_client("apt-get", f'[ "$*" = "download dataset-fashion-mnist" ] && cp {deb} .')
    assets.get("fashion_mnist")
    check_clothes()
    files = ["data.safetensors", "data.safetensors.sha256", "origin.json"]
    assert sorted(p.name for p in (cache / "fashion_mnist").iterdir()) == files


def test_clothes_from_an_installed_package(cache, small_clothes):
    write_idx(fashion_mnist.INSTALLED)
    assets.get("fashion_mnist")
    check_clothes()


def test_clothes_from_the_hub_where_there_is_no_apt(cache, small_clothes, monkeypatch):
    def rows(path):
        part = path.split("/")[1]
        images = []
        for pixels in CLOTHES[f"{part}_images"]:
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, "PNG")
            images.append({"bytes": png.getvalue(), "path": None})
        return {"image": images, "label": CLOTHES[f"{part}_labels"].tolist()}

    table = types.SimpleNamespace(read_table=lambda path: types.SimpleNamespace(to_pydict=lambda: rows(path)))
    hub = types.SimpleNamespace(hf_hub_download=lambda repo, file, **_: file)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", hub)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", types.SimpleNamespace(parquet=table))
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda name: None)
    assets.get("fashion_mnist")
    check_clothes()


def test_other_pictures_are_refused_and_nothing_is_left(cache, small_clothes, monkeypatch):
    write_idx(fashion_mnist.INSTALLED)
    monkeypatch.setattr(fashion_mnist, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match="expected 000"):
        assets.get("fashion_mnist")
    assert list(cache.iterdir()) == [] and not assets.present("fashion_mnist")


def test_a_client_that_fails_is_quoted(cache, fake_client, small_clothes, embodkd):
    fake_client("apt-get", "echo 'E: Could not resolve host' >&2; exit 100")
    answer = embodkd("data", "get", "fashion_mnist")
    assert answer.code == 2 and "Could not resolve host" in answer.err and "connection" in answer.err


def test_a_missing_client_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="npm is not installed"):
        assets.client(["npm", "pack"], tmp_path)


def test_a_data_set_not_fetched_names_the_command(cache, embodkd, monkeypatch, tmp_path):
    monkeypatch.setattr(wordnet, "INSTALLED", tmp_path / "nowhere")
    wordnet.definitions.cache_clear()
    of_asset = {DATA.metadata(name)["asset"]: name for name in DATA if "asset" in DATA.metadata(name)}
    assert set(of_asset) == set(assets.ASSETS)
    for asset, name in of_asset.items():
        with pytest.raises(ValueError, match=f"embodkd data get {asset}"):
            make_data(name)
        installed = Path(DATA.metadata(name).get("installed", "?")).is_dir()
        assert (f"embodkd data get {asset}" in embodkd("data", "list").out) != installed


def test_what_is_there_is_not_fetched_again(cache, small_clothes, fake_client):
    write_idx(fashion_mnist.INSTALLED)
    folder = assets.get("fashion_mnist")
    shutil.rmtree(fashion_mnist.INSTALLED)
    fake_client("apt-get", "exit 1")
    assert assets.get("fashion_mnist") == folder


def test_the_command_line_lists_and_refuses(cache, embodkd):
    listed = embodkd("data", "list")
    assert listed.code == 0 and "digits " in listed.out and "ready" in listed.out
    assert "nothing to fetch" in embodkd("data", "get", "digits").out
    assert "did you mean 'emoji'" in embodkd("data", "get", "emojo").err
    assert embodkd("data", "get").code == 2 and embodkd("data", "list", "all").code == 2


def archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, value in files.items():
            raw = json.dumps(value).encode()
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


@pytest.fixture
def npm(fake_client, tmp_path, monkeypatch):
    """Four styles with a red and a wide blue emoji; `woman’s hat` shows how names are spelt."""
    fake_client(
        "npm", f'for last; do :; done; cp "{tmp_path}/$(echo $last | tr -d @ | tr / - | sed s/1.0/-1.0/).tgz" .'
    )
    body = '<rect width="{}" height="8" fill="{}"/>'
    icons = {
        "womans-hat": {"body": body.format(8, "#f00")},
        "flag": {"body": body.format(16, "#00f"), "width": 16},
        "nobody-knows": {"body": ""},
    }
    labels = [("woman’s hat", 0, 7), ("flag", 1, 9), ("letter", None, None)]
    data = [{"label": n, "tags": [n]} | ({"group": g, "subgroup": s} if s else {}) for n, g, s in labels]
    meta = {"groups": {str(k): f"g{k}" for k in range(2)}, "subgroups": {str(k): f"s{k}" for k in range(10)}}
    names = archive(tmp_path / "names-1.0.tgz", {"en/data.json": data, "meta/groups.json": meta})
    drawn = archive(tmp_path / "icons-x-1.0.tgz", {"icons.json": {"icons": icons, "width": 8, "height": 8}})
    monkeypatch.setattr(emoji, "NAMES", ("names", "1.0", names))
    monkeypatch.setattr(emoji, "STYLES", dict.fromkeys(emoji.STYLES, ("@icons/x", "1.0", drawn)))
    return tmp_path


def test_emoji_are_drawn_from_their_packages(cache, npm):
    pytest.importorskip("resvg_py", reason="extra vision is not installed")
    tensors, origin = assets.load(assets.get("emoji").name)
    assert tensors["images"].shape == (8, 3, 64, 64)
    assert tensors["style"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and tensors["concept"].tolist() == [0, 1] * 4
    assert tensors["group"].tolist() == [0, 1] * 4 and tensors["subgroup"].tolist() == [7, 9] * 4
    assert [c["label"] for c in origin["concepts"]] == ["woman’s hat", "flag"]
    red, blue = tensors["images"][:2]
    assert (red == torch.tensor([255, 0, 0])[:, None, None]).all()
    # Wider than high: in the middle of a white square.
    assert (blue[:, 20:44] == torch.tensor([0, 0, 255])[:, None, None]).all() and (blue[:, :14] == 255).all()


def test_another_archive_under_the_same_version_is_refused(cache, npm, monkeypatch):
    monkeypatch.setattr(emoji, "NAMES", (*emoji.NAMES[:2], "sha512-other"))
    with pytest.raises(ValueError, match="has integrity .* expected sha512-other; not used"):
        assets.get("emoji")
    assert not assets.present("emoji")
