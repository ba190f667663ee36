"""Models of transformers, new ones of any size or pretrained ones of hub or folder: never code, never pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from embodkd.models.base import library


def built(name: str, kind: str, usual: Any, pretrained: str | None, architecture: Mapping[str, Any] | None) -> Any:
    """A model of transformers' class `kind` ("AutoModelForCausalLM", "BertModel").

    pretrained: an id of the hub or a folder, whose config and weights it has. architecture: a config of transformers as
    plain data. Without both it is built from the config `usual`. ValueError where there is no such model, or only one
    that needs code of its own or a pickle.
    """
    transformers = library("transformers", name, "language")
    maker = getattr(transformers, kind)
    if pretrained is not None and architecture is not None:
        raise ValueError(f"model {name}: give pretrained or architecture, not both")
    if pretrained is not None:
        try:
            with without_bars(transformers):
                return maker.from_pretrained(pretrained, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise ValueError(f"model {name}: pretrained={pretrained} cannot be loaded: {said}") from error
    config = usual if architecture is None else _config(transformers, name, architecture)
    return maker.from_config(config) if kind.startswith("Auto") else maker(config)


@contextmanager
def without_bars(transformers: Any) -> Iterator[None]:
    """transformers draws no progress inside, and does as before after it."""
    logging = transformers.utils.logging
    before = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if before:
            logging.enable_progress_bar()


def described(model: Any) -> dict[str, Any]:
    """The config of a model of transformers, such that `built` makes it again from it as an `architecture`."""
    found: dict[str, Any] = model.config.to_dict()
    # which program wrote it and where it lay changes with every version and machine
    return {key: value for key, value in found.items() if key not in ("transformers_version", "_name_or_path", "dtype")}


def check_vocabulary(name: str, embedding: nn.Embedding, vocabulary: int) -> None:
    """ValueError unless a pretrained model has exactly the data's tokens, or some more at the end that nobody uses."""
    if embedding.num_embeddings < vocabulary:
        raise ValueError(
            f"model {name}: knows {embedding.num_embeddings} tokens, the data have {vocabulary}; give the data the "
            "tokenizer of this model (data.tokenizer)"
        )


def _config(transformers: Any, name: str, said: Mapping[str, Any]) -> Any:
    if said.get("model_type") not in transformers.CONFIG_MAPPING:
        raise ValueError(f"model {name}: architecture.model_type: {said.get('model_type')!r} is none of transformers'")
    return transformers.CONFIG_MAPPING[said["model_type"]].from_dict(dict(said))
