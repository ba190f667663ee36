"""Things whose digest must not depend on the process: run as a program it prints it."""

import numpy as np
import toy

from embodkd.core import Role, Tap, select
from embodkd.core.fingerprint import digest


def known():
    role = Role(toy.Student(), "frozen", view=select("wrist_depth", "proprio"), taps={"eyes": Tap("eyes")})
    return digest([role, {"b", "a", "c"}, frozenset({"x", "y"}), {"k": 1.0, "j": None}, toy.fingerprint, np.float64(1)])


if __name__ == "__main__":
    import known_things  # under the name that its classes and functions have for the tests

    print(known_things.known())
