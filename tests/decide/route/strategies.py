"""Matches and requests that meet often, for hypothesis."""

from hypothesis import strategies as st

from gateway.decide.route.match import build_match

LITERALS = ["a", "b", ""]
pattern = st.builds(
    lambda segments, rest: (
        "/" + "/".join(f"{{p{i}}}" if s is None else s for i, s in enumerate(segments)) + ("/*" if rest else "")
    ),
    st.lists(st.sampled_from([*LITERALS, None]), min_size=1, max_size=4),
    st.booleans(),
)
conditions = st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", "*"]), max_size=2)
match = st.builds(
    build_match,
    st.lists(pattern, min_size=1, max_size=1) | st.just(["/*"]),
    st.lists(st.sampled_from(["GET", "HEAD", "PUT"]), max_size=2),
    st.lists(st.sampled_from(["h.d.e", "*.d.e", "*.e"]), max_size=2),
    conditions,
    conditions,
)
request = st.tuples(
    st.sampled_from(["GET", "HEAD", "PUT", "FOO"]),
    st.sampled_from(["h.d.e", "i.d.e", "d.e", "e", "", "x.h.d.e"]),
    st.lists(st.sampled_from([*LITERALS, "c"]), min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts)),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", "3"])),
    st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", "3"])),
)
Request = tuple[str, str, str, dict[str, str], dict[str, str]]
