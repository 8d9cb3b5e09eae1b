// Errors of verifying an identity, and how text of a header is read.

const TEXTS = {
  missing: "it has no signed identity",
  repeated: "a header that has to be there once is there twice",
  malformed: "its signed identity cannot be read",
  type: "its token is for something else",
  algorithm: "its token is signed by another algorithm than this service takes",
  key: "its token names no key of the gateway",
  signature: "its signature is by none of the keys",
  issuer: "its token is by another gateway",
  audience: "its token is for another service",
  expired: "its token has expired",
  future: "its token was issued in the future: do the clocks differ?",
  method: "its token is for another method",
  path: "its token is for another path",
  permissions: "the header of permissions is not what was signed",
};

/** A request that is not proved to come from the gateway: 401. `reason` is its cause as one word. */
export class IdentityRejected extends Error {
  constructor(reason) {
    super(TEXTS[reason]);
    this.name = "IdentityRejected";
    this.reason = reason;
  }
}

/** The gateway's keys could not be fetched, so nothing is known of the request: 503. */
export class KeysUnavailable extends Error {
  constructor(message) {
    super(message);
    this.name = "KeysUnavailable";
  }
}

/** Returns the text of a header: Node decodes headers as Latin-1, and names are UTF-8. */
export function utf8(value) {
  const bytes = Buffer.from(value, "latin1");
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : value;
}
