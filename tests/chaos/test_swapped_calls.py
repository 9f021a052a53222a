"""Ids of runs, plugins and workspaces swapped in thousands of host calls."""

import pytest

from tests.runners.gateway.test_hostile_calls import swapped

SWAPS = 5000


@pytest.mark.timeout(1800)
async def test_five_thousand_swapped_ids_leak_nothing(host):
    assert await swapped(host, SWAPS, seed=2) == []
