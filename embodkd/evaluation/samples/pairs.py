"""What two towers find: the nearest text to an image, the nearest image to a text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from embodkd.core import Pairs, Role, Signals
from embodkd.evaluation.samples.kept import Sample, Samples, Shown
from embodkd.evaluation.samples.media import is_picture, pixels, png

_EACH, _AMONG = 4, 256


@torch.no_grad()
def found(model: Any, data: Pairs, part: str = "test", device: torch.device | str = "cpu") -> Samples:
    """The text that is nearest to some images, and the image that is nearest to some texts, among the first concepts.

    A concept is asked about by its first image and named by the text of that; none of texts that nobody can read.
    """
    judged, spelling = data.part(part), data.spelling
    concept_N = judged.fields["concept"].tolist()
    first = list({concept: row for row, concept in reversed(list(enumerate(concept_N)))}.values())
    rows = sorted(first)[:_AMONG]
    about = f"The nearest text to an image and the nearest image to a text, among those of {len(rows)} concepts."
    if spelling is None or not is_picture(data.shape):
        return Samples(about)
    batch: Signals = judged.gather(np.asarray(rows), 0)
    s = Role(model.to(device), "frozen").signals(batch.to(device))
    cosine_NN = (s["image"] @ s["text"].T).cpu()
    texts = [
        spelling.decode(tokens[mask].tolist()) for tokens, mask in zip(batch["tokens"], batch["mask"], strict=True)
    ]
    images = [png(picture) for picture in pixels(batch["image"].float().numpy())]
    asked = np.unique(np.linspace(0, len(rows) - 1, _EACH).round().astype(int)).tolist()
    by_image = [(one, int(cosine_NN[one].argmax())) for one in asked]
    by_text = [(one, int(cosine_NN[:, one].argmax())) for one in asked]
    samples = [
        *(Sample(Shown(png=images[k]), Shown(texts[n]), Shown(texts[k]), texts[k] == texts[n]) for k, n in by_image),
        *(
            Sample(Shown(texts[k]), Shown(png=images[n]), Shown(png=images[k]), texts[k] == texts[n])
            for k, n in by_text
        ),
    ]
    return Samples(about, tuple(samples))
