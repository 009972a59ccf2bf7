"""Who the client is, and ids that follow from others."""

from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseassist.core.identity import client_id_from, event_id, page_view_id


def test_the_javascript_library_makes_the_same_client_id() -> None:
    # As coveo.analytics 2.30.55 answers to setClientId("jo@example.com", "my-tracker").
    assert client_id_from("jo@example.com", "my-tracker") == "95ac99b8-5ff9-5f36-bae5-aaa5ff1f8a30"


@given(uuid=st.uuids())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_uuid_stands_for_itself_in_lower_case(uuid: UUID) -> None:
    assert client_id_from(str(uuid)) == client_id_from(str(uuid).upper(), "bot") == str(uuid)


@pytest.mark.parametrize(
    "name",
    [
        "{489aa3e3-aed2-4563-8e81-62bb73178a}",
        "489aa3e3aed245638e8162bb73178a56",
        "489aa3e3aed2-4563-8e81-62bb73178a5-6",
        "489aa3e3-aed2-4563-8e81-62bb73178a56\n",
        "489aa3e3-aed2-4563-8e81-62bb73178a5g",
        "٤89aa3e3-aed2-4563-8e81-62bb73178a56",
        "urn:uuid:489aa3e3-aed2-4563-8e81-62bb73178a56",
    ],
)
def test_what_only_looks_like_a_uuid_is_a_name_as_any_other(name: str) -> None:
    with pytest.raises(ValueError, match="namespace"):
        client_id_from(name)
    assert UUID(client_id_from(name, "bot")).version == 5
    assert client_id_from(name, "bot") != client_id_from(name, "other")


@pytest.mark.parametrize(
    ("name", "namespace", "problem"),
    [
        ("", None, "empty"),
        ("", "bot", "empty"),
        ("jo", None, "namespace"),
        ("jo", "", "namespace"),
        ("CANARY-7431\ud800", "bot", "surrogate"),
        ("jo", "CANARY-7431\ud800", "surrogate"),
    ],
)
def test_a_name_that_gives_no_id_is_refused(name: str, namespace: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        client_id_from(name, namespace)
    assert "CANARY" not in repr(caught.value.args)


def test_ids_on_the_wire_follow_from_the_record() -> None:
    assert event_id("a1", 3) == event_id("a1", 3)
    assert page_view_id("a1") == page_view_id("a1")
    ids = [event_id(session, seq) for session in ("a1", "a2", "1", "11") for seq in range(12)]
    ids += [page_view_id(session) for session in ("a1", "a2", "1", "11")]
    assert len(set(ids)) == len(ids)
    assert all(UUID(one).version == 5 for one in ids)


def test_ids_on_the_wire_stay_the_same_for_ever() -> None:
    # A record that is sent again after an update must be recognised.
    assert event_id("a1", 0) == "1c088d77-1e4b-5277-8891-a75639ff9b3a"
    assert page_view_id("a1") == "e738a45e-171a-54f8-8fc1-58f1f3b16e10"
