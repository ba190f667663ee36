"""Places of gates in a transformer encoder whose blocks have separate projections, as transformers writes them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from embodkd.core.modules.gates import Place, Side
from embodkd.core.modules.places import submodule
from embodkd.core.modules.taps import Tap

_PROJECTIONS = r"(^|\.)(q_proj|k_proj|v_proj|query|key|value)$"
_MIXED = r"(^|\.)(out_proj|o_proj|attention\.output\.dense)$"
_UP = r"(^|\.)(fc1|up_proj|gate_proj|intermediate\.dense)$"
_DOWN = r"(^|\.)(fc2|down_proj|(?<!attention\.)output\.dense)$"


def encoder_places(
    model: nn.Module,
    stack: str,
    *,
    embeddings: Sequence[Side],
    into: Sequence[Side] | None = None,
    readers: Sequence[Side] = (),
    norms: Sequence[str] = (),
    prefix: str = "",
) -> dict[str, Place]:
    """Gates on the channels of a residual stream, and on the heads and hidden units of every block of `stack`.

    embeddings: what makes the stream, and `into`, the layers and parameters that it is made of where `embeddings` is
    not a single layer each. readers: what reads the stream after the last block, their input sides by
    Tap(..., input=True). norms: LayerNorms over the stream outside of the blocks.
    Returns PREFIX + "channels", "heads_0", "units_0", "heads_1" ...: channels multiply the embeddings and what each
    attention and each MLP adds, heads the context of each head, units the activations before the MLP's second layer.
    """
    places: dict[str, Place] = {}
    added: list[str] = []
    reading: list[Side] = []
    norms = list(norms)
    blocks = submodule(model, stack)
    for number, block in blocks.named_children():
        linear = {n: m for n, m in block.named_modules() if isinstance(m, nn.Linear)}
        found = {p: [n for n in linear if re.search(p, n)] for p in (_PROJECTIONS, _MIXED, _UP, _DOWN)}
        if len(found[_PROJECTIONS]) != 3 or len(found[_MIXED]) != 1 or not found[_UP] or len(found[_DOWN]) != 1:
            raise ValueError(
                f"{stack}.{number} is a {type(block).__name__}: its query, key, value, mixing, first and second layers "
                f"cannot be told from its linear layers, {', '.join(linear)}; write its places by hand"
            )
        at = f"{stack}.{number}."
        projections, mixed, up, down = ([at + n for n in found[p]] for p in (_PROJECTIONS, _MIXED, _UP, _DOWN))
        attention = submodule(model, projections[0].rpartition(".")[0])
        each = getattr(attention, "head_dim", None) or getattr(attention, "attention_head_size", None)
        if not isinstance(each, int):
            raise ValueError(f"{stack}.{number}: its attention does not say how wide a head is (head_dim)")
        places[f"{prefix}heads_{number}"] = Place([Tap(mixed[0], input=True)], projections, each=each)
        places[f"{prefix}units_{number}"] = Place([Tap(down[0], input=True)], up)
        added += [*mixed, *down]
        reading += [Tap(name, input=True) for name in (*projections, *up)]
        norms += [at + n for n, m in block.named_modules() if isinstance(m, nn.LayerNorm)]
    made = embeddings if into is None else into
    channels = Place([*embeddings, *added], [*reading, *readers], [*made, *added], norms)
    return {f"{prefix}channels": channels, **places}
