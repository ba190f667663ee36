"""The shared distillation core, in ten words; each has a file or a folder of its own.

`from embodkd.core import Player, Role, kl` finds a name where it is defined when it is first asked for: the stub beside
this file says where, so that importing the core costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
