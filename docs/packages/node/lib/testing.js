// Maker of signed identities for tests: a gateway's signature without a gateway.
//
//   const gateway = new SigningGateway({ audience: "billing" });
//   app.use(identityMiddleware(gateway.verifier()));
//   await fetch(`${url}/bills`, { headers: gateway.headers("GET", "/bills", { name: "Zoë" }) });
import { createHash, createPublicKey, generateKeyPairSync, sign } from "node:crypto";

import { PublicKeys, Verifier } from "./index.js";

/** Signer with a key of its own, or with `privateKey`, a KeyObject. */
export class SigningGateway {
  #key;

  constructor({ audience, issuer = "whatomate-gateway", privateKey = generateKeyPairSync("ed25519").privateKey }) {
    this.audience = audience;
    this.issuer = issuer;
    this.#key = privateKey;
    const publicKey = createPublicKey(privateKey);
    const { crv, kty, x } = publicKey.export({ format: "jwk" });
    this.publicKey = publicKey.export({ format: "pem", type: "spki" });
    this.kid = createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url"); // RFC 7638
    this.jwks = { keys: [{ crv, kty, x, kid: this.kid, alg: "EdDSA", use: "sig" }] };
  }

  /** Returns a verifier of what it signs, with further options of Verifier. */
  verifier(options = {}) {
    return new Verifier(new PublicKeys([this.publicKey]), { audience: this.audience, issuer: this.issuer, ...options });
  }

  /**
   * Returns the headers of one request in somebody's name. `caller` has what an Identity has, and `now` (POSIX seconds)
   * and `seconds`; `claims` are set besides, or set otherwise, for tests of what is refused.
   */
  headers(method = "GET", path = "/", caller = {}, claims = {}) {
    const who = {
      userId: "11111111-1111-4111-8111-111111111111",
      organizationId: "22222222-2222-4222-8222-222222222222",
      email: "test@example.com",
      name: "Test User",
      role: "agent",
      roleId: null,
      permissions: [],
      isSuperAdmin: false,
      authMethod: "jwt",
      keyId: null,
      requestId: "test-request",
      now: Date.now() / 1000,
      seconds: 60,
      ...caller,
    };
    const listed = [...who.permissions].sort().join(",");
    const issued = Math.floor(who.now);
    const made = {
      iss: this.issuer,
      sub: who.userId,
      org: who.organizationId,
      email: who.email,
      name: who.name,
      role: who.role,
      super_admin: who.isSuperAdmin,
      auth: who.authMethod,
      permissions: createHash("sha256").update(listed).digest("base64url"),
      ...(who.roleId === null ? {} : { role_id: who.roleId }),
      ...(who.keyId === null ? {} : { key_id: who.keyId }),
      aud: this.audience,
      method,
      path,
      request_id: who.requestId,
      iat: issued,
      exp: issued + who.seconds,
      ...claims,
    };
    const part = (document) => Buffer.from(JSON.stringify(document)).toString("base64url");
    const text = `${part({ alg: "EdDSA", typ: "identity+jwt", kid: this.kid })}.${part(made)}`;
    const token = `${text}.${sign(null, Buffer.from(text), this.#key).toString("base64url")}`;
    return { "X-Identity": token, ...(listed ? { "X-User-Permissions": listed } : {}) };
  }
}
