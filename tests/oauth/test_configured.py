"""Providers as an operator configures them: presets, their changes, and what stops the start."""

import logging
from typing import Any

import pytest

from gateway.config.schema import OAuthConfig, ProviderConfig
from gateway.errors import ConfigError
from gateway.oauth.configured import Providers, configured, flaw_of_address
from gateway.oauth.protocol.presets import PRESETS
from gateway.oauth.protocol.provider import FLOWS
from gateway.wire.codec import from_builtins, snake_names


def providers(*, http: bool = False, **tables: Any) -> Providers:
    own = {name: from_builtins(ProviderConfig, table, rename=snake_names) for name, table in tables.items()}
    return configured(own, OAuthConfig(allow_http_loopback=http))


def refusal(**tables: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        providers(**tables)
    return str(caught.value)


def test_without_any_configuration_nobody_can_log_in_anywhere() -> None:
    assert [provider.id for provider in providers() if provider.is_on] == []
    assert {provider.id for provider in providers()} == set(PRESETS)


def test_no_preset_has_a_client_of_its_own() -> None:
    assert [preset.id for preset in PRESETS.values() if preset.client_id or preset.client_secret] == []


@pytest.mark.parametrize("name", ["google", "anthropic"])
def test_a_login_that_its_owner_forbids_to_others_is_off_until_it_is_enabled_by_name(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert PRESETS[name].policy_note
    table = {"client_id": "mine"}
    agent = PRESETS[name].agents[0]
    with caplog.at_level(logging.WARNING):
        assert providers(**{name: table}).serving(agent) == []
        assert [record.getMessage() for record in caplog.records] == ["provider is off"]
        caplog.clear()
        [on] = providers(**{name: table | {"enabled": True}}).serving(agent)
    assert on.id == name
    [record] = caplog.records
    assert getattr(record, "note", None) == PRESETS[name].policy_note


def test_a_table_changes_what_it_names_and_no_more() -> None:
    [github] = providers(github={"client_id": "mine", "scopes": ["repo"], "body": {"refresh": "json"}}).serving(
        "copilot"
    )
    assert (github.client_id, github.scopes, github.bodies.refresh) == ("mine", ("repo",), "json")
    assert github.token_url == PRESETS["github"].token_url
    assert github.bodies.revoke == PRESETS["github"].bodies.revoke


def test_a_way_that_needs_a_secret_is_there_with_one_only() -> None:
    [without] = providers(github={"client_id": "mine"}).serving("copilot")
    [having] = providers(github={"client_id": "mine", "client_secret": "s"}).serving("copilot")
    assert (without.usable_flows, having.usable_flows) == (("device",), ("device", "pkce"))


def test_a_provider_of_ones_own_begins_as_the_generic_one() -> None:
    table = {"client_id": "mine", "issuer": "https://id.example.org", "agents": ["my-agent"]}
    [own] = providers(company=table).serving("my-agent")
    assert (own.name, own.flows, own.discover) == ("company", ("pkce",), True)


def test_those_that_serve_an_agent_come_in_the_order_of_the_file() -> None:
    table = {"client_id": "mine", "issuer": "https://id.example.org", "agents": ["codex"]}
    found = providers(zeta=table, openai={"client_id": "mine"}, alpha=table).serving("codex")
    assert [provider.id for provider in found] == ["zeta", "openai", "alpha"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "issuer: missing; its metadata says where"),
        ({"issuer": "http://id.example.org"}, "issuer: must be an https:// address, not 'http://id.example.org'"),
        ({"issuer": "https://id.example.org", "agents": []}, "agents: missing; name those"),
        ({"token_url": "http://127.0.0.1/t", "discover": False}, "token_url: must be an https:// address"),
        ({"token_url": "https://a@b.example/t"}, "token_url: must be an https:// address"),
        ({"discover": False, "token_url": "https://x.example/t"}, "authorize_url: missing"),
        ({"issuer": "https://id.example.org", "flows": ["implicit"]}, f"flows: must be some of {', '.join(FLOWS)}"),
        ({"issuer": "https://id.example.org", "flows": []}, "flows: must be some of"),
        ({"issuer": "https://id.example.org", "pkce": "plain"}, "pkce: must be one of S256, none, not 'plain'"),
        ({"issuer": "https://id.example.org", "client_auth": "jwt"}, "client_auth: must be one of body, basic"),
        ({"issuer": "https://id.example.org", "body": {"refresh": "xml"}}, "body.refresh: must be one of form, json"),
        ({"issuer": "https://id.example.org", "redirect_mode": "loopback_paste"}, "redirect_uri: missing"),
        ({"issuer": "https://id.example.org", "redirect_uri": "javascript:x"}, "redirect_uri: must be an https://"),
    ],
)
def test_what_is_wrong_stops_the_start_with_its_place(table: dict[str, Any], said: str) -> None:
    told = refusal(company={"client_id": "mine", "agents": ["my-agent"], **table})
    assert f"providers.company.{said}" in told


def test_a_provider_that_is_not_used_needs_nothing() -> None:
    assert [one.id for one in providers(company={"enabled": False}) if one.is_on] == []


@pytest.mark.parametrize(
    ("address", "http", "allowed"),
    [
        ("https://id.example.org/token", False, True),
        ("http://127.0.0.1:9000/token", True, True),
        ("http://localhost:9000/token", True, True),
        ("http://127.0.0.1:9000/token", False, False),
        ("http://10.0.0.1/token", True, False),
        ("http://127.0.0.1.evil.example/", True, False),
        ("ftp://id.example.org/", True, False),
        ("https://id.example.org/#x", True, False),
        ("", True, False),
    ],
)
def test_providers_are_asked_over_https_or_on_this_machine(address: str, http: bool, allowed: bool) -> None:
    assert (flaw_of_address(address, http) is None) is allowed


def test_no_secret_is_in_what_a_configuration_prints() -> None:
    assert "canary" not in repr(list(providers(github={"client_id": "mine", "client_secret": "canary"})))
