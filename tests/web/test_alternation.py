import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structweb._web.alternation import Alternation
from structweb._web.patterns import parse_template


def joined(*paths):
    alternation = Alternation()
    for path in paths:
        alternation.add(parse_template(path).segments, path)
    return alternation.compile()


def first_of(paths, path):
    pattern, outcomes = joined(*paths)
    found = pattern.fullmatch(path)
    if found is None:
        return None
    value, groups = outcomes[found.lastindex]
    return value, tuple(found.group(group) for group in groups)


def test_equal_beginnings_are_written_once():
    pattern, _ = joined("/{a}/x", "/{b}/y", "/{c}/y/{d}")
    default = re.escape("[^{}/]+")
    assert re.fullmatch(f"/\\({default}\\).*\\({default}\\).*", re.sub(r"\\", "", pattern.pattern))
    assert pattern.pattern.count("[^{}/]+") == 2


@pytest.mark.parametrize(
    ("paths", "path", "outcome"),
    [
        (["/{a}/x", "/{b}/y"], "/1/y", ("/{b}/y", ("1",))),
        (["/{a}", "/{a}/{b}"], "/1/2", ("/{a}/{b}", ("1", "2"))),
        (["/{a}/{b}", "/{a}"], "/1", ("/{a}", ("1",))),
        (["/{a}/x", "/{b}/x"], "/1/x", ("/{a}/x", ("1",))),
        (["/{a:.*}", "/{b}"], "/1", ("/{a:.*}", ("1",))),
        (["/{a}", "/{b:.*}"], "/1/2", ("/{b:.*}", ("1/2",))),
        # The last would share its beginning with the first, but the second was there before it.
        (["/{a}/x", "/{b:.*}/y", "/{a}/y"], "/1/y", ("/{b:.*}/y", ("1",))),
        (["/{a}/x/{b}", "/{a}/y/{b}", "/{a}/x/{b}/z"], "/1/x/2/z", ("/{a}/x/{b}/z", ("1", "2"))),
        # A variable that may match in several ways is tried in all of them before the next template.
        (["/{a:.*}/{b}/x", "/{a:.*}/{b:.*}"], "/1/2/3/x", ("/{a:.*}/{b}/x", ("1/2", "3"))),
        (["/{a}-{b}/x", "/{a}-{b}/y"], "/1-2-3/y", ("/{a}-{b}/y", ("1-2", "3"))),
        (["/{a}"], "/", None),
        (["/{a}"], "/1/", None),
    ],
)
def test_the_first_template_that_matches_is_found(paths, path, outcome):
    assert first_of(paths, path) == outcome


@pytest.mark.parametrize(
    "path", [r"/{x:(a)b}", r"/{x:a|b}/{y:(?P=x)}", r"/{x}/{y:\1}", "/{x:(?P<z>a)}", "/{x:a)|(?:b}"]
)
def test_expressions_with_groups_of_their_own_stay_alone(path):
    assert parse_template(path).segments is None


SEGMENT = st.sampled_from(["x", "y", "{a}", "{b}", "x{a}", "{a}-{b}", r"{a:\d+}", "{b:.*}", "{a:[xy]/?}"])


def named_apart(segments):
    """Give every variable of a path a name of its own."""
    path = "".join("/" + segment for segment in segments)
    for number in range(path.count("{")):
        path = re.sub(r"\{[ab](?=[:}])", f"{{v{number}", path, count=1)
    return path


PATHS = st.lists(st.lists(SEGMENT, min_size=1, max_size=4).map(named_apart), min_size=1, max_size=8)
PATH = st.lists(st.sampled_from(["x", "y", "1", "x-y", "x-y-1", ""]), min_size=1, max_size=5).map(
    lambda segments: "".join("/" + segment for segment in segments)
)


@given(PATHS, PATH)
def test_joined_templates_match_like_one_after_the_other(paths, path):
    expected = None
    for template in paths:
        found = parse_template(template).pattern.fullmatch(path)
        if found is not None:
            expected = template, found.groups()
            break
    assert first_of(paths, path) == expected
