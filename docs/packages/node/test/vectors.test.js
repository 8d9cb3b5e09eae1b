// The requests of docs/packages/vectors.json, which every language's package takes or refuses alike.
import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { KeySet, SharedSecrets, Verifier } from "../lib/index.js";
import { SigningGateway } from "../lib/testing.js";

const VECTORS = JSON.parse(readFileSync(new URL("../../vectors.json", import.meta.url), "utf8"));
const latin1 = (text) => Buffer.from(text, "utf8").toString("latin1");

function verifier(algorithm) {
  const jwks = JSON.stringify(VECTORS.jwks);
  const keys =
    algorithm === "HS256"
      ? new SharedSecrets([VECTORS.secret])
      : new KeySet("http://gateway/keys", { fetch: async () => jwks });
  const { issuer, audience, leeway_seconds: leewaySeconds, now } = VECTORS;
  return new Verifier(keys, { issuer, audience, leewaySeconds, clock: () => now });
}

function requestOf(one) {
  const headers = Object.fromEntries(one.headers.map(([name, value]) => [name.toLowerCase(), latin1(value)]));
  return { method: one.method, url: one.target, headers, rawHeaders: one.headers.flat().map(latin1) };
}

for (const one of VECTORS.cases) {
  test(one.name, async () => {
    const verifying = verifier(one.algorithm).verify(requestOf(one));
    if (one.reason) {
      await assert.rejects(verifying, { name: "IdentityRejected", reason: one.reason });
      return;
    }
    const { may, ...read } = await verifying;
    const underscored = Object.entries(read).map(([name, value]) => [
      name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      value instanceof Set ? [...value].sort() : value,
    ]);
    assert.deepEqual(Object.fromEntries(underscored), one.identity);
    assert.equal(may("no:such"), one.identity.is_super_admin);
  });
}

test("an application sees what is signed and nothing else", async () => {
  const one = VECTORS.cases.find(({ name }) => name === "plain headers that say something else");
  const request = requestOf({ ...one, headers: [...one.headers, ["Accept", "*/*"], ["X-Identity-Proof", "x"]] });
  const verify = verifier("EdDSA");
  verify.replaceHeaders(request, await verify.verify(request));
  assert.equal(request.headers["x-user-name"], latin1(one.identity.name));
  assert.equal(request.headers["x-user-id"], one.identity.user_id);
  assert.equal(request.headers.accept, "*/*");
  assert.ok(!("x_user.name" in request.headers) && !("x-identity-proof" in request.headers));
  assert.ok(!request.rawHeaders.includes("Mallory"));
  const names = request.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  assert.equal(new Set(names).size, names.length);
  verify.replaceHeaders(request, null);
  assert.deepEqual(request.headers, { accept: "*/*" });
});

test("an application is given every header that the gateway sends, though none was sent but the signed one", async () => {
  const request = requestOf(VECTORS.cases[0]);
  const verify = verifier("EdDSA");
  verify.replaceHeaders(request, await verify.verify(request));
  const { "x-identity": token, ...seen } = request.headers;
  assert.ok(token);
  assert.deepEqual(seen, Object.fromEntries(Object.entries(VECTORS.restored).map(([name, value]) => [name, latin1(value)])));
});

test("an identity made for tests is what the gateway makes", async () => {
  const key = (number) =>
    createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, number)]),
      format: "der",
      type: "pkcs8",
    });
  const gateway = new SigningGateway({ audience: VECTORS.audience, privateKey: key(1) });
  const { kid, ...members } = gateway.jwks.keys[0];
  const { kid: theirs, ...published } = VECTORS.jwks.keys[0];
  assert.equal(kid, theirs);
  assert.deepEqual(members, published);
  const { user_id: userId, organization_id: organizationId, role_id: roleId, auth_method: authMethod, key_id: keyId, ...same } =
    VECTORS.cases[0].identity;
  const caller = { ...same, userId, organizationId, roleId, authMethod, keyId, requestId: same.request_id, now: VECTORS.now };
  const headers = gateway.headers("GET", "/bills/7", caller);
  const read = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  const sent = Object.fromEntries(VECTORS.cases[0].headers);
  assert.deepEqual(read(headers["X-Identity"]), read(sent["X-Identity"]));
  assert.equal(headers["X-User-Permissions"], sent["X-User-Permissions"]);
});
