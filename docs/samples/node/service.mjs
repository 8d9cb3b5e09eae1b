// A service behind the gateway that believes signed identities and nothing else. No packages; Node 18 or newer.
//
//   PUBLIC_KEY=identity.pub.pem ADDRESS=127.0.0.1:3000 node service.mjs
import { createHash, createPublicKey, verify as verifySignature } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const ISSUER = "whatomate-gateway"; // GATEWAY_SIGNED_ISSUER
const AUDIENCE = "upstream"; // the name of this upstream in the gateway's route file

/** Returns who is asking, if the gateway signed this very request; throws otherwise. */
export function verify(key, request, now = Date.now() / 1000) {
  const token = request.headers["x-identity"]; // Node joins two lines by a comma, which no token has
  if (typeof token !== "string" || token.length > 8192 || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
    throw new Error("no signed identity");
  }
  const [head, body, signature] = token.split(".");
  const header = JSON.parse(Buffer.from(head, "base64url"));
  // The algorithm is chosen here: a header that asks for another is refused.
  if (header.alg !== "EdDSA" || header.typ !== "identity+jwt") throw new Error("a token for something else");
  if (!verifySignature(null, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, "base64url"))) {
    throw new Error("not signed by the gateway");
  }
  const identity = JSON.parse(Buffer.from(body, "base64url"));
  if (identity.iss !== ISSUER || identity.aud !== AUDIENCE) throw new Error("for another service, or by another gateway");
  if (!(identity.exp > now) || !(identity.iat <= now + 1)) throw new Error("expired, or issued in the future");
  const path = decodeURIComponent(request.url.split("?")[0]);
  if (identity.method !== request.method || identity.path !== path) throw new Error("for another request");
  const permissions = request.headers["x-user-permissions"] ?? "";
  const digest = createHash("sha256").update(permissions, "latin1").digest("base64url");
  if (identity.permissions !== digest) throw new Error("X-User-Permissions is not what was signed");
  return identity;
}

const key = createPublicKey(readFileSync(process.env.PUBLIC_KEY));
if (key.asymmetricKeyType !== "ed25519") throw new Error("PUBLIC_KEY is no Ed25519 key");
const [host, port] = process.env.ADDRESS.split(":");
createServer((request, response) => {
  try {
    const identity = verify(key, request);
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(identity));
  } catch (error) {
    console.error(error.message);
    response.statusCode = 401;
    response.end("not signed by the gateway\n");
  }
}).listen(Number(port), host);
