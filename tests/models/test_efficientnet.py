"""The teacher with real ImageNet weights: it knows a cat and a cup of coffee, and its file is checked first."""

import pytest
import torch
from torch.nn import functional

from embodkd.models import efficientnet, make_model

data = pytest.importorskip("skimage.data", reason="extra vision is not installed")
EGYPTIAN_CAT, TABBY, TIGER_CAT, ESPRESSO = 285, 281, 282, 967


def photograph(name):
    """The central square of a photograph, (1, 3, H, W) in [0, 1]."""
    image_HWC = torch.tensor(getattr(data, name)())
    side = min(image_HWC.shape[:2])
    top, left = ((n - side) // 2 for n in image_HWC.shape[:2])
    return image_HWC[top : top + side, left : left + side].permute(2, 0, 1)[None].float() / 255.0


@pytest.fixture(scope="module")
def teacher():
    return make_model("efficientnet_lite0", (3, 224, 224), 1000, resolution=224).eval()


@pytest.mark.parametrize(("name", "labels"), [("chelsea", {EGYPTIAN_CAT, TABBY, TIGER_CAT}), ("coffee", {ESPRESSO})])
def test_knows_what_is_on_a_photograph(teacher, name, labels):
    with torch.no_grad():
        share_C = teacher(photograph(name))["logits"].softmax(1)[0]
    assert int(share_C.argmax()) in labels and share_C[list(labels)].sum() > 0.7


def test_resolution_is_a_resize_before_the_net(teacher):
    as_given = make_model("efficientnet_lite0", (3, 224, 224), 1000).eval()
    image = photograph("chelsea")
    with torch.no_grad():
        resized = functional.interpolate(image, size=(224, 224), mode="bilinear", align_corners=False)
        torch.testing.assert_close(teacher(image)["logits"], as_given(resized)["logits"])


def test_other_classes_keep_the_features_and_get_a_new_head(teacher):
    model = make_model("efficientnet_lite0", (3, 64, 64), 7).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert model(image)["logits"].shape == (2, 7)
        teacher.resolution, kept = 0, teacher.resolution
        torch.testing.assert_close(model(image)["embedding"], teacher(image)["embedding"])
        teacher.resolution = kept


def test_grey_images_are_read_as_colour_with_equal_channels(teacher):
    grey = make_model("efficientnet_lite0", (1, 64, 64), 1000).eval()
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(grey(image)["map"], grey(image.repeat(1, 3, 1, 1))["map"])


def test_another_file_of_weights_is_not_read(monkeypatch):
    monkeypatch.setattr(efficientnet, "WEIGHTS_SHA256", "0" * 64)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("the file was opened"))
    with pytest.raises(ValueError, match="not the published weights"):
        make_model("efficientnet_lite0", (3, 32, 32), 10)
