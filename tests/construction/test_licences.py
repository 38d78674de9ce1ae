"""Licences: what the seeds' does not allow is refused, what is not known is left to a person."""

from __future__ import annotations

import pytest

from turnswap.construction.licences import check_licences, hub_licence
from turnswap.core.errors import UserError


@pytest.mark.parametrize(
    ("seeds", "release", "words"),
    [
        ("CC-BY-NC-4.0", "CC-BY-4.0", "under CC-BY-NC-4.0, which allows no commercial use"),
        ("cc-by-nc-4.0", "Apache-2.0", "no commercial use"),
        ("CC-BY-ND-4.0", "CC-BY-ND-4.0", "allows no derivatives"),
        ("CC-BY-ND-4.0", "our own terms", "allows no derivatives"),
        (
            "CC-BY-SA-4.0",
            "CC-BY-4.0",
            "the same licence for all that is made of them, and the release is under CC-BY-4.0",
        ),
        ("CC-BY-SA-4.0", "CC-BY-SA-3.0", "same licence"),
        ("ODbL-1.0", "CC-BY-SA-4.0", "same licence"),
        ("Apache-2.0 AND CC-BY-NC-SA-4.0", "Apache-2.0", "CC-BY-NC-SA-4.0"),
    ],
)
def test_what_the_seeds_licence_does_not_allow_is_refused(seeds: str, release: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_licences(seeds, release)


@pytest.mark.parametrize(
    ("seeds", "release"),
    [
        ("Apache-2.0", "CC-BY-4.0"),
        ("CC0-1.0", "MIT"),
        ("CC-BY-4.0", "CC-BY-NC-ND-4.0"),
        ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"),
        ("CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    ],
)
def test_what_it_allows_passes_without_a_word(seeds: str, release: str) -> None:
    assert check_licences(seeds, release) == []


def test_what_is_not_known_is_left_to_a_person() -> None:
    (doubt,) = check_licences("Apache-2.0 AND our own terms", "CC-BY-4.0")
    assert "lacks our own terms" in doubt
    (doubt,) = check_licences("CC-BY-4.0", "CC0-1.0")
    assert "CC-BY-4.0 asks that the seeds' source is named" in doubt


def test_the_hub_has_names_of_its_own_for_licences() -> None:
    assert hub_licence("ODbL-1.0") == {"license": "odbl"}
    assert hub_licence("CC-BY-4.0") == {"license": "cc-by-4.0"}
    assert hub_licence("Our own Terms") == {"license": "other", "license_name": "our-own-terms"}
