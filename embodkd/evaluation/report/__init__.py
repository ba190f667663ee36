"""Reports as one HTML file with everything inside, which opens offline: of runs, and of a system's stored tables."""

from embodkd.evaluation.report.run import write_report
from embodkd.evaluation.report.tables import write_tables

__all__ = ["write_report", "write_tables"]
