"""What we rely on in other packages is checked, and named where it does not hold."""

from __future__ import annotations

import pytest

from turnswap.core import contract
from turnswap.core.errors import UserError


def test_what_is_missing_or_takes_other_arguments_is_named() -> None:
    relied_on = ["json: loads(s) JSONDecoder.decode(s, twice) no_such", "no_such_module: name"]
    assert contract.unmet(relied_on) == [
        "json:JSONDecoder.decode takes no twice",
        "json:no_such is missing",
        "no_such_module:name is missing",
    ]


def test_a_package_that_does_not_fit_is_refused_with_the_version_that_does() -> None:
    contract.require("lm-eval", [])
    with pytest.raises(UserError) as refused:
        contract.require("lm-eval", ["lm_eval:this is missing"])
    assert "lm-eval 0." in refused.value.message
    assert "does not fit this turnswap: lm_eval:this is missing." in refused.value.message
    assert f"pip install '{contract.bounds('lm-eval')}'" in refused.value.advice


def test_the_versions_that_fit_come_from_our_own_metadata() -> None:
    assert contract.bounds("lm-eval").startswith("lm-eval<0.5,>=0.4.13")
    assert contract.bounds("mergekit").startswith("mergekit<0.2,>=0.1.5")
    assert contract.bounds("not-ours") == "not-ours"
