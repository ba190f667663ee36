"""Half, double and single precision of the same recipe; one loss scaler for any number of players and stages."""

import pytest
import torch
from torch import nn

from embodkd.core import (
    Optimiser,
    Player,
    Recipe,
    Role,
    RunFolder,
    Stage,
    TensorData,
    Trainer,
    cosine,
    cross_entropy,
    fit,
    kl,
)
from embodkd.core.precision import fastest


def distilled(precision, dtype=torch.float32):
    """A small network distilled in `precision`, which it begins in `dtype`."""
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    teacher = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    seen = []
    student[0].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(1)).to(dtype)
    data = TensorData({"input": x, "label": torch.arange(64) % 3})

    def terms(batch, s, t):
        return {"ce": cross_entropy(s.logits_NC, batch.label_N), "kd": kl(s.logits_NC, t.logits_NC)}

    player = Player(
        Role(student.to(dtype)),
        terms,
        given={"t": Role(teacher.to(dtype), "frozen")},
        optimiser=Optimiser("adam", cosine(1e-2, 1e-4), max_grad_norm=0.5),
    )
    Trainer(quiet=True, precision=precision).fit(fit(player, data, epochs=5, batch_size=16))
    return student, set(seen)


@pytest.fixture(scope="module")
def wide():
    return distilled("no", torch.float64)[0].state_dict()


def test_double_precision_is_double_throughout_and_leaves_the_default_type_alone(wide):
    student, seen = distilled("float64")
    assert seen == {torch.float64} and torch.get_default_dtype() is torch.float32
    for name, value in wide.items():
        torch.testing.assert_close(student.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("precision", "half"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_half_precision_is_half_keeps_float32_weights_and_comes_near(wide, precision, half):
    student, seen = distilled(precision)
    assert seen == {half}
    for name, value in wide.items():
        assert student.state_dict()[name].dtype == torch.float32
        torch.testing.assert_close(student.state_dict()[name].double(), value, rtol=0.2, atol=0.05)


def test_an_unknown_precision_is_answered_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"trainer\.precision: 'fp32' is not one of auto, no, bf16, fp16, float64"):
        Trainer(quiet=True, precision="fp32")


def square(players=1, stages=1):
    """A recipe whose gradients at float16 are exact, and what it moves: weights of 1 towards 0."""
    models = [nn.Linear(1, 1, bias=False) for _ in range(players)]
    for model in models:
        nn.init.ones_(model.weight)
    data = TensorData({"input": torch.ones(4, 1)})

    def terms(batch, s):
        return {"square": s.logits.square().squeeze(1)}

    def player(k):
        optimiser = Optimiser("sgd", 0.25, momentum=0.0, max_grad_norm=1.0)
        return Player(Role(models[k]), terms, optimiser=optimiser, name=f"player_{k}")

    made = [Stage([player(k) for k in range(players)], data, batch_size=4, name=f"stage_{k}") for k in range(stages)]
    return Recipe(tuple(made), models[0]), models


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_scaled_gradient_is_unscaled_once_whatever_players_and_stages_there_are(players, stages, in_turn):
    moved = []
    for precision in ("no", "fp16"):
        recipe, models = square(players, stages)
        recipe = Recipe(
            tuple(Stage(s.players, s.source, batch_size=4, in_turn=in_turn) for s in recipe.stages), recipe.product
        )
        trainer = Trainer(quiet=True, precision=precision)
        if precision == "fp16":
            trainer._precision.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        trainer.fit(recipe)
        moved.append([model.weight.item() for model in models])
    assert moved[0] == pytest.approx([1.0 - 0.25 * stages] * players, rel=1e-5)
    assert moved[1] == pytest.approx(moved[0], rel=1e-5)


def test_an_infinite_gradient_is_skipped_and_the_scale_falls_once_per_update():
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    data = TensorData({"input": torch.full((4, 1), 20.0)})

    def terms(batch, s):
        return {"large": s.logits.float().squeeze(1)}

    first = Player(Role(model), terms, optimiser=Optimiser("sgd", 1e-3, momentum=0.0), name="first")
    second = Player(Role(nn.Linear(1, 1)), terms, optimiser=Optimiser("sgd", 1e-3, momentum=0.0), name="second")
    trainer = Trainer(quiet=True, precision="fp16")
    trainer._precision.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**20)
    trainer.fit(fit([first, second], data, batch_size=4))
    assert model.weight.item() == 1.0 and trainer._precision.scaler.get_scale() == 2.0**19
    trainer.fit(fit([first, second], data, epochs=20, batch_size=4))
    assert model.weight.item() < 1.0


def test_a_resumed_run_goes_on_with_the_scale_that_it_had(tmp_path, monkeypatch):
    class Stopped(Exception):
        pass

    def run(folder):
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        data = TensorData({"input": torch.full((4, 1), 20.0)})
        player = Player(
            Role(model), lambda batch, s: {"large": s.logits.float().squeeze(1)}, optimiser=Optimiser("sgd", 1e-3)
        )
        with RunFolder.open(tmp_path / folder, {}, resume=True) as opened:
            trainer = Trainer(opened, quiet=True, precision="fp16", checkpoint_s=0.0)
            trainer.fit(fit(player, data, epochs=12, batch_size=4))
        return model.weight.item(), trainer._precision.scaler.get_scale()

    whole, save = run("whole"), RunFolder.save_checkpoint
    assert whole[1] < 65536.0

    def save_and_stop(self, *arguments):
        save(self, *arguments)
        raise Stopped

    monkeypatch.setattr(RunFolder, "save_checkpoint", save_and_stop)
    for _ in range(20):
        try:
            assert run("broken") == whole
            return
        except Stopped:
            pass
    raise AssertionError("it never ended")


def able(monkeypatch, threads, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)


@pytest.mark.parametrize(
    ("threads", "capabilities", "found"),
    [
        (1, {"avx512_bf16": True}, "bf16"),
        (1, {"amx_bf16": True, "avx2": True}, "bf16"),
        (1, {"sve_bf16": True}, "bf16"),
        (2, {"avx512_bf16": True}, "no"),
        (1, {"avx512_bf16": False, "avx512_f": True}, "no"),
        (1, {}, "no"),
    ],
)
def test_auto_is_bf16_for_pictures_where_the_processor_multiplies_it_and_torch_has_one_thread(
    threads, capabilities, found, monkeypatch
):
    able(monkeypatch, threads, **capabilities)
    sees = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    assert fastest(torch.device("cpu"), sees) == found
    assert fastest(torch.device("cpu"), nn.Linear(4, 2)) == "no"
    assert fastest(torch.device("meta"), sees) == "no"


def test_a_run_by_itself_goes_on_in_the_precision_that_it_began_with(tmp_path, monkeypatch, capsys):
    seen = []
    student = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 3))
    student.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    data = TensorData({"input": torch.randn(8, 1, 2, 2), "label": torch.arange(8) % 3})
    player = Player(Role(student), lambda b, s: {"ce": cross_entropy(s.logits_NC, b.label_N)})

    def train(epochs):
        with RunFolder.open(tmp_path / "run", {}, resume=True) as run:
            Trainer(run, quiet=True, precision="auto", checkpoint_s=0.0).fit(
                fit(player, data, epochs=epochs, batch_size=4)
            )
            return run.manifest()["precision"]

    able(monkeypatch, 1, avx512_bf16=True)
    assert train(1) == "bf16"
    able(monkeypatch, 1)
    assert train(2) == "bf16"
    assert set(seen) == {torch.bfloat16}
    assert capsys.readouterr().out.count("precision=auto is bf16 here") == 2
