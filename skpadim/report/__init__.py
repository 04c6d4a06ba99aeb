"""One page of all that a detector found of some photos; it needs Jinja2, the extra ``report``."""

from .report import Report, write_report

__all__ = ["Report", "write_report"]
