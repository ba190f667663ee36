"""Methods that differentiate twice do so through a transformer's fused attention too."""

import pytest
import torch
from rows import IMAGE, C, budget, images
from toy import fingerprint

from embodkd.core import Stage, Trainer
from embodkd.methods.kd_aif import KDAIF
from embodkd.methods.tgeo_kd import TGeoKD
from embodkd.models import make_model


def transformer(seed):
    torch.manual_seed(seed)
    return make_model("vit", IMAGE, C, patch=4, width=8, depth=1, heads=2)


@pytest.mark.parametrize("method", [TGeoKD(), KDAIF(layers="all", solver="lissa", steps=2)])
def test_meta_methods_train_a_transformer(method):
    student = transformer(0)
    before = fingerprint(student)
    recipe = method.recipe(student, transformer(1), images(n=12), seed=0, budget=budget())
    players = [p for stage in recipe.stages if isinstance(stage, Stage) for p in stage.players]
    former = [fingerprint(p.train.model) for p in players]
    summary = Trainer(quiet=True).fit(recipe)
    assert fingerprint(student) != before and all(torch.isfinite(torch.tensor(v)) for v in summary.last.values())
    assert all(fingerprint(p.train.model) != f for p, f in zip(players, former, strict=True))
