"""What stands beside F, and how much it counts in the end."""

from __future__ import annotations

import pytest

from mmcli.proof import members


def test_those_that_were_joined_later_take_from_the_share_of_those_before() -> None:
    metrics = {"accuracy": 0.9, "beside": {"share": 0.5}, "plain": {"share": 0.2}, "trees": {"share": 0.75}}
    found = members.shares(metrics)
    assert found == pytest.approx({"beside": 0.5 * 0.8 * 0.25, "plain": 0.2 * 0.25, "trees": 0.75})
    assert list(members.told(metrics)) == [
        "what its columns decide by themselves, weighed on val, counts 10%",
        "the plain linear model of the same inputs, weighed on val, counts 5%",
        "boosted trees over the form, weighed on val, counts 75%",
    ]
    assert "(75%) is boosted trees over the form" in members.mostly(metrics)
    assert members.mostly({"trees": {"share": 0.5}, "beside": {"share": 0.9}}) == ""
    assert members.shares({}) == {}
