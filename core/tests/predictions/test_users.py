"""Users: made, changed, and seeded with the stamps they had elsewhere."""

from datetime import UTC, datetime

import pytest

from quantkeep import AtRevision, Conflict, InvalidValue
from quantkeep.predictions import Original, User


@pytest.mark.requirement("MARA-1", api="PredictionStore.save_user")
def test_user_comes_back(predictions):
    saved = predictions.save_user("marv", name="Marv", profile="growth", flow="growth")
    found = predictions.user("marv")
    assert (
        found == saved.record == User(user_id="marv", name="Marv", profile="growth", flow="growth")
    )
    assert saved.receipt.added == 1
    assert found.envelope.created_at == found.envelope.updated_at
    assert predictions.user("nobody") is None


@pytest.mark.requirement("MARA-1", "X-7", api="PredictionStore.save_user")
def test_change_keeps_created_at(predictions):
    predictions.save_user("marv", name="Marv", profile="growth", flow="growth")
    before = predictions.user("marv").envelope
    predictions.save_user("marv", name="Marvin", profile="income", flow="income")
    after = predictions.user("marv")
    assert (after.name, after.flow) == ("Marvin", "income")
    assert after.envelope.created_at == before.created_at
    assert after.envelope.revision == before.revision + 1


@pytest.mark.requirement("MARA-1", api="PredictionStore.save_user")
def test_of_two_changes_one_wins(predictions):
    seen = predictions.save_user("marv", name="Marv", profile="growth", flow="growth")
    expect = AtRevision(seen.receipt.revision)
    predictions.save_user("marv", name="A", profile="growth", flow="growth", expect=expect)
    with pytest.raises(Conflict):
        predictions.save_user("marv", name="B", profile="growth", flow="growth", expect=expect)
    assert predictions.user("marv").name == "A"


@pytest.mark.requirement("MARA-2", api="PredictionStore.insert")
def test_seed_rows_keep_their_dates(predictions):
    day = datetime(2025, 1, 17, tzinfo=UTC)
    seeds = [
        Original(User(user_id="marv", name="Marv", profile="growth", flow="growth"), day, day),
        Original(User(user_id="parents", name="Parents", profile="income", flow="income"), day),
    ]
    assert predictions.insert(seeds).added == 2
    assert [u.user_id for u in predictions.users()] == ["marv", "parents"]
    for user in predictions.users():
        assert (user.envelope.created_at, user.envelope.updated_at) == (day, day)
    again = predictions.insert(seeds)
    assert (again.added, again.already) == (0, 2)


@pytest.mark.requirement("Z-20", api="Record")
@pytest.mark.parametrize("missing", ["user_id", "name", "profile", "flow"])
def test_what_is_required_is_named(missing):
    said = {"user_id": "marv", "name": "Marv", "profile": "growth", "flow": "growth"}
    del said[missing]
    with pytest.raises(InvalidValue) as raised:
        User(**said)
    assert (raised.value.record, raised.value.field) == ("User", missing)
