"""Problems of a configuration: what every message says, and what none ever says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from config.describing import described
from config.layers import FIELDS
from config.load import ConfigError
from config.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

from gateway.assembly.key_ring import key_problems
from tests.config.loading import GOOD, SECRET, load, problems_of

# -- what is refused --------------------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once_by_the_name_that_was_typed() -> None:
    found = problems_of(
        {
            "GATEWAY_DATABASE_POOL_MAX": "many",
            "GATEWAY_JWT_SECRET": "short",
            "GATEWAY_LISTEN": "nonsense",
            "GATEWAY_TOKEN_ACCESS_SECONDS": "7200",
            "GATEWAY_TOKEN_REFRESH_SECONDS": "3600",
            "GATEWAY_LOG_LEVEL": "loud",
        },
        bare=True,
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "GATEWAY_DATABASE_POOL_MAX",
        "GATEWAY_DATABASE_URL",
        "GATEWAY_JWT_SECRET",
        "GATEWAY_LISTEN",
        "GATEWAY_LOG_LEVEL",
        "GATEWAY_TOKEN_ACCESS_SECONDS",
        "GATEWAY_UPSTREAM_URL",
    ]


def test_a_problem_says_what_is_wrong_what_was_found_and_what_it_means() -> None:
    (problem,) = problems_of({"GATEWAY_DATABASE_POOL_MAX": "0"})
    assert problem == (
        "GATEWAY_DATABASE_POOL_MAX: should be greater than or equal to 1, is '0' "
        "(Connections at most, per process)"
    )


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_a_gateway_cannot_do_without_is_required(name: str) -> None:
    (problem,) = problems_of({other: value for other, value in GOOD.items() if other != name}, bare=True)
    assert problem.startswith(f"{name}: required: ")


def test_a_command_may_require_less() -> None:
    assert load(bare=True, required=frozenset()) == Settings()


@pytest.mark.parametrize("length", [1, 31])
def test_a_short_jwt_secret_is_refused_with_a_way_to_make_one(length: int) -> None:
    (problem,) = problems_of({"GATEWAY_JWT_SECRET": "x" * length})
    assert problem.startswith(
        f"GATEWAY_JWT_SECRET: only {length} bytes long, at least 32 are needed; make one"
    )


def test_thirty_two_bytes_of_jwt_secret_are_enough_and_bytes_are_what_counts() -> None:
    assert load({"GATEWAY_JWT_SECRET": "x" * 32})
    assert load({"GATEWAY_JWT_SECRET": "ü" * 16})


def test_a_short_previous_secret_is_refused_by_its_place() -> None:
    (problem,) = problems_of({"GATEWAY_JWT_PREVIOUS_SECRETS": f"{SECRET},brief"})
    assert problem == "GATEWAY_JWT_PREVIOUS_SECRETS: entry 2 is only 5 bytes long, at least 32 are needed"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (
            {"GATEWAY_DATABASE_POOL_MIN": "11"},
            "GATEWAY_DATABASE_POOL_MIN: 11 is more than GATEWAY_DATABASE_POOL_MAX, 10",
        ),
        (
            {"GATEWAY_TOKEN_REFRESH_SECONDS": "3600"},
            "GATEWAY_TOKEN_ACCESS_SECONDS: 3600 should be less than GATEWAY_TOKEN_REFRESH_SECONDS, 3600",
        ),
        (
            {"GATEWAY_LIMIT_HEAD_BYTES": "8192"},
            "GATEWAY_LIMIT_TARGET_BYTES: 8192 should be less than GATEWAY_LIMIT_HEAD_BYTES, 8192",
        ),
        (
            {"GATEWAY_ADMIN_LISTEN": "127.0.0.1:8080"},
            "GATEWAY_ADMIN_LISTEN: 127.0.0.1:8080 is taken by GATEWAY_LISTEN, 0.0.0.0:8080",
        ),
        (
            {"GATEWAY_LISTEN": "127.0.0.1:65536"},
            "GATEWAY_LISTEN: entry 1 the port should be from 0 to 65535, is '127.0.0.1:65536'",
        ),
        ({"GATEWAY_LISTEN": "8080"}, "GATEWAY_LISTEN: entry 1 should be host:port"),
        ({"GATEWAY_LISTEN": ":1,8080"}, "GATEWAY_LISTEN: entry 2 should be host:port"),
        ({"GATEWAY_LISTEN": "unix:g.sock"}, "GATEWAY_LISTEN: entry 1 should be unix:/path, with an absolute"),
        ({"GATEWAY_LISTEN": f"unix:/{'x' * 107}"}, "GATEWAY_LISTEN: entry 1 should be unix:/path"),
        ({"GATEWAY_LISTEN": ""}, "GATEWAY_LISTEN: "),
        (
            {"GATEWAY_LISTEN": "unix:/a,:1,unix:/a"},
            "GATEWAY_LISTEN: unix:/a is taken by unix:/a, which is listed before it",
        ),
        ({"GATEWAY_LISTEN": ":81,[::]:81"}, "GATEWAY_LISTEN: [::]:81 is taken by :81"),
        ({"GATEWAY_LISTEN": "0.0.0.0:81,10.0.0.1:81"}, "GATEWAY_LISTEN: 10.0.0.1:81 is taken by 0.0.0.0:81"),
        ({"GATEWAY_UNIX_MODE": "0888"}, "GATEWAY_UNIX_MODE: should be the octal mode of a file"),
        ({"GATEWAY_UNIX_OWNER": "a b"}, "GATEWAY_UNIX_OWNER: should be user, user:group or :group"),
        (
            {"GATEWAY_UNIX_TRUSTED": "on"},
            "GATEWAY_UNIX_TRUSTED: has no effect: GATEWAY_LISTEN names no unix:/path",
        ),
        ({"GATEWAY_PROXY_PROTOCOL_UNIX": "on"}, "GATEWAY_PROXY_PROTOCOL_UNIX: has no effect"),
        (
            {"GATEWAY_UPSTREAM_URL": "http://app:0"},
            "GATEWAY_UPSTREAM_URL: the port should be from 1 to 65535",
        ),
        *(
            ({name: f"http://collector:{port}"}, f"{name}: the port should be from 1 to 65535")
            for name in ("GATEWAY_TRACE_ENDPOINT", "GATEWAY_METRICS_ENDPOINT")
            for port in (0, 65536)
        ),
        ({"GATEWAY_UPSTREAM_URL": "ftp://app:443"}, "GATEWAY_UPSTREAM_URL: should be http://host:port"),
        ({"GATEWAY_UPSTREAM_URL": "http://app:80/base"}, "GATEWAY_UPSTREAM_URL: should be http://host:port"),
        (
            {"GATEWAY_DATABASE_URL": "postgresql://u:a/b@db/x"},
            "GATEWAY_DATABASE_URL: ends too early; should be postgresql://user:",
        ),
        ({"GATEWAY_DATABASE_URL": "mysql://db/x"}, "GATEWAY_DATABASE_URL: should begin with postgresql://"),
        (
            {"GATEWAY_DATABASE_URL": "postgresql://u:a@db1:5432,db2:99999/x"},
            "GATEWAY_DATABASE_URL: should be postgresql://user:",
        ),
        (
            {"GATEWAY_TRUSTED_PROXIES": "10.0.0.0/8,10.0.0.1/8"},
            (
                "GATEWAY_TRUSTED_PROXIES: entry 2 should be a network, such as 10.0.0.0/8 or 2001:db8::/32, "
                "with no bit set after the prefix, is '10.0.0.1/8'"
            ),
        ),
        ({"GATEWAY_PUBLIC_PATHS": "/ok,api/x"}, "GATEWAY_PUBLIC_PATHS: entry 2 should be /path, /path/*"),
        ({"GATEWAY_PUBLIC_PATHS": "/a*b"}, "GATEWAY_PUBLIC_PATHS: entry 1 should be /path, /path/*"),
        ({"GATEWAY_PROTECTED_PATHS": "/a?b=c"}, "GATEWAY_PROTECTED_PATHS: entry 1 should be /path, /path/*"),
        ({"GATEWAY_PROTECTED_PATHS": "/a//b"}, "GATEWAY_PROTECTED_PATHS: entry 1 has an empty segment"),
        (
            {"GATEWAY_PUBLIC_PATHS": "GET /a{b}"},
            "GATEWAY_PUBLIC_PATHS: entry 1 segment 'a{b}' should be plain text",
        ),
        (
            {"GATEWAY_HEADER_ORG_ID": "X Org"},
            "GATEWAY_HEADER_ORG_ID: should be the name of a header, such as X-User-ID",
        ),
        (
            {"GATEWAY_HEADER_ORG_ID": "X-Org\r\nX-Evil"},
            "GATEWAY_HEADER_ORG_ID: should be the name of a header",
        ),
        ({"GATEWAY_HEADER_ORG_ID": "X-Org\u00e9"}, "GATEWAY_HEADER_ORG_ID: should be the name of a header"),
        (
            {"GATEWAY_CORS_METHODS": "GET,put"},
            "GATEWAY_CORS_METHODS: entry 2 should be a method in capital letters",
        ),
        *(
            (
                {"GATEWAY_COOKIE_BASE_PATH": path},
                "GATEWAY_COOKIE_BASE_PATH: should be a path that begins with / and does not end with one",
            )
            for path in ("whatomate", "/", "/whatomate/", "//a", "/a b", "/a;b", "/a%2fb", "/\u00e4")
        ),
        *(
            ({"GATEWAY_COOKIE_BASE_PATH": path}, "GATEWAY_COOKIE_BASE_PATH: should have no segment . or ..")
            for path in ("/..", "/a/./b", "/a/..")
        ),
        (
            {"GATEWAY_HEADER_USER_ID": "x_org.id"},
            "GATEWAY_HEADER_ORG_ID: X-Org-ID is the same header as that of GATEWAY_HEADER_USER_ID",
        ),
        (
            {"GATEWAY_HEADER_USER_ID": "Content_Length"},
            "GATEWAY_HEADER_USER_ID: Content_Length has a meaning of its own",
        ),
        *(
            (
                {"GATEWAY_HEADER_USER_EMAIL": name},
                f"GATEWAY_HEADER_USER_EMAIL: {name} has a meaning of its own",
            )
            for name in ("X-Forwarded-For", "x_real_ip", "Forwarded", "CDN-Loop", "Traceparent")
        ),
        ({"GATEWAY_COOKIES": "maybe"}, "GATEWAY_COOKIES: should be on or off, is 'maybe' ("),
        ({"GATEWAY_LISTEN": " ,"}, "GATEWAY_LISTEN: should have at least one entry, is ' ,' ("),
        ({"GATEWAY_TIMEOUT_DRAIN_SECONDS": "inf"}, "GATEWAY_TIMEOUT_DRAIN_SECONDS: "),
        ({"GATEWAY_JWT_LEEWAY_SECONDS": "nan"}, "GATEWAY_JWT_LEEWAY_SECONDS: "),
    ],
)
def test_a_bad_value_is_refused_in_words(environment: dict[str, str], expected: str) -> None:
    (problem,) = problems_of(environment)
    assert problem.startswith(expected)


def test_the_usual_names_of_forwarded_identity_are_taken() -> None:
    for name in ("X-Forwarded-User", "X-Forwarded-Email", "Remote-User"):
        assert load({"GATEWAY_HEADER_USER_ID": name}).header.names()["user_id"] == name


def test_no_setting_is_refused_in_the_words_of_a_pattern() -> None:
    for setting in described():
        shape = json.dumps(setting.schema)
        if '"pattern"' in shape and not setting.is_secret:
            assert not any(
                "match pattern" in problem for problem in problems_of({setting.name: "\u00e4 ;"})
            ), setting.name


def test_two_listeners_may_share_a_port_on_different_addresses_and_any_port_when_it_is_chosen() -> None:
    assert load({"GATEWAY_LISTEN": "10.0.0.1:8080", "GATEWAY_ADMIN_LISTEN": "127.0.0.1:8080"})
    assert load({"GATEWAY_LISTEN": ":0", "GATEWAY_ADMIN_LISTEN": ":0"})
    assert load({"GATEWAY_LISTEN": "0.0.0.0:80,[::]:80,unix:/a", "GATEWAY_UNIX_TRUSTED": "on"})


def test_a_refused_value_is_judged_once() -> None:
    (problem,) = problems_of({"GATEWAY_DATABASE_POOL_MIN": "-3", "GATEWAY_DATABASE_POOL_MAX": "1"})
    assert problem.startswith("GATEWAY_DATABASE_POOL_MIN: should be greater")


def test_a_line_that_cannot_be_read_hides_no_other_line_of_the_env_file(tmp_path: Path) -> None:
    lines = [f"{name}={value}" for name, value in GOOD.items()]
    (tmp_path / ".env").write_text(
        "\n".join([*lines, "no assignment", "GATEWAY_LISTN=:1", "GATEWAY_COOKIES=maybe"])
    )
    found = problems_of({}, tmp_path, bare=True)
    assert [problem.partition(":")[0] for problem in found] == [
        f"{tmp_path}/.env, line 4",
        "GATEWAY_COOKIES",
        "GATEWAY_LISTN",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"GATEWAY_JWT_SECRET='{SECRET}\n", "line 1: cannot be read"),
        ("GATEWAY_JWT_SECRET\n", "line 1: cannot be read"),
        ("export GATEWAY_JWT_SECRET_FILE: /a\n", "line 1: cannot be read"),
        (
            f"GATEWAY_JWT_SECRET={SECRET}\nGATEWAY_JWT_SECRET={SECRET}\n",
            "GATEWAY_JWT_SECRET: is set in lines 1",
        ),
        (None, ".env: cannot be read: it is a folder"),
    ],
)
def test_what_stands_where_nothing_can_be_read_is_not_called_missing(
    text: str | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / ".env"
    path.mkdir() if text is None else path.write_text(text)
    rest = {name: value for name, value in GOOD.items() if name != "GATEWAY_JWT_SECRET"}
    (found,) = problems_of(rest, tmp_path, bare=True)
    assert expected in found
    (found,) = problems_of({**rest, "GATEWAY_SECRETS_DIR": str(tmp_path / "none")}, bare=True)
    assert found.startswith("GATEWAY_SECRETS_DIR: ")


def test_a_setting_and_its_file_together_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    (problem,) = problems_of({"GATEWAY_JWT_SECRET_FILE": str(path)})
    assert problem == "GATEWAY_JWT_SECRET: set twice, also as GATEWAY_JWT_SECRET_FILE; keep one of the two"


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "No such file or directory"), (b"", "is empty"), (b"\xff\xfe", "not UTF-8")],
)
def test_a_file_that_gives_nothing_is_a_problem_of_the_name_that_was_typed(
    content: bytes | None, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    rest = {name: value for name, value in GOOD.items() if name != "GATEWAY_JWT_SECRET"}
    (problem,) = problems_of({**rest, "GATEWAY_JWT_SECRET_FILE": str(path)}, bare=True)
    assert problem.startswith("GATEWAY_JWT_SECRET_FILE: ")
    assert str(path) in problem
    assert expected in problem


def test_a_secrets_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    (problem,) = problems_of({"GATEWAY_SECRETS_DIR": str(tmp_path / "none")})
    assert problem.startswith("GATEWAY_SECRETS_DIR: cannot read the folder ")


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("nobody-here", "there is no user nobody-here on this machine"),
        (":nobody-here", "there is no group nobody-here on this machine"),
        ("99999999999", "99999999999 is above the ids of users and groups"),
    ],
)
def test_an_owner_whom_this_machine_does_not_know_is_refused_before_the_socket_is_made(
    owner: str, expected: str, tmp_path: Path
) -> None:
    (found,) = problems_of({"GATEWAY_LISTEN": f"unix:{tmp_path}/a", "GATEWAY_UNIX_OWNER": owner})
    assert found.startswith(f"GATEWAY_UNIX_OWNER: {expected}")
    assert load({"GATEWAY_LISTEN": f"unix:{tmp_path}/a", "GATEWAY_UNIX_OWNER": "root:0"})
    assert load({"GATEWAY_UNIX_OWNER": owner}), "without a Unix socket nothing has an owner"


# -- words, then files -------------------------------------------------------------------------------------------


def test_words_come_before_files_and_files_before_routes_and_all_are_told(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("routes: [{name: a}]")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one.pem").write_text("hunter2")
    found = problems_of(
        {
            "GATEWAY_ADMIN_TOKEN_FILE": str(tmp_path / "gone"),
            "GATEWAY_DATABASE_URL": f"postgresql://u@db/w?sslrootcert={tmp_path}/ca.pem",
            "GATEWAY_JWT_KEYS_DIR": str(tmp_path / "keys"),
            "GATEWAY_LIMITS_URL": f"rediss://redis/0?ssl_ca_certs={tmp_path}/ca.pem",
            "GATEWAY_LISTEN": f"unix:{tmp_path}/none/gateway.sock",
            "GATEWAY_UPSTREAM_URL": "https://app",
            "GATEWAY_UPSTREAM_TLS_CA_FILE": str(tmp_path / "gone"),
            "GATEWAY_ROUTES": str(tmp_path / "routes.yaml"),
            "GATEWAY_TOKEN_ACCESS_SECONDS": "none",
            "GATEWAY_REGISTRATOIN": "closed",
        },
        more_files=lambda settings: (
            ("GATEWAY_JWT_KEYS_DIR", one) for one in key_problems(settings.jwt.keys_dir)
        ),
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "GATEWAY_REGISTRATOIN",
        "GATEWAY_TOKEN_ACCESS_SECONDS",
        "GATEWAY_ADMIN_TOKEN_FILE",
        "GATEWAY_DATABASE_URL",
        "GATEWAY_JWT_KEYS_DIR",
        "GATEWAY_LIMITS_URL",
        "GATEWAY_LISTEN",
        "GATEWAY_UPSTREAM_TLS_CA_FILE",
        f"{tmp_path}/routes.yaml",
        f"{tmp_path}/routes.yaml",
    ]
    assert "hunter2" not in "".join(found)


def test_a_command_that_does_not_serve_reads_no_file_of_serving(tmp_path: Path) -> None:
    load({"GATEWAY_JWT_KEYS_DIR": str(tmp_path / "gone")}, required=frozenset())


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (
            "postgresql://u:p@hunter2/w@db/x",
            "ends too early; should be postgresql://user:password@host:5432/name; ",
        ),
        ("postgresql://u:hunter2/w@db:5432/x", "ends too early; should be postgresql://user:password@host"),
        (
            "postgresql://u:p@hunter2@db:5432/x",
            "has more than one @ before the host; an @ in the user or the",
        ),
        ("postgresql://u:hunter2@[db/x", "should be postgresql://user:password@host"),
        ("postgresql://u:hunter2@a,,b/x", "has an empty host in its list; should be postgresql://"),
        ("postgresql://u:hunter2@a,b/x?port=1,2,3", "has 3 ports behind the ? for 2 hosts"),
        ("postgresql://u:hunter2@db/x?port=0", "should be postgresql://user:password@host"),
        ("postgresql://u:hunter2%00@db/x", "has a NUL in it"),
        ("postgresql://u:1/hunter2@db/x", "ends too early"),
        ("postgresql://u:1#hunter2@db/x", "ends too early"),
        ("postgresql://u:1?hunter2@db/x", "should be postgresql://user:password@host"),
        ("postgresql://u:1?a=1&hunter2@db/x=1", "ends too early"),
        ("postgresql://u:hunter2@db:port/x", "should be postgresql://user:password@host"),
        ("postgresql://u:hunter2@db:70000/x", "should be postgresql://user:password@host"),
        (
            "postgresql://u:hunter2@db/x?sslmode=requier",
            "sslmode should be one of disable, allow, prefer, require, ",
        ),
        (
            "postgresql://u:hunter2@db/x?sslmod=require",
            "has no parameter sslmod behind the ?; did you mean sslmode?",
        ),
        (
            "postgresql://u:hunter2@db/x?ssl_mode=require",
            "has no parameter ssl_mode behind the ?; did you mean sslmo",
        ),
        (
            "postgresql://u:hunter2@db/x?target_session_attrs=primry",
            "target_session_attrs should be one of any, ",
        ),
        ("mysql://u:hunter2@db/x", "should begin with postgresql://"),
    ],
)
@pytest.mark.parametrize(
    "name", ["GATEWAY_DATABASE_URL", "GATEWAY_DATABASE_LISTEN_URL", "GATEWAY_MIGRATE_DATABASE_URL"]
)
def test_a_database_url_that_is_written_wrongly_is_named_without_its_password(
    name: str, url: str, problem: str
) -> None:
    (found,) = problems_of({name: url})
    assert found.startswith(f"{name}: {problem}")
    assert "hunter2" not in found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2Fw@db/x",
        "postgresql://u@a:1,b:2/x?target_session_attrs=read-write&sslmode=verify-full",
        "postgresql://u@db/x?sslmode=verify_ca&options=-c%20search_path%3Dw&user=me@tenant",
        "postgresql:///x?host=/run/postgresql&statement_timeout=5000",
        "postgresql://u:se\N{ACCOUNT OF}cret@db/x",
        "postgresql://u:sim[ple@db:5432/x",
        "postgresql://u:p]a[ss@[::1]:5432,db/x",
    ],
)
def test_a_database_url_that_the_driver_reads_is_taken(url: str) -> None:
    assert load({"GATEWAY_DATABASE_URL": url}).database.url is not None


@pytest.mark.parametrize(
    "query",
    [
        *("channel_binding=require", "gssencmode=require", "hostaddr=192.0.2.1", "load_balance_hosts=random"),
        *(
            "require_auth=scram-sha-256",
            "requirepeer=postgres",
            "service=w",
            "servicefile=/w",
            "ssl=1",
            "sslsni=0",
        ),
        *("replication=database", "client_encoding=LATIN1", "sslcertmode=require", "sslcompression=1"),
    ],
)
def test_a_parameter_of_libpq_that_cannot_be_honoured_is_refused_by_name(query: str) -> None:
    (found,) = problems_of({"GATEWAY_DATABASE_URL": f"postgresql://u:hunter2@db/x?{query}"})
    assert found.startswith(f"GATEWAY_DATABASE_URL: {query.partition('=')[0]} cannot be honoured: ")
    assert "hunter2" not in found


@pytest.mark.parametrize("value", ["0", "-1", "abc", "3601", "9" * 5000])
def test_a_time_limit_that_is_none_is_refused(value: str) -> None:
    (found,) = problems_of({"GATEWAY_DATABASE_URL": f"postgresql://u@db/x?connect_timeout={value}"})
    assert "connect_timeout should be a number of seconds from 1 to 3600" in found


def test_the_certificates_of_the_system_are_refused_with_what_to_name() -> None:
    (found,) = problems_of({"GATEWAY_DATABASE_URL": "postgresql://u@db/x?sslrootcert=system"})
    assert "sslrootcert=system cannot be honoured; name the file of this machine's certificates" in found


# -- what is never shown ----------------------------------------------------------------------------------------


def test_no_secret_is_in_a_problem_or_in_the_settings_repr() -> None:
    hidden = "hunter2hunter2"
    for name in ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_PREVIOUS_SECRETS"):
        assert hidden not in "".join(problems_of({name: hidden}))
    for name, value in (
        ("GATEWAY_DATABASE_URL", f"mysql://u:{hidden}@db/x"),
        ("GATEWAY_UPSTREAM_URL", f"http://u:{hidden}@app:80"),
    ):
        with pytest.raises(ConfigError) as caught:
            load({name: value})
        assert hidden not in f"{caught.value} {caught.value!r} {caught.value.problems}"
    settings = load({"GATEWAY_JWT_PREVIOUS_SECRETS": SECRET + hidden})
    shown = f"{settings!r} {settings}"
    assert SECRET not in shown
    assert "hunter2" not in shown


KEY_TEXT: Final = "-----BEGIN PRIVATE KEY-----\nhunter2\nhunter2\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    "name", [name for name in FIELDS if name.endswith(("_FILE", "_DIR"))] + ["GATEWAY_ROUTES"]
)
@pytest.mark.parametrize("text", [KEY_TEXT, KEY_TEXT.replace("\n", "\\n"), f"  {KEY_TEXT}"])
def test_a_key_in_the_place_of_its_path_is_refused_and_not_shown(
    name: str, text: str, tmp_path: Path
) -> None:
    """In the environment, and in a folder of secrets whose file is called like the setting of a path."""
    (tmp_path / name).write_text(text)
    twin = {
        other: text
        for other in (name.replace("_CERT_FILE", "_KEY_FILE"), name.replace("_KEY_FILE", "_CERT_FILE"))
        if other in FIELDS
    }
    for environment in ({**twin, name: text}, {"GATEWAY_SECRETS_DIR": str(tmp_path)}):
        found = problems_of(environment)
        assert f"{name}: should be the path of a file, on one line, and not the text of the file" in " ".join(
            found
        )
        assert "hunter2" not in " ".join(found)


@pytest.mark.parametrize(
    ("name", "text"), [("GATEWAY_ROUTES", "routes:\n  - {}\n"), ("GATEWAY_DATABASE_POOL_MAX", "many")]
)
def test_a_value_that_came_from_a_file_is_refused_with_the_file(name: str, text: str, tmp_path: Path) -> None:
    """GATEWAY_ROUTES is a path, so whoever sets GATEWAY_ROUTES_FILE has the route file read as that path."""
    (tmp_path / name).write_text(text)
    for environment in ({f"{name}_FILE": str(tmp_path / name)}, {"GATEWAY_SECRETS_DIR": str(tmp_path)}):
        (found,) = [problem for problem in problems_of(environment) if problem.startswith(f"{name}: ")]
        assert found.endswith(f"; the value is what stands in {tmp_path / name}")


def test_a_key_in_the_place_of_its_path_in_a_route_file_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(
        json.dumps(
            {
                "upstreams": {
                    "app": {"url": "https://app", "tls": {"cert_file": KEY_TEXT, "key_file": KEY_TEXT}}
                },
                "routes": [
                    {"name": "all", "match": {"path": "/*"}, "auth": "required", "upstream": "app"},
                    {"name": "rest", "match": {"path": "/x"}, "auth": "required"},
                ],
            }
        )
    )
    found = problems_of({"GATEWAY_ROUTES": str(path)})
    assert any("tls.key_file: should be the path of a file" in problem for problem in found), found
    assert "hunter2" not in " ".join(found)


@pytest.mark.parametrize("value", ["hunter2/hunter2+hunter2=", f"{KEY_TEXT}", "a\nhunter2"])
@pytest.mark.parametrize("name", ["GATEWAY_JWT_SECRET", "GATEWAY_SIGNED_KEY", "GATEWAY_DATABASE_PASSWORD"])
def test_a_secret_in_the_place_of_its_file_is_refused_and_not_shown(name: str, value: str) -> None:
    (found,) = problems_of({k: v for k, v in GOOD.items() if k != name} | {f"{name}_FILE": value}, bare=True)
    assert found.startswith(f"{name}_FILE: ")
    assert "path" in found
    assert "hunter2" not in found


def test_a_route_file_in_the_place_of_the_file_that_names_it_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text("routes:\n  - {name: a, headers: {set: {X-Key: hunter2}}}\n")
    (found,) = problems_of({"GATEWAY_ROUTES_FILE": str(path)})
    assert found.startswith("GATEWAY_ROUTES: should be the path of a file, on one line")
    assert "hunter2" not in found


def test_a_problem_is_one_line_without_control_characters(tmp_path: Path) -> None:
    for environment in (
        {"GATEWAY_SECRETS_DIR": "/a\n\x1b[2J"},
        {"GATEWAY_DATABASE_URL": "postgresql://u@db/x?sslmode=\x1b[2J"},
        {"GATEWAY_ROUTES": f"{tmp_path}/\x1b[2J"},
        {"GATEWAY_JWT_ISSUER_FILE": "/\u2028"},
    ):
        (found,) = problems_of(environment)
        assert found.isprintable(), found


@pytest.mark.parametrize("name", ["GATEWAY_JWT_SECRET", "GATEWAY_DATABASE_PASSWORD"])
def test_a_nul_in_a_file_is_refused_as_in_a_variable(name: str, tmp_path: Path) -> None:
    """Such as UTF-16 without its byte order mark."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET.encode("utf-16-le"))
    rest = {other: value for other, value in GOOD.items() if other != name}
    assert problems_of({**rest, f"{name}_FILE": str(path)}, bare=True) == [
        f"{name}_FILE: {path} has a NUL in it; store it as UTF-8 text"
    ]


