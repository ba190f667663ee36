"""2,000 starts of every task on every robot: none in each other, solved, off the table or before an eye."""

import pytest
from every_world import every_world
from test_starts import check_starts


@pytest.mark.faults
@every_world
def test_two_thousand_starts_are_fit(name, options):
    check_starts(name, options, 2000)
