// Verifier of the identities that whatomate-gateway signs, and middleware for Express and node:http.
//
// Laws:
//
// - The algorithm is chosen by the kind of keys: a token's header chooses nothing (RFC 8725 section 3.1).
// - A token is for one method and one path of one service, for a minute. On any other request it proves nothing.
// - A header that has to be there once refuses the request if it is there twice.
// - No input raises anything but IdentityRejected and KeysUnavailable.
// - Of the headers in the gateway's families, in any spelling, an application is given what is signed and nothing else.
import { createHash } from "node:crypto";

import { IdentityRejected, KeysUnavailable, utf8 } from "./identity.js";
import { KeySet, PublicKeys, SharedSecrets } from "./keys.js";

export { IdentityRejected, KeySet, KeysUnavailable, PublicKeys, SharedSecrets, utf8 };

const FAMILIES = ["x-user-", "x-org-", "x-auth-", "x-identity"];
const TEXTS = ["sub", "org", "email", "role", "auth", "permissions", "method", "path", "request_id"];
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const LONGEST = 8192;

/** Verifier of the requests to one service. */
export class Verifier {
  #keys;
  #options;

  /**
   * `keys` are a KeySet, PublicKeys, or SharedSecrets. `audience` is the name of this service's upstream in the
   * gateway's configuration. Further options: issuer, leewaySeconds, header, permissionsHeader, and clock, which returns
   * POSIX seconds.
   */
  constructor(keys, options) {
    if (typeof options?.audience !== "string") throw new Error("the audience is needed: the name of this upstream");
    this.#keys = keys;
    this.#options = {
      issuer: "whatomate-gateway",
      leewaySeconds: 5,
      header: "X-Identity",
      permissionsHeader: "X-User-Permissions",
      clock: () => Date.now() / 1000,
      ...options,
    };
    this.#options.header = this.#options.header.toLowerCase();
    this.#options.permissionsHeader = this.#options.permissionsHeader.toLowerCase();
  }

  /** Returns the identity of a request of node:http or Express; throws IdentityRejected or KeysUnavailable. */
  async verify(request) {
    const { header, permissionsHeader } = this.#options;
    const now = this.#options.clock();
    const { token, kid } = this.#token(valuesOf(request, header));
    const claims = this.#claims(token, await this.#keys.find(kid, now));
    this.#check(claims, request, now);
    return identityOf(claims, granted(claims, valuesOf(request, permissionsHeader)));
  }

  /** Returns whether a request has a signed identity, be it good or not. */
  isSigned(request) {
    return valuesOf(request, this.#options.header).some((value) => value !== "");
  }

  /** Puts what is signed in the place of whatever the gateway's families had; without an identity, removes them. */
  replaceHeaders(request, identity) {
    const { header, permissionsHeader } = this.#options;
    const raw = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const [name, value] = [request.rawHeaders[i], request.rawHeaders[i + 1]];
      const isKept =
        identity !== null &&
        (name.toLowerCase() === header ||
          (name.toLowerCase() === permissionsHeader && identity.permissions !== null));
      if (isKept || !isOurs(name)) raw.push(name, value);
      else delete request.headers[name.toLowerCase()];
    }
    for (const [name, value] of identity === null ? [] : plain(identity)) {
      if (!value) continue;
      raw.push(name, value);
      request.headers[name.toLowerCase()] = value;
    }
    request.rawHeaders = raw;
  }

  #token(values) {
    if (!values.some((value) => value !== "")) throw new IdentityRejected("missing");
    if (values.length > 1 || values[0].includes(",")) throw new IdentityRejected("repeated");
    const [token] = values;
    if (token.length > LONGEST || !COMPACT.test(token)) throw new IdentityRejected("malformed");
    const named = parsed(token.split(".")[0]);
    if (named.typ !== "identity+jwt") throw new IdentityRejected("type");
    if (named.alg !== this.#keys.algorithm) throw new IdentityRejected("algorithm");
    if ("crit" in named) throw new IdentityRejected("malformed");
    return { token, kid: named.kid };
  }

  #claims(token, checks) {
    if (checks.length === 0) throw new IdentityRejected("key");
    const end = token.lastIndexOf(".");
    const signature = Buffer.from(token.slice(end + 1), "base64url");
    const text = Buffer.from(token.slice(0, end), "ascii");
    if (!checks.some((isBy) => isBy(text, signature))) throw new IdentityRejected("signature");
    return parsed(token.split(".")[1]);
  }

  #check(claims, request, now) {
    const { issuer, audience, leewaySeconds } = this.#options;
    const numbers = Number.isInteger(claims.exp) && Number.isInteger(claims.iat);
    if (!numbers || !TEXTS.every((name) => typeof claims[name] === "string")) throw new IdentityRejected("malformed");
    const holds = [
      ["issuer", claims.iss === issuer],
      ["audience", claims.aud === audience],
      ["expired", now < claims.exp + leewaySeconds],
      ["future", claims.iat - leewaySeconds <= now + 1], // iat is cut to whole seconds
      ["method", claims.method === request.method],
      ["path", claims.path === pathOf(request)],
    ];
    for (const [reason, isSo] of holds) if (!isSo) throw new IdentityRejected(reason);
  }
}

