"""`python -m embodkd` is the same as `embodkd`."""

import sys

from embodkd.cli import main

sys.exit(main())
