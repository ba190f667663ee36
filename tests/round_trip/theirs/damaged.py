"""Convert files, in one process: each one's name, the exit code, and what was said."""

import contextlib
import io
import sys
from pathlib import Path

from lerobot_policy_embodkd.convert import main

folder, *names = sys.argv[1:]
for name in names:
    sys.argv = ["lerobot-embodkd", str(Path(folder, f"{name}.onnx")), str(Path(folder, f"{name}_policy"))]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = main()
    print(name, code, said.getvalue().replace("\n", "|"))
