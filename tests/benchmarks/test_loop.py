"""The loop that the Trainer is compared with does the same updates, and the clock counts the network only."""

import torch

from benchmarks import loop

WORK = loop.Work(updates=2, batch=4, side=8, classes=5, model="resnet20", repeats=2)


def test_the_loop_by_hand_and_the_trainer_end_with_the_same_weights(monkeypatch):
    data, teacher, made = loop.images(WORK), loop.network(WORK, 1), []
    build = loop.network

    def watched(work, seed):
        made.append(build(work, seed))
        return made[-1]

    monkeypatch.setattr(loop, "network", watched)
    loop.trained(WORK, lambda: loop.kd_recipe(WORK, data, teacher))
    loop.hand_written(WORK, data, teacher)
    ours, by_hand = (m.state_dict() for m in made)
    start = build(WORK, 0).state_dict()
    for name, value in ours.items():
        torch.testing.assert_close(value, by_hand[name], rtol=1e-3, atol=1e-4)
    assert any(not torch.equal(value, start[name]) for name, value in ours.items())


def test_the_share_around_the_network_is_a_share_and_leaves_nothing_behind():
    data, teacher = loop.images(WORK), loop.network(WORK, 1)
    backward = torch.Tensor.backward
    assert 0.0 < loop.outside(lambda: loop.kd_recipe(WORK, data, teacher)) < 1.0
    assert torch.Tensor.backward is backward and not teacher._forward_hooks


def test_three_lines_with_targets():
    found = loop.lines(WORK)
    assert [line.target for line in found] == [5.0, 1.01, 0.9]
    assert all(line.value > 0 and line.interval[0] <= line.value <= line.interval[1] for line in found)
