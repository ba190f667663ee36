"""The benchmark of latencies times what it says."""

import torch
from embodkd.envs import make_task
from embodkd.policies.chunk import History

from benchmarks import latency


def test_each_base_calls_its_network_as_often_as_it_is_said():
    groups = make_task(latency.TASK, 1).spec.groups
    calls = []
    for settings in latency.BASES.values():
        base = latency._base(groups, settings)
        ask, asked = base.unet.forward, []
        base.unet.forward = lambda *given, ask=ask, asked=asked: asked.append(given) or ask(*given)
        obs = {name: torch.zeros(1, *base.inputs[name].shape) for name in base.reads}
        plan_NHA = torch.zeros(1, base.horizon, base.action_size)
        base.chunk(obs, History(plan_NHA, torch.zeros(1, dtype=torch.bool), torch.zeros_like(plan_NHA)))
        calls.append(len(asked))
    assert calls == [4, 3, 16, 1, 1]
