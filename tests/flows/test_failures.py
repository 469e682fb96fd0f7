"""How flows and tasks fail, on a real server."""

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client

from flows.failures import flow_body, task_body
from tests.flows.api import logs_of
from tests.flows.services import wait_until

SECRET = "planted-5tAr5"


@pytest.mark.parametrize("is_in_task", [False, True])
def test_an_error_that_quotes_a_secret_is_kept_without_it_and_ends_the_flow(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch, is_in_task: bool
) -> None:
    monkeypatch.setenv("STORE_SECRET", SECRET)
    has_gone_on = False

    def fail() -> None:
        raise RuntimeError(f"cannot open https://reader:pass@store/?key={SECRET}")

    @flow
    @flow_body
    def fail_and_go_on() -> None:
        nonlocal has_gone_on
        task(task_body(fail))() if is_in_task else fail()
        has_gone_on = True

    state = fail_and_go_on(return_state=True)
    assert state.message == "RuntimeError: cannot open https://***@store/?key=***"
    assert not has_gone_on
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id is not None
    with get_client(sync_client=True) as client:
        wait_until(lambda: "Finished in state Failed" in logs_of(client, flow_run_id))
        logs = logs_of(client, flow_run_id)
    assert SECRET not in logs
    assert "reader:pass" not in logs
