"""Reason phrases: the same on every Python (W-057, W-079)."""

from http import HTTPStatus

import pytest

from structweb._wire.status import REASON_PHRASES

#: Renamed by RFC 9110; Python follows it from 3.13 on.
RENAMED = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


@pytest.mark.parametrize("status", list(HTTPStatus), ids=lambda status: str(status.value))
def test_phrases_are_those_of_python_but_for_renamed_ones(status):
    assert REASON_PHRASES[status] == RENAMED.get(status, status.phrase)