def test_what_a_variable_of_opentelemetry_gives_is_named_as_such() -> None:
    (found,) = problems_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:hunter2@collector:4318"})
    assert found.startswith("GATEWAY_TRACE_ENDPOINT: should be http://host:port")
    assert found.endswith("; OTEL_* gives it, and GATEWAY_TRACE_ENDPOINT goes over that")
    (found,) = problems_of(
        {"GATEWAY_TRACE_ENDPOINT": "x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    )
    assert "OTEL" not in found.partition(" (")[0]
    assert "gives it" not in found


@pytest.mark.parametrize(
    "name", ["GATEWAY_UPSTREAM_IDENTITY", "GATEWAY_UPSTREAM_RETRY_WHEN", "GATEWAY_LISTEN", "GATEWAY_PRESET"]
)
def test_a_problem_stays_short_however_long_the_value_is(name: str) -> None:
    (found,) = problems_of({name: "x" * 5_000})
    assert "xxx…" in found
    assert len(found) < 1_000


def test_a_list_is_quoted_as_it_was_written() -> None:
    (found,) = problems_of({"GATEWAY_UPSTREAM_RETRY_WHEN": "reset,5xx"})
    assert ", is 'reset,5xx' (" in found


_ODD: Final = ("hunter2@hunter2", "hunter2\N{ACCOUNT OF}cret", "hunter2[ple", "hunter2]ple", "hunter2")


@pytest.mark.parametrize("password", _ODD)
@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        *(
            (name, "http")
            for name in ("GATEWAY_UPSTREAM_URL", "GATEWAY_TRACE_ENDPOINT", "GATEWAY_METRICS_ENDPOINT")
        ),
        *((name, "redis") for name in ("GATEWAY_WHATOMATE_REDIS_URL", "GATEWAY_LIMITS_URL")),
        *((name, "mysql") for name in ("GATEWAY_DATABASE_URL", "GATEWAY_MIGRATE_DATABASE_URL")),
        *(
            ("GATEWAY_ISSUER_JWKS_URL", "https"),
            ("GATEWAY_CORS_ORIGINS", "https"),
            ("GATEWAY_LISTEN", "http"),
        ),
        *(("GATEWAY_UPSTREAM_RETRY_WHEN", "http"), ("GATEWAY_DATABASE_POOL_MAX", "postgresql")),
    ],
)
def test_no_problem_quotes_the_login_of_a_url(name: str, scheme: str, password: str) -> None:
    for url in (f"{scheme}://gw:{password}@127.0.0.1:80x/0", f"{scheme}://gw:{password}@127.0.0.1:80/0?x=1"):
        found = problems_of({name: url})
        assert any(one.startswith(f"{name}: ") for one in found), found
        assert "hunter2" not in "".join(found)


