import type { KeyObject } from "node:crypto";

import type { Identity, Verifier, VerifierOptions } from "./index.js";

export interface Caller extends Partial<Omit<Identity, "permissions" | "may" | "expiresAt">> {
  permissions?: Iterable<string>;
  now?: number;
  seconds?: number;
}

export class SigningGateway {
  readonly audience: string;
  readonly issuer: string;
  readonly kid: string;
  readonly publicKey: string;
  readonly jwks: { keys: Record<string, string>[] };
  constructor(options: { audience: string; issuer?: string; privateKey?: KeyObject });
  verifier(options?: Partial<VerifierOptions>): Verifier;
  headers(method?: string, path?: string, caller?: Caller, claims?: Record<string, unknown>): Record<string, string>;
}
