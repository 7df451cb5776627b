"""The standard types of constraints and what they require."""

import pytest

import quantkeep
from quantkeep import InvalidValue
from quantkeep.knowledge import STANDARD, Constraint

VALID = {
    "BAN_TEMPLATE": {"template_ids": ["SmaCross"]},
    "ALLOW_FEATURES_ONLY": {"features": ["close"]},
    "BAN_FEATURES": {"features": ["volume"]},
    "LIMIT_PARAM_RANGE": {"param": "n", "min": 5, "below": 28.5},
    "MAX_COMPLEXITY": {"max": 12},
    "MIN_SIGNAL_DENSITY": {"min": 0.01},
    "MAX_SIGNAL_DENSITY": {"max": 0.5},
    "MAX_POSITIONS": {"max": 10},
    "MAX_POSITION_WEIGHT": {"max": 0.1},
    "SECTOR_CAP": {"sector": "tech", "max": 0.3},
    "SECTOR_TILT": {"sector": "tech", "tilt": -0.05},
    "MAX_CORR_TO_PORTFOLIO": {"max": 0.7},
    "LEVERAGE_LIMIT": {"max": 3},
    "ADV_PARTICIPATION_CAP": {"max": 0.02},
    "SPREAD_BPS_CAP": {"max": 15},
    "ORDER_TYPE_ALLOWLIST": {"order_types": ["limit", "post_only"]},
    "LATENCY_GUARD": {"max_ms": 250},
    "MAX_DAILY_LOSS_PCT": {"max": 2.5},
    "MAX_DRAWDOWN_PCT": {"max": 20},
    "STOP_DISTANCE_MIN_MAX": {"min": 0.005, "max": 0.05},
    "NO_LOOKAHEAD": {"lag_bars": 1},
    "NAN_POLICY": {"policy": "drop"},
    "CALENDAR_POLICY": {"calendar": "XNYS", "policy": "refuse"},
}

WRONG = [
    ("BAN_TEMPLATE", {"template_ids": []}, "params.template_ids"),
    ("BAN_TEMPLATE", {"template_ids": "SmaCross"}, "params.template_ids"),
    ("LIMIT_PARAM_RANGE", {"param": "n"}, "params.min"),
    ("LIMIT_PARAM_RANGE", {"param": "n", "min": 9, "max": 5}, "params.min"),
    ("LIMIT_PARAM_RANGE", {"param": "n", "min": float("nan")}, "params.min"),
    ("MAX_COMPLEXITY", {"max": 1.5}, "params.max"),
    ("MAX_COMPLEXITY", {"max": True}, "params.max"),
    ("MIN_SIGNAL_DENSITY", {"min": 1.01}, "params.min"),
    ("SECTOR_TILT", {"sector": "tech", "tilt": 2}, "params.tilt"),
    ("MAX_DRAWDOWN_PCT", {"max": -20}, "params.max"),
    ("STOP_DISTANCE_MIN_MAX", {"min": 0.1, "max": 0.05}, "params.min"),
    ("NO_LOOKAHEAD", {"lag_bars": 0}, "params.lag_bars"),
    ("NAN_POLICY", {"policy": "ignore"}, "params.policy"),
]


@pytest.mark.requirement("KB-42", "Z-67", api="quantkeep.knowledge.STANDARD")
def test_there_are_the_standard_types_each_with_its_words() -> None:
    assert set(STANDARD) == set(VALID)
    for name, kind in STANDARD.items():
        assert kind.name == name
        assert kind.doc.endswith(".")
        assert kind.params


@pytest.mark.requirement("KB-42", "KB-43", api="Constraint")
@pytest.mark.parametrize("name", VALID)
def test_a_type_takes_what_it_requires_and_misses_what_is_left_out(name) -> None:
    made = Constraint(constraint_id="c", type=name, params={**VALID[name], "remark": "kept"})
    assert made.scope == STANDARD[name].scope
    for param in STANDARD[name].params:
        if param.required:
            less = {n: v for n, v in VALID[name].items() if n != param.name}
            with pytest.raises(InvalidValue, match="is required for " + name) as refused:
                Constraint(constraint_id="c", type=name, params=less)
            assert refused.value.field == f"params.{param.name}"


@pytest.mark.requirement("KB-43")
@pytest.mark.parametrize(("name", "params", "field"), WRONG)
def test_what_a_parameter_cannot_be_is_refused_by_its_name(name, params, field) -> None:
    with pytest.raises(InvalidValue) as refused:
        Constraint(constraint_id="c-1", type=name, params=params)
    assert (refused.value.record, refused.value.field) == ("Constraint", field)
    assert "'c-1'" in str(refused.value)


@pytest.mark.requirement("KB-43", "KB-41")
@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"scope": "galaxy"}, "scope"),
        ({"type": "BE_LUCKY", "scope": "risk"}, "type"),
        ({"priority": 101}, "priority"),
        ({"priority": -1}, "priority"),
        ({"status": "ASLEEP"}, "status"),
        ({"severity": "BAD"}, "severity"),
        ({"derived_from_type": "dream"}, "derived_from_type"),
        ({"params": None}, "params"),
    ],
)
def test_the_other_fields_are_held_to_their_choices(knowledge, wrong, field) -> None:
    said = {"constraint_id": "c", "type": "MAX_POSITIONS", "params": {"max": 1}, **wrong}
    with pytest.raises(InvalidValue) as refused:
        knowledge.save_constraint_set(None, None, [Constraint(**said)])
    assert (refused.value.record, refused.value.field) == ("Constraint", field)
    assert knowledge.constraint_sets() == []


@pytest.mark.requirement("KB-42", "Z-3", api="quantkeep.open(choices=...)")
def test_a_keep_can_know_further_types() -> None:
    with quantkeep.open("memory://", choices={"constraints.type": ["BE_LUCKY"]}) as keep:
        lucky = Constraint(constraint_id="c", type="BE_LUCKY", scope="risk", params={"how": "?"})
        set_id = keep.knowledge.save_constraint_set(None, None, [lucky])
        assert keep.knowledge.constraints(set_id)[0].params == {"how": "?"}
