"""Sign-ins by each kind of provider, from the first redirect to a proxied request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.calls import ask, bearer, claims_of, get
from tests.support.openid import CLIENT, SSO, Traveller, enable, hosting, landed, sent_back, vouch

if TYPE_CHECKING:
    from tests.support.openid import OpenId
    from tests.support.peers import Upstream
    from tests.support.worlds import Start, World


async def test_a_user_signs_in_and_is_who_the_upstream_is_sent(
    world: World, start: Start, idp: OpenId, upstream: Upstream
) -> None:
    gate = await hosting(world, start, idp)
    tokens = landed(await Traveller(gate).sign_in(idp))
    assert set(tokens) == {"access_token", "refresh_token", "expires_in"}
    assert (await ask(gate, get("/api/contacts", bearer(tokens["access_token"])))).status == 200
    seen = upstream.requests[-1]
    assert seen.one("X-User-ID") == str(world.agent)
    assert seen.one("X-Org-ID") == str(world.home)
    (row,) = await world.sql("SELECT sso_provider, sso_provider_id FROM users WHERE id = $1", world.agent)
    assert tuple(row) == ("custom", "subject 1")
    (session,) = await world.sql("SELECT id, user_id FROM gateway_sessions")
    assert session["user_id"] == world.agent
    assert claims_of(tokens["access_token"])["s"]


async def test_the_providers_are_those_whose_rows_are_enabled(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await enable(world, "github", is_enabled=False)
    await enable(world, "google", organization_id=world.other)
    await enable(world, "google")
    await world.sql("UPDATE sso_providers SET deleted_at = now() WHERE provider = 'google'")
    await enable(world, "microsoft", organization_id=world.other)
    await world.sql("UPDATE organizations SET deleted_at = now() WHERE id = $1", world.other)
    gate = await start(world.url, **idp.settings())
    answer = await ask(gate, get(f"{SSO}/providers"))
    assert answer.json() == {"status": "success", "data": [{"provider": "custom", "name": "Custom SSO"}]}
    assert (
        sent_back(await Traveller(gate).fetch(f"{SSO}/github/init"))
        == "SSO provider not configured or disabled"
    )


async def test_where_single_sign_on_is_forwarded_the_upstream_answers(
    world: World, start: Start, upstream: Upstream
) -> None:
    await enable(world, "custom")
    gate = await start(world.url)
    for path in ("providers", "custom/init", "custom/callback?code=x&state=y", "custom/backchannel-logout"):
        assert (await ask(gate, get(f"{SSO}/{path}"))).status == 200
    assert len(upstream.requests) == 4


async def test_with_cookies_on_the_session_is_in_cookies_and_nothing_is_in_the_url(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings(), cookies=True)
    traveller = Traveller(gate)
    answer = await traveller.sign_in(idp)
    assert landed(answer) == {}
    assert {"whm_access", "whm_refresh", "whm_csrf"} <= set(traveller.cookies)
    assert answer.one("Cache-Control") == "no-store"
    assert answer.one("Referrer-Policy") == "no-referrer"
    assert (await traveller.fetch("/api/contacts")).status == 200


async def test_the_cookie_of_a_sign_in_is_for_this_host_alone_and_no_script(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    settings = idp.settings(origin="https://gateway.test")
    gate = await start(world.url, **{**settings, "cookie": {"secure": True}})
    answer = await ask(gate, get(f"{SSO}/custom/init"))
    (line,) = answer.all("Set-Cookie")
    name, _, rest = line.partition("=")
    assert name == "__Host-whm_sso"
    assert rest.split("; ")[1:] == ["Path=/", "Max-Age=600", "HttpOnly", "Secure", "SameSite=Lax"]
    callback = parse_qs(urlsplit(answer.one("Location") or "").query)["redirect_uri"]
    assert callback == [f"https://gateway.test{SSO}/custom/callback"]


async def test_two_sign_ins_of_one_browser_do_not_disturb_each_other(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    first, second = await traveller.begin(), await traveller.begin()
    for url in (second, first):
        landed(await traveller.come_back(idp.authorize(url)))


GOOGLE: dict[str, Any] = {"sub": "1137", "email": "agent@example.com", "email_verified": True}
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"


async def test_google(world: World, start: Start, idp: OpenId) -> None:
    await enable(world, "google")
    await vouch(world, "agent")
    idp.user = GOOGLE
    traveller = Traveller(await start(world.url, **idp.settings()))
    url = await traveller.begin("google")
    assert parse_qs(urlsplit(url).query)["scope"] == ["openid email profile"]
    landed(await traveller.come_back(idp.authorize(url)))
    assert idp.paths() == ["/.well-known/openid-configuration", "/token", "/jwks"]


UNVERIFIED = "Your provider has not verified your e-mail address"
STRANGER = "11111111-2222-3333-4444-555555555555"
OF_MICROSOFT: dict[str, list[tuple[dict[str, Any], str]]] = {
    TENANT: [
        ({}, ""),
        ({"oid": None}, "Failed to get user information"),
        ({"tid": STRANGER}, "Failed to get user information"),
        ({"tid": None}, "Failed to get user information"),
        ({"tid": STRANGER, "iss": STRANGER}, "Failed to get user information"),
    ],
    "": [
        ({}, UNVERIFIED),
        ({"xms_edov": False}, UNVERIFIED),
        ({"xms_edov": []}, UNVERIFIED),
        ({"email_verified": True}, UNVERIFIED),
        ({"email_verified": "true", "xms_edov": 0}, UNVERIFIED),
        ({"xms_edov": True}, ""),
        ({"xms_edov": "1"}, ""),
    ],
    STRANGER: [({"xms_edov": True}, "Failed to get user information")],
}


@pytest.mark.parametrize("tenants", OF_MICROSOFT)
async def test_microsoft_signs_in_tenants_that_are_named_or_e_mails_that_are_verified(
    world: World, start: Start, idp: OpenId, tenants: str
) -> None:
    await enable(world, "microsoft")
    await vouch(world, "agent")
    idp.names_issuer = False
    # A tenant's own document has its id; that of all tenants has a template in its place.
    idp.document = {"issuer": f"{idp.url}/{tenants or '{tenantid}'}/v2.0"}
    idp.user = {"email": "agent@example.com", "name": "Agent"}
    traveller = Traveller(await start(world.url, **idp.settings(microsoft_tenants=tenants)))
    for claims, words in OF_MICROSOFT[tenants]:
        issuer = f"{idp.url}/{claims.get('iss', TENANT)}/v2.0"
        idp.id_token = {"sub": "pairwise", "oid": "oid 1", "tid": TENANT, **claims, "iss": issuer}
        answer = await traveller.sign_in(idp, "microsoft")
        if words:
            assert sent_back(answer) == words, claims
            continue
        landed(answer)
        (row,) = await world.sql("SELECT sso_provider_id FROM users WHERE id = $1", world.agent)
        assert row["sso_provider_id"] == "oid 1"
    assert idp.paths()[0] == f"/{tenants or 'common'}/v2.0/.well-known/openid-configuration"


@pytest.mark.parametrize(
    "graph", ["graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"]
)
async def test_microsoft_signs_in_from_its_national_clouds(
    world: World, start: Start, idp: OpenId, graph: str
) -> None:
    await enable(world, "microsoft")
    await vouch(world, "agent")
    idp.names_issuer = False
    issuer = f"{idp.url}/{TENANT}/v2.0"
    idp.document = {"issuer": issuer, "userinfo_endpoint": f"https://{graph}/oidc/userinfo"}
    idp.id_token = {"oid": "oid 1", "tid": TENANT, "iss": issuer}
    landed(
        await Traveller(await start(world.url, **idp.settings(microsoft_tenants=TENANT))).sign_in(
            idp, "microsoft"
        )
    )


MAIN = {"email": "agent@example.com", "primary": True, "verified": True}
OTHER = {"email": "admin@example.com", "primary": False, "verified": True}


OF_GITHUB: tuple[list[dict[str, Any]], ...] = (
    [OTHER, {**MAIN, "verified": False}],
    [OTHER],
    [],
    [{**MAIN, "verified": "true"}],
)


@pytest.mark.parametrize(
    "number",
    [10**255, 10**4000, True, 1.5, -1, 0],
    ids=["long", "longer", "truth", "fraction", "negative", "zero"],
)
async def test_a_numeric_id_that_is_not_positive_or_too_long_is_the_providers_fault(
    world: World, start: Start, idp: OpenId, number: float
) -> None:
    await enable(world, "github")
    await vouch(world, "agent")
    idp.user, idp.emails = {"id": number, "login": "octocat"}, [MAIN]
    idp.names_issuer, idp.token_answer = False, {"id_token": None}
    traveller = Traveller(await start(world.url, **idp.settings()))
    assert sent_back(await traveller.sign_in(idp, "github")) == "Failed to get user information"


@pytest.mark.parametrize("subject", ["José", "a\0b", "x" * 256, "", 7, None])
async def test_a_subject_that_is_no_text_of_ascii_is_the_providers_fault(
    world: World, start: Start, idp: OpenId, subject: object
) -> None:
    gate = await hosting(world, start, idp)
    idp.id_token = {"sub": subject}
    assert sent_back(await Traveller(gate).sign_in(idp)) == "Failed to get user information"


async def test_github_signs_in_by_the_primary_e_mail_if_it_is_verified(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "github")
    await vouch(world, "agent", "admin")
    idp.user = {"id": 583231, "login": "octocat", "name": None, "email": "admin@example.com"}
    idp.names_issuer, idp.token_answer = False, {"id_token": None}
    traveller = Traveller(await start(world.url, **idp.settings()))
    for emails in OF_GITHUB:
        idp.emails = emails
        assert sent_back(await traveller.sign_in(idp, "github")) == UNVERIFIED, emails
    idp.seen.clear()
    idp.emails = [OTHER, MAIN]
    landed(await traveller.sign_in(idp, "github"))
    assert idp.paths() == ["/login/oauth/access_token", "/api/v3/user", "/api/v3/user/emails"]
    assert idp.seen[1][1]["authorization"] == "Bearer access token of the provider"
    (row,) = await world.sql("SELECT id, sso_provider_id FROM users WHERE sso_provider = 'github'")
    assert tuple(row) == (world.agent, "583231")
    idp.emails = []  # bound by now: the id alone leads to the account
    landed(await traveller.sign_in(idp, "github"))


@pytest.mark.parametrize(("trusted", "words"), [("facebook", ""), ("", UNVERIFIED)])
async def test_an_e_mail_of_facebook_counts_where_an_operator_trusts_it(
    world: World, start: Start, idp: OpenId, trusted: str, words: str
) -> None:
    await enable(world, "facebook")
    await vouch(world, "agent")
    idp.user = {"id": "10158", "name": "Agent", "email": "agent@example.com"}
    idp.names_issuer, idp.token_answer = False, {"id_token": None}
    traveller = Traveller(await start(world.url, **idp.settings(trust_email=trusted)))
    answer = await traveller.sign_in(idp, "facebook")
    assert idp.paths() == ["/oauth/access_token", "/me"]
    assert sent_back(answer) == words if words else landed(answer)


async def test_a_custom_provider_by_its_three_urls(world: World, start: Start, idp: OpenId) -> None:
    url = idp.url
    await enable(
        world,
        "custom",
        auth_url=f"{url}/authorize?audience=x",
        token_url=f"{url}/token",
        user_info_url=f"{url}/userinfo",
    )
    await vouch(world, "agent")
    idp.user = {"id": 7, **idp.user}
    idp.post_only = True  # it knows the client by its form alone, as some do
    traveller = Traveller(await start(world.url, **idp.settings(custom_issuer=None)))
    there = await traveller.begin()
    assert parse_qs(urlsplit(there).query)["audience"] == ["x"]
    landed(await traveller.come_back(idp.authorize(there)))
    assert idp.paths() == ["/token", "/token", "/userinfo"]
    (row,) = await world.sql("SELECT sso_provider_id FROM users WHERE id = $1", world.agent)
    assert row["sso_provider_id"] == "7"


async def test_an_e_mail_that_only_userinfo_has_counts_for_the_same_subject(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    idp.id_token = {"email": None, "email_verified": None}
    idp.user = {"sub": "subject 1", **idp.user}
    gate = await start(world.url, **idp.settings())
    landed(await Traveller(gate).sign_in(idp))
    idp.user = {**idp.user, "sub": "another"}
    idp.id_token = {**idp.id_token, "sub": "subject 1"}
    assert sent_back(await Traveller(gate).sign_in(idp)) == "Failed to get user information"


async def test_userinfo_says_of_an_e_mail_that_it_is_verified_where_the_id_token_does_not_say(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    traveller = Traveller(await start(world.url, **idp.settings()))
    idp.user = {"sub": "subject 1", **idp.user}
    for said in (False, "false", "no"):
        idp.id_token = {"email_verified": said}
        assert sent_back(await traveller.sign_in(idp)) == UNVERIFIED
    idp.id_token = {"email_verified": None}
    idp.user = {**idp.user, "email_verified": False}
    assert sent_back(await traveller.sign_in(idp)) == UNVERIFIED
    idp.user, idp.id_token = (
        {**idp.user, "email_verified": True, "sub": "another"},
        {"sub": "subject 1", **idp.id_token},
    )
    assert sent_back(await traveller.sign_in(idp)) == UNVERIFIED
    idp.user = {**idp.user, "sub": "subject 1"}
    landed(await traveller.sign_in(idp))
    idp.document = {"userinfo_endpoint": f"{idp.url}/nowhere"}
    other = Traveller(await start(world.url, **idp.settings()))
    landed(await other.sign_in(idp))  # the account is bound: no e-mail is needed any more


async def test_a_provider_that_answers_with_an_error_signs_nobody_in(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings())
    traveller = Traveller(gate)
    denied = idp.authorize(await traveller.begin(), code=None, error="access_denied")
    words = sent_back(await traveller.come_back(denied))
    assert words == "SSO failed: the provider did not sign you in"
    assert "/token" not in idp.paths()
    for changes in (
        {"access_token": None},
        {"id_token": None},
        {"token_type": "mac"},
        {"access_token": 7},
        {"access_token": "x\r\ny"},
        {"id_token": ["x"]},
    ):
        idp.token_answer = dict(changes)
        assert sent_back(await Traveller(gate).sign_in(idp)) == "Failed to authenticate with provider"
    assert await world.sql("SELECT FROM gateway_sessions") == []


async def test_a_provider_that_is_away_is_said_at_the_login_page(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    gate = await start(world.url, **idp.settings(custom_issuer="http://127.0.0.1:1"))
    words = sent_back(await Traveller(gate).fetch(f"{SSO}/custom/init"))
    assert words == "Failed to authenticate with provider"
    assert CLIENT not in words


async def test_logging_out_offers_the_end_of_the_session_at_the_provider(
    world: World, start: Start, idp: OpenId
) -> None:
    await enable(world, "custom")
    await vouch(world, "agent")
    gate = await start(world.url, **idp.settings(), cookies=True)
    traveller = Traveller(gate)
    landed(await traveller.sign_in(idp))
    pairs = "; ".join(f"{name}={value}" for name, value in traveller.cookies.items())
    raw = get("/api/auth/logout", f"Cookie: {pairs}", "Origin: http://gateway.test", "Content-Length: 0")
    answer = await ask(gate, raw.replace(b"GET", b"POST", 1))
    assert answer.status == 200
    found = answer.json()["data"]
    assert found["status"] == "logged_out"
    there = urlsplit(found["sso_logout_url"])
    assert f"{there.scheme}://{there.netloc}{there.path}" == f"{idp.url}/leave"
    assert parse_qs(there.query) == {
        "client_id": [CLIENT],
        "post_logout_redirect_uri": ["http://gateway.test/login"],
    }
    assert (await traveller.fetch("/api/contacts")).status == 401
