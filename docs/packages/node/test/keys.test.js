// When a key set is fetched, kept and given up, by a clock that the test moves; and what middleware answers.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { identityMiddleware, KeySet, PublicKeys, SharedSecrets, utf8, Verifier } from "../lib/index.js";
import { SigningGateway } from "../lib/testing.js";

const START = 1_800_000_000;
const OLD = new SigningGateway({ audience: "billing" });
const NEW = new SigningGateway({ audience: "billing" });

class Service {
  now = START;
  fetches = 0;
  isReachable = true;
  answer = null;

  constructor(...published) {
    this.published = published;
    const keys = new KeySet("http://gateway/keys", { fetch: () => this.#fetch() });
    this.verifier = new Verifier(keys, { audience: "billing", clock: () => this.now });
  }

  async #fetch() {
    this.fetches += 1;
    await null;
    if (!this.isReachable) throw new Error("nobody listens");
    return this.answer ?? JSON.stringify({ keys: this.published.flatMap((one) => one.jwks.keys) });
  }

  async outcome(by) {
    const rawHeaders = Object.entries(by.headers("GET", "/bills", { now: this.now })).flat();
    try {
      await this.verifier.verify({ method: "GET", url: "/bills", rawHeaders, headers: {} });
      return "taken";
    } catch (error) {
      return error.reason ?? error.name;
    }
  }
}

test("a key set is fetched once, kept, and fetched again after five minutes", async () => {
  const service = new Service(OLD);
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => service.outcome(OLD)));
  assert.deepEqual(outcomes, Array(5).fill("taken"));
  service.now += 299;
  assert.equal(await service.outcome(OLD), "taken");
  assert.equal(service.fetches, 1);
  service.now += 1;
  assert.equal(await service.outcome(OLD), "taken");
  assert.equal(service.fetches, 2);
});

test("a new key is found by its first token, and unknown ones cause a fetch in ten seconds and not more", async () => {
  const service = new Service(OLD);
  assert.equal(await service.outcome(OLD), "taken");
  service.published.push(NEW);
  service.now += 10;
  assert.equal(await service.outcome(NEW), "taken");
  assert.equal(service.fetches, 2);
  const stranger = new SigningGateway({ audience: "billing" });
  for (let i = 0; i < 20; i += 1, service.now += 1) assert.equal(await service.outcome(stranger), "key");
  assert.equal(service.fetches, 3);
});

test("a key that was taken back is refused within five minutes", async () => {
  const service = new Service(OLD, NEW);
  assert.equal(await service.outcome(OLD), "taken");
  service.published = [NEW];
  service.now += 300;
  assert.equal(await service.outcome(OLD), "key");
});

test("while the gateway cannot be reached known keys serve for an hour, and unknown ones are no refusal", async () => {
  const service = new Service(OLD);
  assert.equal(await service.outcome(OLD), "taken");
  service.isReachable = false;
  for (const later of [301, 3599]) {
    service.now = START + later;
    assert.equal(await service.outcome(OLD), "taken");
    assert.equal(await service.outcome(NEW), "KeysUnavailable");
  }
  service.now = START + 3600;
  assert.equal(await service.outcome(OLD), "KeysUnavailable");
  service.isReachable = true;
  service.now += 10;
  assert.equal(await service.outcome(OLD), "taken");
});

for (const answer of ["<html>", "[]", "{}", "null", '{"keys": 1}', " ".repeat(200_000)]) {
  test(`what is no key set leaves the one before: ${answer.slice(0, 12)}`, async () => {
    const service = new Service(OLD);
    assert.equal(await service.outcome(OLD), "taken");
    service.answer = answer;
    service.now += 300;
    assert.equal(await service.outcome(OLD), "taken");
    assert.equal(await service.outcome(NEW), "KeysUnavailable");
  });
}

test("a clock that goes back does not keep keys for ever", async () => {
  const service = new Service(OLD);
  assert.equal(await service.outcome(OLD), "taken");
  service.now -= 86_400;
  service.published = [NEW];
  assert.equal(await service.outcome(OLD), "key");
});

test("a key set is fetched from its URL and from nowhere else", async () => {
  const server = createServer((request, response) => {
    const status = { "/keys": 200, "/moved": 302 }[request.url] ?? 500;
    response.writeHead(status, { Location: "/keys" }).end(JSON.stringify(OLD.jwks));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${server.address().port}`;
  try {
    assert.equal((await new KeySet(`${url}/keys`).find(OLD.kid, START)).length, 1);
    for (const path of ["/moved", "/broken"]) {
      await assert.rejects(new KeySet(url + path).find(OLD.kid, START), { name: "KeysUnavailable" });
    }
  } finally {
    server.close();
    server.closeAllConnections?.();
  }
});

test("what cannot be keys is refused at the start", () => {
  for (const make of [
    () => new KeySet("file:///etc/passwd"),
    () => new PublicKeys([]),
    () => new PublicKeys(["nonsense"]),
    () => new SharedSecrets([]),
    () => new SharedSecrets(["short"]),
    () => new SharedSecrets([OLD.publicKey]),
    () => new Verifier(new PublicKeys([OLD.publicKey])),
  ]) {
    assert.throws(make);
  }
});

test("middleware answers 401 and 503, and lets optional paths through with nobody", async () => {
  const service = new Service(OLD);
  service.now = Date.now() / 1000;
  const guard = identityMiddleware(service.verifier, { optional: ["/healthz"] });
  const server = createServer((request, response) => {
    guard(request, response, () => response.end(JSON.stringify([request.identity?.name ?? null, request.headers["x-user-name"] ?? null])));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const ask = async (path, headers) => {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers });
    return [answer.status, await answer.json()];
  };
  try {
    service.isReachable = false;
    assert.equal((await ask("/bills", OLD.headers("GET", "/bills")))[0], 503);
    assert.equal((await ask("/bills", {}))[0], 401);
    assert.deepEqual(await ask("/healthz", { "X-User-Name": "Mallory" }), [200, [null, null]]);
    assert.equal((await ask("/healthz", { "X-Identity": "forged" }))[0], 401);
    service.isReachable = true;
    service.now += 10;
    const headers = { ...OLD.headers("GET", "/bills", { name: "Zoë" }), "X-User-Name": "Mallory" };
    const [status, [name, plain]] = await ask("/bills", headers);
    assert.deepEqual([status, name, utf8(plain)], [200, "Zoë", "Zoë"]);
    assert.match((await ask("/other", headers))[1].message, /another path/);
  } finally {
    server.close();
    server.closeAllConnections?.();
  }
});

test("text that is no UTF-8 stays as it is", () => {
  assert.equal(utf8("Zo\u00c3\u00ab"), "Zoë");
  assert.equal(utf8("Zo\u00eb"), "Zo\u00eb");
});
