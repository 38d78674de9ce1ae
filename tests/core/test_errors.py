"""What people are told when something is missing."""

from __future__ import annotations

import pytest

from turnswap.core.errors import UserError, require_packages


def test_missing_packages_are_named_with_the_command_that_installs_them() -> None:
    require_packages("This needs", ("json", "sys"), "build")
    with pytest.raises(UserError) as one:
        require_packages("This needs", ("json", "no_such_package"), "build", "; or go without.")
    assert one.value.message == "This needs no_such_package."
    assert one.value.advice == "Install it: pip install 'turnswap[build]'; or go without."
    with pytest.raises(UserError, match=r"needs no_such_package and nor_this\. Install them: pip"):
        require_packages("This needs", ("no_such_package", "nor_this"), "build")
