"""The benchmark of latencies times what it says."""

from embodkd.envs import make_task

from benchmarks import latency


def test_each_base_calls_its_network_as_often_as_it_is_said():
    groups = make_task(latency.TASK, 1).spec.groups
    calls = [len(latency._base(groups, settings).levels) for settings in latency.BASES.values()]
    assert calls == [4, 3, 16, 1]
