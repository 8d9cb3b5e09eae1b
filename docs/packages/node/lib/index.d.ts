import type { IncomingMessage, ServerResponse } from "node:http";

export interface Identity {
  readonly userId: string;
  readonly organizationId: string;
  readonly email: string;
  readonly name: string;
  readonly role: string;
  readonly roleId: string | null;
  readonly isSuperAdmin: boolean;
  readonly authMethod: string;
  readonly keyId: string | null;
  /** null if the service is not sent the list. */
  readonly permissions: ReadonlySet<string> | null;
  readonly requestId: string;
  /** POSIX seconds. */
  readonly expiresAt: number;
  may(permission: string): boolean;
}

export class IdentityRejected extends Error {
  readonly reason: string;
}
export class KeysUnavailable extends Error {}

export interface Keys {
  readonly algorithm: "EdDSA" | "HS256";
}
export class PublicKeys implements Keys {
  readonly algorithm: "EdDSA";
  constructor(pems: string[]);
}
export class SharedSecrets implements Keys {
  readonly algorithm: "HS256";
  constructor(secrets: string[]);
}
export class KeySet implements Keys {
  readonly algorithm: "EdDSA";
  constructor(
    url: string,
    options?: {
      keepSeconds?: number;
      againSeconds?: number;
      staleSeconds?: number;
      timeoutSeconds?: number;
      fetch?: () => Promise<string>;
    },
  );
}

export interface VerifierOptions {
  audience: string;
  issuer?: string;
  leewaySeconds?: number;
  header?: string;
  permissionsHeader?: string;
  clock?: () => number;
}
export class Verifier {
  constructor(keys: Keys, options: VerifierOptions);
  verify(request: IncomingMessage): Promise<Identity>;
  isSigned(request: IncomingMessage): boolean;
  replaceHeaders(request: IncomingMessage, identity: Identity | null): void;
}

export function identityMiddleware(
  verifier: Verifier,
  options?: { optional?: string[]; log?: (error: Error) => void },
): (request: IncomingMessage, response: ServerResponse, next: () => void) => Promise<void>;

export function utf8(value: string): string;

declare module "node:http" {
  interface IncomingMessage {
    identity?: Identity | null;
  }
}
