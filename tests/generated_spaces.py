"""Search spaces for tests: a few words for writing one, and Hypothesis' strategies for any."""

from __future__ import annotations

from hypothesis import strategies as st

from nni_dream.search.json_values import canonical_json


def choice(*values):
    return {"_type": "choice", "_value": list(values)}


def ranged(type_, *values):
    return {"_type": type_, "_value": list(values)}


def option(name, **parameters):
    return {"_name": name, **parameters}


NAMES = st.sampled_from(["a", "b", "c", "lr", "model"])
SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from([0.5, 1.0, "x", "y", True, False, None]))
BOUNDS = st.tuples(st.integers(-20, 20), st.integers(1, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))
POSITIVE_BOUNDS = st.tuples(st.floats(1e-12, 1), st.floats(1, 1e6)).map(lambda pair: (pair[0], pair[0] * pair[1]))
STEPS = st.sampled_from([0.1, 0.25, 1, 2.5, 7])

FINITE_SPECS = st.one_of(
    st.lists(SCALARS, min_size=1, max_size=3).map(lambda values: choice(*values)),
    BOUNDS.map(lambda bounds: ranged("randint", bounds[0], min(bounds[1], bounds[0] + 3))),
    st.integers(-5, 5).map(lambda value: ranged("uniform", value, value)),
)
CONTINUOUS_SPECS = st.one_of(
    BOUNDS.map(lambda bounds: ranged("uniform", *bounds)),
    st.tuples(BOUNDS, STEPS).map(lambda pair: ranged("quniform", *pair[0], pair[1])),
    POSITIVE_BOUNDS.map(lambda bounds: ranged("loguniform", *bounds)),
    st.tuples(POSITIVE_BOUNDS, STEPS).map(lambda pair: ranged("qloguniform", *pair[0], pair[1])),
    st.tuples(st.integers(-5, 5), st.floats(0.01, 3)).map(lambda pair: ranged("normal", *pair)),
    st.tuples(st.integers(-5, 5), st.floats(0.01, 3), STEPS).map(lambda values: ranged("qnormal", *values)),
    st.tuples(st.integers(-5, 5), st.floats(0.01, 3)).map(lambda pair: ranged("lognormal", *pair)),
    st.tuples(st.integers(-5, 5), st.floats(0.01, 3), STEPS).map(lambda values: ranged("qlognormal", *values)),
)


def definitions(specs, max_parameters=3):
    """Definitions of search spaces, choices nested up to three deep."""

    def nest(inner):
        branch = st.dictionaries(NAMES, inner, max_size=2)
        names = st.lists(st.sampled_from(["p", "q", 1, True]), min_size=1, max_size=2, unique_by=canonical_json)
        return names.flatmap(
            lambda chosen: st.tuples(*(branch for _ in chosen)).map(
                lambda branches: choice(*({"_name": n, **b} for n, b in zip(chosen, branches, strict=True)))
            )
        )

    return st.dictionaries(NAMES, st.recursive(specs, nest, max_leaves=6), min_size=1, max_size=max_parameters)
