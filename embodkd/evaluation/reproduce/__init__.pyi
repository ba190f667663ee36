from .dry import dry_run as dry_run
from .file import read as read
from .run import reproduce as reproduce
from .run import write as write
from .show import as_text as as_text
from .spec import Reproduction as Reproduction
