// Keys that signed identities are verified with: a key set that is fetched, public keys that are given, or secrets.
//
// Laws:
//
// - The kind of keys decides the one algorithm: public keys verify EdDSA, secrets HS256. A token decides nothing.
// - A key set is fetched when it is first needed, when it is older than `keepSeconds`, and when a token names a key that
//   is not in it; never twice within `againSeconds`. So a key that is gone is refused within `keepSeconds`.
// - While the set cannot be fetched, the one before is used until it is `staleSeconds` old. Then, and for a key that it
//   does not have, nothing is known: KeysUnavailable, which is no refusal.
// - The time is passed in, in POSIX seconds.
import { createHmac, createPublicKey, timingSafeEqual, verify } from "node:crypto";

import { KeysUnavailable } from "./identity.js";

const MOST_BYTES = 131072;

function ed25519(key) {
  if (key.asymmetricKeyType !== "ed25519") throw new Error("a key is no Ed25519 public key");
  return (text, signature) => signature.length === 64 && verify(null, text, key, signature);
}

/** Public keys that the service was given, in PEM; with several, keys can be rotated. */
export class PublicKeys {
  algorithm = "EdDSA";
  #checks;

  constructor(pems) {
    this.#checks = pems.map((pem) => ed25519(createPublicKey(pem)));
    if (this.#checks.length === 0) throw new Error("at least one key is needed");
  }

  async find() {
    return this.#checks;
  }
}

/** Secrets of 32 bytes or more that the service shares with the gateway, and could sign with as well. */
export class SharedSecrets {
  algorithm = "HS256";
  #checks;

  constructor(secrets) {
    if (secrets.length === 0) throw new Error("at least one secret is needed");
    this.#checks = secrets.map((secret) => {
      if (Buffer.byteLength(secret) < 32 || secret.includes("-----BEGIN ")) {
        throw new Error("a secret has 32 bytes or more, and is no key in PEM");
      }
      return (text, signature) => {
        const expected = createHmac("sha256", secret).update(text).digest();
        return signature.length === expected.length && timingSafeEqual(signature, expected);
      };
    });
  }

  async find() {
    return this.#checks;
  }
}

/** Key set of the gateway, fetched from /.well-known/identity-jwks.json and kept. */
export class KeySet {
  algorithm = "EdDSA";
  #url;
  #times;
  #fetch;
  #state = { keys: new Map(), error: "" };
  #fetching = null;

  constructor(url, options = {}) {
    if (!/^https?:\/\//.test(url)) throw new Error("the URL of a key set begins with http:// or https://");
    this.#url = url;
    this.#times = { keepSeconds: 300, againSeconds: 10, staleSeconds: 3600, timeoutSeconds: 3, ...options };
    this.#fetch = options.fetch ?? (() => read(url, this.#times.timeoutSeconds));
  }

  /** Returns the checks of the key called `kid`, none if the gateway has no such key; throws KeysUnavailable. */
  async find(kid, now) {
    if (typeof kid !== "string") return [];
    if (this.#waits(kid, now)) {
      this.#fetching ??= this.#fetched(now).finally(() => (this.#fetching = null));
      await this.#fetching;
    }
    const { keys, fetched, error } = this.#state;
    if (keys.has(kid) && within(fetched, now, this.#times.staleSeconds)) return [keys.get(kid)];
    if (error) throw new KeysUnavailable(`the gateway's keys could not be fetched from ${this.#url}: ${error}`);
    return [];
  }

  #waits(kid, now) {
    const { keys, fetched, tried } = this.#state;
    if (this.#fetching === null && within(tried, now, this.#times.againSeconds)) return false;
    return !(keys.has(kid) && within(fetched, now, this.#times.keepSeconds));
  }

  async #fetched(now) {
    try {
      this.#state = { keys: parseKeySet(await this.#fetch()), fetched: now, tried: now, error: "" };
    } catch (error) {
      this.#state = { ...this.#state, tried: now, error: error.cause?.message || error.message || String(error) };
    }
  }
}

function within(then, now, seconds) {
  return then !== undefined && now - then >= 0 && now - then < seconds;
}

async function read(url, timeoutSeconds) {
  // A redirection would let another place name the keys.
  const answer = await fetch(url, { redirect: "error", signal: AbortSignal.timeout(timeoutSeconds * 1000) });
  if (answer.status !== 200) throw new Error(`the answer is ${answer.status}`);
  const chunks = [];
  let length = 0;
  for await (const chunk of answer.body) {
    length += chunk.length;
    if (length > MOST_BYTES) throw new Error("the answer is too long for a key set");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Returns the Ed25519 public keys of a key set by their kids; others are passed over (RFC 7517 section 5). */
function parseKeySet(text) {
  if (text.length > MOST_BYTES) throw new Error("the answer is too long for a key set");
  let members;
  try {
    members = JSON.parse(text)?.keys;
  } catch {
    throw new Error("the answer is no JSON");
  }
  if (!Array.isArray(members)) throw new Error("the answer is no key set");
  const keys = new Map();
  for (const member of members) {
    if (
      typeof member?.kid === "string" &&
      member.kty === "OKP" &&
      member.crv === "Ed25519" &&
      (member.use ?? "sig") === "sig" &&
      (member.alg ?? "EdDSA") === "EdDSA" &&
      !keys.has(member.kid)
    ) {
      try {
        const { kty, crv, x } = member;
        keys.set(member.kid, ed25519(createPublicKey({ key: { kty, crv, x }, format: "jwk" })));
      } catch {
        continue;
      }
    }
  }
  return keys;
}
