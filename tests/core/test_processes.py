"""Two processes, or half precision, run the same recipe: the first to the same weights, the second to near ones."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from embodkd.core import Optimiser, Player, Role, TensorData, Trainer, cosine, cross_entropy, fit, kl

HERE = Path(__file__).parent
CHILD = """
import sys
sys.path.insert(0, sys.argv[2])
from test_processes import distilled
distilled(sys.argv[1], **{"precision": sys.argv[3], "accumulate": int(sys.argv[4])})
"""


def distilled(file, dtype=torch.float64, **options):
    """Distil a small network and save it (once, whatever the number of processes)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    teacher = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    if options.get("precision", "no") != "no":
        dtype = torch.float32
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    data = TensorData({"input": x, "label": torch.arange(64) % 3})

    def terms(batch, s, t):
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kl(s.logits_NC, t.logits_NC)}

    optimiser = Optimiser("adam", cosine(1e-2, 1e-4), max_grad_norm=0.5)
    player = Player(
        Role(student.to(dtype)),
        terms,
        given={"t": Role(teacher.to(dtype), "frozen")},
        optimiser=optimiser,
    )
    trainer = Trainer(quiet=True, **options)
    trainer.fit(fit(player, data, epochs=5, batch_size=16))
    if trainer.is_main_process:
        save_file(student.state_dict(), file)


def run(tmp_path, *launcher, precision="no", accumulate=1):
    script, file = tmp_path / "child.py", tmp_path / "student.safetensors"
    script.write_text(CHILD)
    command = [*launcher, str(script), str(file), str(HERE), precision, str(accumulate)]
    child = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, said = child.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        # The launcher's own children would outlive it.
        os.killpg(child.pid, signal.SIGKILL)
        raise
    assert child.returncode == 0, said[-3000:]
    return load_file(file)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    file = tmp_path_factory.mktemp("alone") / "student.safetensors"
    distilled(file)
    return load_file(file)


@pytest.mark.slow
def test_two_processes_train_the_same_student_as_one(alone, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    together = run(tmp_path, *launcher, accumulate=2)
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-9, atol=1e-11)


def test_half_precision_keeps_float32_weights_and_comes_near(alone, tmp_path):
    half = run(tmp_path, precision="bf16")
    for name, value in alone.items():
        assert half[name].dtype == torch.float32
        torch.testing.assert_close(half[name].double(), value, rtol=0.2, atol=0.05)


def test_another_precision_in_the_same_process_is_a_clear_error():
    Trainer(quiet=True)
    with pytest.raises(ValueError, match="one process, one precision"):
        Trainer(quiet=True, precision="bf16")
