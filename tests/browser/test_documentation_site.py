"""The documentation's site: built whole, read as CommonMark reads it, searchable, and tried out against a gateway."""

from __future__ import annotations

import asyncio
import functools
import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from markdown_it import MarkdownIt

from tests.support.programs import program
from tests.support.worlds import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.driving import Browser
    from tests.support.worlds import Start, World

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "docs/site/mkdocs.yml"
COUNTED: Final = ("li", "ul", "ol", "table", "tr", "pre", "h2", "h3", "img")
LATEST_SECONDS: Final = 30


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; any link, anchor or page that is missing fails the build."""
    mkdocs, place = program("mkdocs"), tmp_path_factory.mktemp("site")
    document = subprocess.run(
        [sys.executable, "docs/site/make_openapi.py"], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    (place / "openapi.json").write_bytes(document.stdout)
    result = subprocess.run(
        [mkdocs, "build", "--config-file", str(CONFIG), "--site-dir", str(place / "html")],
        env={
            "PATH": "/usr/bin:/bin",
            "OPENAPI": str(place / "openapi.json"),
            "NO_MKDOCS_2_WARNING": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    return place / "html"


@pytest.fixture
def served(built: Path) -> Iterator[str]:
    """The URL at which the site is served, as its own page says to serve it."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    handler = functools.partial(Handler, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=10)


class Page(HTMLParser):
    """Contents of a page: elements of its article, targets of its links, anchors, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self._within = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.ids |= {named[one] for one in ("id", "name") if one in named}
        self._within |= tag == "article"
        if self._within and tag in COUNTED:
            self.counts[tag] += 1
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        if tag in {"script", "img", "iframe"} and "src" in named:
            self.loaded.append(named["src"])
        if tag == "link" and named.get("rel") in {"stylesheet", "icon", "preload", "preconnect"}:
            self.loaded.append(named["href"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._within = False


def sources() -> dict[str, str]:
    """The place on the site of each page, by its path in the repository; as the site's own hook has it."""
    spec = importlib.util.spec_from_file_location("gather", CONFIG.with_name("gather.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError:  # MkDocs is not in this environment, and the hook needs its types alone
        stub = type(sys)("mkdocs.structure.files")
        stub.File = stub.Files = object  # type: ignore[attr-defined]
        named = {name: type(sys)(name) for name in ("mkdocs", "mkdocs.structure")}
        sys.modules.update({**named, "mkdocs.structure.files": stub})
        spec.loader.exec_module(module)
    places: dict[str, str] = module.pages()
    return places


def test_every_page_is_read_as_commonmark_reads_it(built: Path) -> None:
    commonmark = MarkdownIt("commonmark").enable("table")
    checked = 0
    for source, place in sources().items():
        expected = Page(f"<article>{commonmark.render((ROOT / source).read_text(encoding='utf-8'))}").counts
        found = Page((built / place).with_suffix(".html").read_text(encoding="utf-8")).counts
        assert {tag: found[tag] for tag in COUNTED} == {tag: expected[tag] for tag in COUNTED}, source
        checked += sum(expected.values())
    assert checked > 2000


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in built.rglob("*.html")}
    assert len(pages) > 40
    for path, page in pages.items():
        if path.name == "404.html":  # its links are those of any place
            continue
        for target in page.loaded:
            assert not urlsplit(target).netloc, (path, target)
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or not target:
                continue
            there, fragment = urldefrag(urljoin(path.as_uri(), target))
            file = Path(unquote(urlsplit(there).path))
            file = file / "index.html" if file.is_dir() else file
            assert file.exists(), (path, target)
            if fragment and file in pages and not fragment.startswith("__"):
                assert unquote(fragment) in pages[file].ids, (path, target)


async def until(browser: Browser, body: str, *arguments: object) -> Any:
    """Return the result of a script in the page, once there is one."""
    async with asyncio.timeout(LATEST_SECONDS):
        while not (found := await browser.run(body, *arguments)):
            await asyncio.sleep(0.1)
    return found


async def test_the_search_finds_what_a_page_says(served: str, browser: Browser) -> None:
    await browser.open(f"{served}/index.html")
    found = await until(  # typed until the index is there
        browser,
        """
        const field = document.querySelector(".md-search__input");
        if (field === null) return null;
        document.querySelector("#__search").checked = true;
        field.focus();
        field.value = "ejection";
        for (const kind of ["input", "keyup", "change"]) field.dispatchEvent(new Event(kind, {bubbles: true}));
        return [...document.querySelectorAll(".md-search-result__link")].map(one => one.href).join(" ");
        """,
    )
    assert "/traffic.html" in found


async def test_the_api_is_tried_out_against_a_gateway(
    world: World, start: Start, served: str, browser: Browser
) -> None:
    gate = await start(world.url, cors={"origins": [served]})
    await browser.open(f"{served}/openapi.html")
    frame = await until(
        browser, "return (document.querySelector('iframe.swagger-ui-iframe') || {}).src || null;"
    )
    await browser.open(frame)
    await until(browser, "return document.querySelectorAll('.opblock').length > 15;")
    # The gateway of `make run` has a fixed address; this one has another.
    url = f"http://127.0.0.1:{gate.address[1]}"
    await until(
        browser,
        """
        if (document.querySelector(".servers").textContent.includes(args[0])) return true;
        const spec = window.ui.specSelectors.specJson().toJS();
        spec.servers = [{url: args[0]}];
        window.ui.specActions.updateSpec(JSON.stringify(spec));
        """,
        url,
    )
    sent = json.dumps({"email": "agent@example.com", "password": PASSWORD})
    answer = json.loads(await execute(browser, "post_auth_login", sent))
    assert answer["status"] == "success"
    await browser.run("window.ui.preauthorizeApiKey('token', args[0]);", answer["data"]["access_token"])
    answer = json.loads(await execute(browser, "get_auth_whoami"))
    assert answer["data"]["user_id"] == str(world.agent)
    curl = await browser.run("return document.querySelector('.is-open .curl-command').textContent;")
    assert "Authorization: Bearer" in curl


async def execute(browser: Browser, operation: str, body: str | None = None) -> str:
    """Open an operation, press "Execute" once what it sends is there, and return the body of the live answer."""
    return str(
        await until(
            browser,
            """
            const [operation, body] = args;
            for (const one of document.querySelectorAll(".opblock.is-open"))
                if (!one.id.endsWith(`-${operation}`)) one.querySelector(".opblock-summary-control").click();
            const block = document.querySelector(`[id$="-${operation}"]`);
            const answer = block.querySelector(".live-responses-table pre.microlight");
            if (answer) return answer.textContent;
            const button = block.querySelector(".execute");
            if (button === null) {
                block.querySelector(".opblock-summary-control").click();
                return null;
            }
            const area = block.querySelector("textarea.body-param__text");
            if (body !== null && area.value !== body) {
                Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, body);
                area.dispatchEvent(new Event("change", {bubbles: true}));
                area.dispatchEvent(new Event("input", {bubbles: true}));
                return null;
            }
            if (!block.querySelector(".loading-container")) button.click();
            return null;
            """,
            operation,
            body,
        )
    )
