"""Models of data sets: `make_model("cnn", shape, classes, widths=[16, 32])`, `make_model("gru_lm", **data.facts())`.

Each gives named signals. A classifier: `logits` (N, C), `embedding` (N, D) = the input of its last linear layer
`classifier`, and if convolutional `map` (N, D, H, W) before global pooling. A language model: `logits` (N, T, V),
`hidden` (N, T, D) = the input of its last linear layer `head`. A denoiser: `answer`, like its input. Further layers
are read by taps. Initial weights come from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from embodkd.core.config.schema import build, parameters
from embodkd.core.sources.kinds import FACTS
from embodkd.models import cnn, efficientnet, mlp, resnet, tiny_vit, vit  # noqa: F401 (each enters its class into MODELS)
from embodkd.models.artefact import check_storable, load_model, save_model
from embodkd.models.base import MODELS, Classifier, Model
from embodkd.models.denoisers import dit, perceptron  # noqa: F401 (the same)
from embodkd.models.language import bert_classifier, causal_lm, gru_lm  # noqa: F401 (the same)
from embodkd.models.pairs import sentence_towers, towers  # noqa: F401 (the same)
from embodkd.models.scenes import scaffold_gs  # noqa: F401 (the same)
from embodkd.models.speech import attention_tts, fastspeech2  # noqa: F401 (the same)

__all__ = ["MODELS", "Classifier", "Model", "check_storable", "load_model", "make_model", "model_names", "save_model"]


def make_model(
    name: str, shape: Sequence[int] | None = None, classes: int | None = None, /, **facts_and_options: Any
) -> Any:
    """A new model for data with these facts (`DataSet.facts`), of which shape and classes may stand without a name;
    all other keywords are its constructor's own.

    ValueError for a model that is built for other facts, naming those that fit, and for an unknown name or option,
    naming the nearest that exists.
    """
    facts: dict[str, Any] = {
        fact: value for fact, value in {"shape": shape, "classes": classes}.items() if value is not None
    }
    facts |= {fact: value for fact, value in facts_and_options.items() if fact in FACTS}
    options = {key: value for key, value in facts_and_options.items() if key not in FACTS}
    kind = MODELS.get(name)
    check_facts(name, facts)
    if "shape" in facts:
        facts["shape"] = tuple(facts["shape"])
    model: Model = build(kind, options, f"model {name}", **facts)
    defaults = {n: p.default for n, p in parameters(kind).items() if n not in facts}
    model.arguments = {**defaults, **options, **model.resolved()}
    return model


def check_facts(name: str, facts: Mapping[str, Any]) -> None:
    """ValueError, naming those that are, unless the model `name` is built for data with these facts."""
    own = MODELS.get(name).built_for
    if set(own) != set(facts):
        fitting = ", ".join(other for other in MODELS if set(MODELS.get(other).built_for) == set(facts))
        raise ValueError(
            f"model {name}: is built for data that say {_listed(own)}, these say {_listed(facts)}; models of such "
            f"data: {fitting or 'none'}"
        )


def model_names() -> tuple[str, ...]:
    """The names that `make_model` knows."""
    return MODELS.names()


def _listed(facts: Sequence[str] | Mapping[str, Any]) -> str:
    return " and ".join(", ".join(facts).rsplit(", ", 1)) if facts else "nothing"
