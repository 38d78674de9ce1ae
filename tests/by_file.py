"""pytest tells how far it is by file: one line when the last test of a file is done, instead of a dot per test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest


class ByFile:
    """Counts, in the process that reports, what is left of each file."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.left: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}

    def _count(self, ids: Iterable[str]) -> None:
        self.left = self.left or Counter(id_.partition("::")[0] for id_ in ids)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: all that was collected."""
        self._count(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """With workers: each collects the same."""
        self._count(ids)

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No letter for what passes; failures and skips keep theirs."""
        return ("passed", "", "PASSED") if report.when == "call" and report.passed else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A line per file that is done."""
        file = report.nodeid.partition("::")[0]
        self.seconds[file] += report.duration
        outcomes = self.outcomes.setdefault(file, Counter())
        if report.when == "call" or not report.passed:
            outcomes["xfailed" if hasattr(report, "wasxfail") else report.outcome] += 1
        if report.when == "teardown":
            self.left[file] -= 1
            if not self.left[file]:
                told = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
                reporter = self.config.pluginmanager.get_plugin("terminalreporter")
                reporter.ensure_newline()
                reporter.write_line(f"{file}: {told}, {self.seconds[file]:.0f} s")