/**
 * Makes middleware for Express, or any (request, response, next). It serves what the gateway has signed, with
 * `request.identity`, and answers everything else itself.
 *
 * `optional` are exact paths, decoded, that are served without a signed identity as well, where `request.identity` is
 * null; "*" names all. `log` is called with the errors.
 */
export function identityMiddleware(verifier, { optional = [], log = () => {} } = {}) {
  const served = new Set(optional);
  return async (request, response, next) => {
    let identity = null;
    try {
      if (verifier.isSigned(request) || !(served.has("*") || served.has(pathOf(request)))) {
        identity = await verifier.verify(request);
      }
    } catch (error) {
      log(error);
      answer(response, error);
      return;
    }
    verifier.replaceHeaders(request, identity);
    request.identity = identity;
    next();
  };
}

function answer(response, error) {
  const isRefusal = error instanceof IdentityRejected;
  const message = isRefusal
    ? `The request is not proved to come from the gateway: ${error.message}`
    : "The gateway's keys could not be fetched; try again";
  response.statusCode = isRefusal ? 401 : 503;
  if (isRefusal) response.setHeader("WWW-Authenticate", "Signed-Identity");
  else response.setHeader("Retry-After", "5");
  response.setHeader("Content-Type", "application/json");
  response.end(JSON.stringify({ status: "error", message, data: null }));
}

function valuesOf(request, name) {
  const raw = request.rawHeaders;
  return raw.filter((_, i) => i % 2 === 1 && raw[i - 1].toLowerCase() === name);
}

/** Returns the path of a request, decoded once; null if it cannot be decoded. */
function pathOf(request) {
  try {
    return decodeURIComponent((request.originalUrl ?? request.url).split("?")[0]);
  } catch {
    return null;
  }
}

function parsed(segment) {
  let found;
  try {
    found = JSON.parse(Buffer.from(segment, "base64url").toString("utf8"));
  } catch {
    throw new IdentityRejected("malformed");
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) throw new IdentityRejected("malformed");
  return found;
}

function granted(claims, values) {
  if (values.length > 1) throw new IdentityRejected("repeated");
  const listed = Buffer.from(values[0] ?? "", "latin1"); // the bytes of the wire
  if (claims.permissions === createHash("sha256").update(listed).digest("base64url")) {
    return new Set(listed.toString("utf8").split(",").filter(Boolean));
  }
  if (values.length > 0) throw new IdentityRejected("permissions");
  return null;
}

function identityOf(claims, permissions) {
  const text = (name) => (typeof claims[name] === "string" ? claims[name] : null);
  const isSuperAdmin = claims.super_admin === true;
  return Object.freeze({
    userId: claims.sub,
    organizationId: claims.org,
    email: claims.email,
    name: text("name") ?? "",
    role: claims.role,
    roleId: text("role_id"),
    isSuperAdmin,
    authMethod: claims.auth,
    keyId: text("key_id"),
    permissions,
    requestId: claims.request_id,
    expiresAt: claims.exp,
    may: (permission) => isSuperAdmin || (permissions?.has(permission) ?? false),
  });
}

function isOurs(name) {
  const folded = name.toLowerCase().replace(/[^a-z0-9]/g, "-");
  return FAMILIES.some((family) => folded.startsWith(family));
}

/** Returns the plain headers that say what is signed, in Latin-1 as Node has headers; the permissions aside. */
function plain(identity) {
  const lines = [
    ["X-User-ID", identity.userId],
    ["X-User-Email", identity.email],
    ["X-User-Name", identity.name],
    ["X-User-Role", identity.role],
    ["X-User-Role-ID", identity.roleId ?? ""],
    ["X-User-Super-Admin", identity.isSuperAdmin ? "true" : "false"],
    ["X-Org-ID", identity.organizationId],
    ["X-Auth-Method", identity.authMethod],
    ["X-Auth-Key-ID", identity.keyId ?? ""],
  ];
  // eslint-disable-next-line no-control-regex -- a control character ends no header here
  const clean = (value) => value.replace(/[\x00-\x08\x0a-\x1f\x7f]/g, " ");
  return lines.map(([name, value]) => [name, Buffer.from(clean(value), "utf8").toString("latin1")]);
}
