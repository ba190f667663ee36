"""Every registered model and policy, small, with a batch that it reads."""

import torch
from embodkd.policies import POLICIES, make_policy

from embodkd.core import Signals
from embodkd.core.sources.group import GroupFacts
from embodkd.models import MODELS, make_model

ITEMS, ANSWERS = 6, 5
SMALL = {
    "mlp": ({"hidden": [12, 7], "dropout": 0.5}, (1, 8, 8)),
    "cnn": ({"widths": [4, 6], "dropout": 0.5}, (1, 8, 8)),
    "resnet": ({"depths": [1, 1], "widths": [4, 6], "stem_width": 4}, (3, 8, 8)),
    "vit": ({"width": 16, "depth": 2, "patch": 2, "dropout": 0.5}, (1, 8, 8)),
    "efficientnet_lite0": ({"pretrained": False}, (1, 32, 32)),
    "tiny_vit": ({}, (3, 16, 16)),
}
TEXTS = {
    "gru_lm": {"width": 8, "layers": 2, "dropout": 0.5},
    "causal_lm": {"width": 16, "depth": 2, "heads": 2, "dropout": 0.5},
    "bert_classifier": {"width": 16, "depth": 2, "heads": 2, "dropout": 0.5},
}
# with eyes where they may have some; what is not named is small by itself
POLICY_ARGUMENTS = {
    "camera_chunk": {"channels": [4, 4, 4, 4], "hidden": [16], "horizon": 2},
    "depth_cnn": {"channels": [4, 4, 4, 4], "hidden": [16]},
    "diffusion": {"cameras": ["front_rgb"], "widths": [8, 16], "horizon": 8, "execute": 4, "features": 8},
    "mlp_chunk": {"width": 32, "blocks": 1},
    "residual": {"base": "mlp_chunk", "base_arguments": {"width": 32, "blocks": 1}, "hidden": [16]},
    "rgb_cnn": {"channels": [4, 4, 4, 4], "hidden": [16]},
}
VECTORS = {"proprio": 7, "privileged": 5, "robot": 16, "parts": 14}
IMAGES = {"wrist_depth": 1, "wrist_rgb": 3, "front_rgb": 3}
GROUPS = {
    **{name: GroupFacts(name, (size,), False, "float32") for name, size in VECTORS.items()},
    **{name: GroupFacts(name, (channels, 32, 32), False, "uint8") for name, channels in IMAGES.items()},
    "points": GroupFacts("points", (256, 3), False, "float32"),
}
# those that give logits, and may get a head
NAMES = [name for name in MODELS if name in SMALL or name in TEXTS]
NAMES += [f"policy {name}" for name in POLICIES.names()]


def trunk_and_batch(name):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    if name in TEXTS:
        tokens = torch.randint(ANSWERS, (ITEMS, 7), generator=generator)
        fields = {"tokens": tokens, "input": tokens, "mask": torch.arange(7).expand(ITEMS, 7) < 5}
        facts = {"shape": (7,), "classes": ANSWERS, "vocabulary": ANSWERS, "length": 7, "start": 1, "end": None}
        own = {fact: facts[fact] for fact in MODELS.get(name).built_for}
        return make_model(name, **own, **TEXTS[name]), Signals(fields)
    if name in MODELS:
        options, shape = SMALL[name]
        fields = {"input": torch.rand(ITEMS, *shape, generator=generator)}
        return make_model(name, shape, ANSWERS, **options), Signals(fields)
    fields = {n: torch.rand(ITEMS, *g.shape, generator=generator) * 255 for n, g in GROUPS.items()}
    fields = {n: value.to(getattr(torch, GROUPS[n].dtype)) for n, value in fields.items()}
    kind = name.removeprefix("policy ")
    return make_policy(kind, GROUPS, ANSWERS, **POLICY_ARGUMENTS.get(kind, {})), Signals(fields)
