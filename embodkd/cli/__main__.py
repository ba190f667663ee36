"""`python -m embodkd.cli` is the same as `embodkd`."""

import sys

from embodkd.cli import main

sys.exit(main())
