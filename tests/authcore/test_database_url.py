"""A database URL means here what it means to libpq."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authcore.database_url import HARMLESS, Host, UrlRefused, parse
from tests.support.databases import named
from tests.support.domain import address_of

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_each_part_is_what_its_percent_form_stands_for(user: str, password: str, database: str) -> None:
    url = f"postgresql://{quote(user, '')}:{quote(password, '')}@db/{quote(database, '')}"
    found = parse(url)
    assert (found.user, found.password, found.database) == (user, password, database)
    assert found.hosts == (Host("db", None),)


@pytest.mark.parametrize(
    ("place", "hosts"),
    [
        ("db1", [("db1", None)]),
        ("db1:6432,[::1]:5433,%2Frun%2Fpg", [("db1", 6432), ("::1", 5433), ("/run/pg", None)]),
        (":6432", [(None, 6432)]),
        ("", [(None, None)]),
        ("db1/w?port=6432", [("db1", 6432)]),
        ("db1:5432/w?port=6432", [("db1", 6432)]),
        ("db1,db2/w?port=1,2", [("db1", 1), ("db2", 2)]),
        ("db1,db2/w?port=6432", [("db1", 6432), ("db2", 6432)]),
        ("db1/w?host=db2", [("db2", None)]),
        ("db1:1/w?host=/run/pg,::1&port=6432", [("/run/pg", 6432), ("::1", 6432)]),
    ],
)
def test_hosts_and_ports_behind_the_question_mark_win(
    place: str, hosts: list[tuple[str | None, int | None]]
) -> None:
    assert parse(f"postgresql://u:p@{place}").hosts == tuple(Host(*one) for one in hosts)


def test_user_password_and_name_behind_the_question_mark_win() -> None:
    found = parse("postgresql://u:p@db/w?user=u2@tenant&password=p2&dbname=w2")
    assert (found.user, found.password, found.database) == ("u2@tenant", "p2", "w2")


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_a_parameter_of_libpq_that_changes_nothing_is_left_out(name: str) -> None:
    for value in HARMLESS[name] or ("anything",):
        assert parse(f"postgresql://db/w?{name}={value}&search_path=w").parameters == {"search_path": "w"}


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("ssl=true", {"sslmode": "require"}),
        ("ssl=true&sslmode=verify-full", {"sslmode": "verify-full"}),
        ("sslmode=verify_ca", {"sslmode": "verify-ca"}),
        ("sslmode=&search_path=a", {"search_path": "a"}),
        ("options=-c%20a%3Db", {"options": "-c a=b"}),
    ],
)
def test_other_parameters_are_the_drivers(query: str, parameters: dict[str, str]) -> None:
    found = parse(f"postgresql://db/w?{query}")
    assert found.parameters == parameters
    assert parse(found.dsn).parameters == parameters


@given(TEXTS)
def test_a_refusal_quotes_no_part_of_the_url(text: str) -> None:
    for url in (f"postgresql://u:hunter2{text}@db/w", f"postgresql://u:{text}hunter2@db/w?{text}=1"):
        with suppress(UrlRefused):
            parse(url)
            continue
        with pytest.raises(UrlRefused) as refused:
            parse(url)
        assert "hunter2" not in str(refused.value)


async def test_a_connection_has_the_name_that_the_url_gives_it(postgres_url: str) -> None:
    for query, name in (("", "whatomate-gateway changes"), ("&application_name=mine", "mine changes")):
        opened = await address_of(f"{postgres_url}{query}").open("whatomate-gateway changes")
        try:
            assert await opened.connection.fetchval("SELECT current_setting('application_name')") == name
        finally:
            await opened.connection.close()


async def test_what_libpq_takes_opens_a_connection(postgres_url: str) -> None:
    query = (
        "keepalives=1&keepalives_idle=30&gssencmode=prefer&channel_binding=prefer&sslsni=1&connect_timeout=7"
    )
    url = f"{named(postgres_url, 'postgres')}&{query}&load_balance_hosts=disable&fallback_application_name=w"
    with pytest.raises(asyncpg.PostgresError, match="unrecognized configuration parameter"):
        await asyncpg.connect(url)  # the reason why they are left out
    opened = await address_of(url).open("a test")
    await opened.connection.close()


async def test_a_password_with_brackets_and_odd_letters_reaches_the_server(postgres_url: str) -> None:
    url = postgres_url.replace("gateway@", "gateway:se\N{ACCOUNT OF}[cret]@")
    opened = await address_of(url).open("a test")
    await opened.connection.close()
