"""The page of a model's folder: Markdown with a YAML head, the hub's format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_CLASSIFIER = (
    "```python",
    "from embodkd.models import load_model",
    "",
    'model, config = load_model("path/to/this/folder")',
    'logits = model(images)["logits"]',
    "```",
    "",
    "Without torch, from the file that `embodkd export policy=path/to/this/folder` writes:",
    "",
    "```python",
    "import onnxruntime",
    "",
    'net = onnxruntime.InferenceSession("model.onnx")',
    '[logits] = net.run(["logits"], {"input": images})',
    "```",
)
_OF_VIEWS = (
    "```python",
    "from embodkd.models import load_model",
    "",
    'model, config = load_model("path/to/this/folder")',
    'pictures = model({"pose": camera_to_world, "intrinsics": fx_fy_cx_cy})["image"]',
    "```",
)
_OF_TEXTS = (
    "```python",
    "from embodkd.data.text import Tokenizer",
    "from embodkd.models import load_model",
    "",
    'model, config = load_model("path/to/this/folder")',
    "tokenizer = Tokenizer(model.provenance.spelling)",
    "```",
)
_TRANSFORMERS = (
    "",
    "Without embodkd, as transformers has it:",
    "",
    "```python",
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder/hf")',
    'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder/hf")',
    "```",
)


_OF_SPEECH = (
    "```python",
    "import torch",
    "from embodkd.models import load_model",
    "",
    'model, _ = load_model("path/to/this/folder")',
    "with torch.no_grad():",
    '    said = model({"phoneme": phoneme, "phoneme_mask": mask})["mel"]',
    "```",
)


def card(title: str, config: Mapping[str, Any]) -> str:
    """The card of a model with this config.json."""
    if "box" in config:
        return _scene(title, config)
    if "hop" in config:
        return _speaker(title, config)
    texts, generates = "vocabulary" in config, "classes" not in config
    pipeline = "text-generation" if generates else "text-classification" if texts else "image-classification"
    size = f"{config['vocabulary']} tokens" if generates else f"{config['classes']} classes"
    shape = ", ".join(map(str, config.get("shape", ())))
    if generates and shape:  # of a picture: it tells which text belongs to it
        pipeline, size = "zero-shot-image-classification", f"{config['vocabulary']} tokens"
        reads = (
            f"Reads images (N, {shape}) float32 in [0, 1] and texts (N, {config['length']}); gives `image` and `text`."
        )
    elif generates:
        reads = "Reads tokens (N, T) int64; gives `logits` (N, T, vocabulary) of the token at each place, and `hidden`."
    elif texts:
        reads = f"Reads tokens (N, {shape}) int64 and their mask; gives `logits` and `embedding`."
    else:
        reads = f"Reads float32 inputs (N, {shape}) in [0, 1]; gives `logits` and `embedding`."
    lines = [
        "---",
        "library_name: embodkd",
        f"pipeline_tag: {pipeline}",
        "license: apache-2.0",
        f"tags: [embodkd, {config['model']}]",
        "---",
        f"# {title}: `{config['model']}` with {size}",
        "",
        reads,
    ]
    if names := config["provenance"]["classes"]:
        lines += ["", f"Its classes, in the order of the logits: {', '.join(names)}."]
    use = [*(_OF_TEXTS if texts else _CLASSIFIER), *(_TRANSFORMERS if config["model"] == "causal_lm" else ())]
    return _page(lines, config, use)


def _scene(title: str, config: Mapping[str, Any]) -> str:
    _, height, width = config["shape"]
    lines = [
        "---",
        "library_name: embodkd",
        "license: apache-2.0",
        f"tags: [embodkd, {config['model']}]",
        "---",
        f"# {title}: `{config['model']}` of a scene in {' x '.join(map(str, config['cells']))} cells",
        "",
        f"Reads cameras: poses (N, 4, 4), camera to world in metres, and intrinsics (N, 4) in pixels; gives pictures "
        f"`image` (N, 3, {height}, {width}) of what they see.",
    ]
    return _page(lines, config, _OF_VIEWS)


def _speaker(title: str, config: Mapping[str, Any]) -> str:
    lines = [
        "---",
        "library_name: embodkd",
        "pipeline_tag: text-to-speech",
        "license: apache-2.0",
        f"tags: [embodkd, {config['model']}]",
        "---",
        f"# {title}: `{config['model']}` that speaks {config['phonemes']} phonemes",
        "",
        f"Reads `phoneme` (N, X) int64 and `phoneme_mask`; gives `mel` (N, T, {config['mels']}), natural logarithms of "
        f"bands in frames of {config['hop']} samples at {config['rate']} Hz, `frame_mask` and `duration`.",
    ]
    return _page(lines, config, _OF_SPEECH)


def _page(lines: list[str], config: Mapping[str, Any], use: Sequence[str]) -> str:
    sections = {"Arguments": config["arguments"], "Lineage": config["lineage"], "Facts": config["extra"]}
    for heading, facts in sections.items():
        if facts:
            lines = [*lines, "", f"## {heading}", "", *(f"- {key}: `{value}`" for key, value in facts.items())]
    return "\n".join([*lines, "", "## Use", "", *use, ""])
