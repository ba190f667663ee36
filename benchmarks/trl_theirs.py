"""TRL's trainers on the texts and models of the work."""

from __future__ import annotations

import copy
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.loop import RATE
from benchmarks.trl_work import Work, student, teacher, texts, tokenizer
from embodkd.models.language.spelling import as_transformers

BETA = 0.1
"""Of DPO, in redi and in TRL alike."""


def installed() -> bool:
    """Whether TRL is here."""
    return find_spec("trl") is not None


def gkd(work: Work, on_policy: bool, tokens_NT: Tensor | None = None) -> Any:
    """GKDTrainer, ready to train: it writes to the prompts of the part "pool", or reads its texts, or those given."""
    from datasets import Dataset
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    longest, start = work.length - work.prompt, tokenizer(work).start
    beta = {"forward": 0.0, "reverse": 1.0, "js": work.beta}[work.divergence]
    if tokens_NT is None:
        tokens_NT = texts(work).extra["pool"].fields["tokens"]

    def collated(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        tokens_NT = torch.tensor([[start, *row["tokens"]] for row in rows])
        prompts_NP = tokens_NT[:, : work.prompt + 1]
        labels_NT = tokens_NT.clone()
        labels_NT[:, : work.prompt + 1] = -100
        found = {"input_ids": tokens_NT, "attention_mask": torch.ones_like(tokens_NT), "labels": labels_NT}
        return found | {"prompts": prompts_NP, "prompt_attention_mask": torch.ones_like(prompts_NP)}

    arguments = GKDConfig(
        lmbda=float(on_policy), beta=beta, temperature=1.0, max_new_tokens=longest, max_length=None, **_settings(work)
    )
    rows = Dataset.from_dict({"tokens": tokens_NT.tolist()})
    models = {"model": student(work).backbone, "teacher_model": teacher(work).backbone}
    given = {"data_collator": collated, "processing_class": _spelling(work, None)}
    return _quiet(GKDTrainer(**models, args=arguments, train_dataset=rows, **given))


def dpo(work: Work) -> Any:
    """DPOTrainer, ready to train on the part "pairs", which it is given as text."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    decode, fields = tokenizer(work).decode, texts(work).extra["pairs"].fields
    rows = Dataset.from_dict(
        {
            "prompt": [decode(tokens[: work.prompt]) for tokens in fields["chosen"].tolist()],
            "chosen": [decode(tokens[work.prompt :]) for tokens in fields["chosen"].tolist()],
            "rejected": [decode(tokens[work.prompt :]) for tokens in fields["rejected"].tolist()],
        }
    )
    learner = student(work).backbone
    arguments = DPOConfig(beta=BETA, max_length=None, **_settings(work))
    given = {"ref_model": copy.deepcopy(learner), "processing_class": _spelling(work, tokenizer(work).end)}
    return _quiet(DPOTrainer(learner, args=arguments, train_dataset=rows, **given))


def _spelling(work: Work, end: int | None) -> Any:
    import transformers

    found = as_transformers(transformers, tokenizer(work).to_json(), tokenizer(work).start, end)
    found.pad_token_id = tokenizer(work).pad
    return found


def _settings(work: Work) -> dict[str, Any]:
    """Adam at our rate, float32, every batch in its order, nothing beside the updates."""
    return {
        "output_dir": str(Path(tempfile.gettempdir(), "embodkd_trl")),
        "per_device_train_batch_size": work.batch,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "optim": "adamw_torch_fused",
        "weight_decay": 0.0,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def _quiet(trainer: Any) -> Any:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    return trainer
