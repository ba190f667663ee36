"""What tests of losses on logits begin with."""

import pytest
import torch


@pytest.fixture
def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits of a student and of a teacher, (9, 5), and labels (9,)."""
    generator = torch.Generator().manual_seed(0)
    s, t = (torch.randn(9, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    return s, t, torch.randint(5, (9,), generator=generator)
