"""Reproduction tables: a method beside its baselines and ablations, several seeds, intervals, claims checked.

Its names are found when they are asked for, as those of `embodkd.evaluation` are.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
