"""What a log is called, and that it is found again by that."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.log.ids import ACP, LogId
from gateway.wire.opencode import EVENT, EVENT_STREAMS


def test_a_projects_own_log_is_called_as_the_project_and_the_others_after_it() -> None:
    assert str(LogId("shop")) == "shop"
    assert str(LogId("shop", EVENT.name)) == "shop/opencode"
    assert LogId("opencode") != LogId("shop", EVENT.name)


@given(st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True), st.sampled_from([ACP, *EVENT_STREAMS]))
def test_what_another_gateway_is_told_names_the_same_log_there(project_id: str, name: str) -> None:
    log_id = LogId.of({"project_id": project_id, "log": name})
    assert LogId.parse(str(log_id)) == log_id
    assert log_id.params == {"project_id": project_id, "log": name}