# -- settings that need each other ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"GATEWAY_ISSUER_URL": "https://id"}, "GATEWAY_ISSUER_JWKS_URL: should say where the keys"),
        ({"GATEWAY_ISSUER_URL": "https://id"}, "GATEWAY_ISSUER_AUDIENCE: should name this gateway"),
        ({"GATEWAY_ISSUER_URL": "whatomate"}, "GATEWAY_ISSUER_URL: is GATEWAY_JWT_ISSUER"),
        ({"GATEWAY_ISSUER_JWKS_URL": "https://id/keys"}, "GATEWAY_ISSUER_URL: should be the iss claim"),
        (
            {"GATEWAY_ISSUER_JWKS_URL": "http://id/keys"},
            "GATEWAY_ISSUER_JWKS_URL: should begin with https://",
        ),
        ({"GATEWAY_ISSUER_JWKS_URL": "file:///etc/passwd"}, "GATEWAY_ISSUER_JWKS_URL: should be https://"),
        ({"GATEWAY_ISSUER_JWKS_URL": "https://u:hunter2@id/"}, "GATEWAY_ISSUER_JWKS_URL: should be https://"),
        ({"GATEWAY_ISSUER_ALGORITHMS": "RS256,HS256"}, "GATEWAY_ISSUER_ALGORITHMS: entry 2 should be"),
        ({"GATEWAY_ISSUER_ALGORITHMS": "none"}, "GATEWAY_ISSUER_ALGORITHMS: entry 1 should be"),
    ],
)
def test_a_foreign_issuer_is_named_whole(environment: dict[str, str], problem: str) -> None:
    found = problems_of(environment)
    assert any(one.startswith(problem) for one in found), found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("word", "more", "problem"),
    [
        ("session_id", {}, "session_id has no name; give it one in GATEWAY_HEADER_SESSION_ID"),
        ("session_id", {"GATEWAY_HEADER_SESSION_ID": "X-Auth-Session-ID"}, None),
        ("identity", {}, "identity is the signed identity, and GATEWAY_SIGNED_IDENTITY is off"),
    ],
)
def test_an_upstream_is_promised_only_identity_headers_that_are_sent(
    word: str, more: dict[str, str], problem: str | None
) -> None:
    environment = {"GATEWAY_UPSTREAM_IDENTITY": f"user_id,{word}", **more}
    if problem is None:
        assert load(environment).upstream.identity == ("user_id", word)
    else:
        assert problems_of(environment) == [f"GATEWAY_UPSTREAM_IDENTITY: {problem}"]


