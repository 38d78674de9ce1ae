"""The browser of the reports' tests, for the audit's page."""

from ..reports.conftest import browser

__all__ = ["browser"]
