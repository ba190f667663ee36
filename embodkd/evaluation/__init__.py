"""Judging: success with intervals, paired comparison, sensor ablation, leak probes, videos and the report.

`from embodkd.evaluation import ...` finds a name where the stub beside this file says, when it is first asked for: who
only reads what was stored needs neither torch nor a simulator.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