@pytest.mark.parametrize(
    "more",
    [
        {"GATEWAY_ISSUER_UNPROVED_EMAIL": "on", "GATEWAY_REGISTRATION": "invite"},
        {"GATEWAY_ISSUER_UNPROVED_EMAIL": "on", "GATEWAY_ISSUER_CLAIM_USER_ID": "user"},
        {"GATEWAY_LIMIT_HEAD_BYTES": "12288"},
    ],
)
def test_a_foreign_issuer_contradicts_only_what_it_works_together_with(more: dict[str, str]) -> None:
    whole = {"URL": "https://id", "JWKS_URL": "https://id/keys", "AUDIENCE": "gateway"}
    load({**{f"GATEWAY_ISSUER_{name}": value for name, value in whole.items()}, **more})


@pytest.mark.parametrize(
    "url",
    [
        *(
            "redis://:hunter2@redis:6379/0",
            "rediss://user:hunter2@redis/1?ssl_ca_certs=/dev/null",
            "redis://redis",
        ),
        *("unix:///run/redis.sock?db=2", "redis://[::1]:6379"),
    ],
)
def test_whatomates_redis_is_named_by_a_url(url: str) -> None:
    redis_url = load({"GATEWAY_WHATOMATE_REDIS_URL": url}).whatomate.redis_url
    assert redis_url is not None
    assert redis_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://:hunter2@redis/0", "should be redis://"),
        ("redis://:hunter2@redis:port/0", "should be redis://"),
        ("redis://:hunter2@redis:70000/0", "should be redis://"),
        ("redis://:hunter2@[redis/0", "should be redis://"),
        ("redis:///0", "should be redis://"),
        ("redis://:hunter2@redis:0/0", "should be redis://"),
        ("unix://", "should be redis://"),
        ("redis://:hunter2@redis/zero", "the database should be a number"),
        ("unix:///run/redis.sock?db=x", "the database should be a number"),
        ("redis://:hunter2@redis/0?socket_timeout=60", "after ? should stand only db"),
        ("redis://:hunter2@redis/0?hunter2", "should be redis://"),
        ("redis://:hunter2@redis/0?ssl_ca_certs=/ca.pem", "ssl_ca_certs, ssl_cert_reqs"),
        ("rediss://:hunter2@redis/0?ssl_cert_reqs=hunter2", "ssl_cert_reqs should be one of"),
    ],
)
def test_a_url_of_redis_that_cannot_be_used_is_refused_before_anything_begins(url: str, problem: str) -> None:
    (found,) = problems_of({"GATEWAY_WHATOMATE_REDIS_URL": url})
    assert found.startswith(f"GATEWAY_WHATOMATE_REDIS_URL: {problem}")
    assert "hunter2" not in found


@pytest.mark.parametrize("name", ["GATEWAY_JWT_SECRET", "GATEWAY_REGISTRATION", "GATEWAY_DATABASE_URL_FILE"])
def test_a_value_that_is_not_utf_8_is_refused_without_it(name: str) -> None:
    found = problems_of({name: f"hunter2{SECRET}\udcff"})
    assert f"{name}: is not UTF-8 text" in found
    assert "hunter2" not in " ".join(found)


def test_an_env_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("GATEWAY_REGISTRATION=closed\n", encoding="utf-16")
    with pytest.raises(ConfigError) as caught:
        load(tmp=tmp_path)
    assert caught.value.problems == [f"{tmp_path}/.env: cannot be read: it is not UTF-8 text"]


def test_redis_needs_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.extras.find_spec", lambda _: None)
    (found,) = problems_of({"GATEWAY_WHATOMATE_REDIS_URL": "redis://redis"})
    assert "whatomate-gateway[redis]" in found
