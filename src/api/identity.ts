import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Context } from "../context.js";
import { type ApiKeyRow, findApiKey, findApiKeyByPrefix, findApiKeys } from "../db/queries/api-keys.js";
import type { Role } from "../db/schema.js";
import { Forbidden, InvalidInput, NotFound, Unauthorized } from "../errors.js";

/** Who calls. `accounts` bounds everything that the caller can see or change. */
export interface Identity {
  keyId: string;
  name: string;
  role: Role;
  accounts: "all" | ReadonlySet<string>;
}

export interface Identifier {
  /** The caller of a request; throws `Unauthorized`, or `InvalidInput` for two different keys. */
  identify(request: IncomingMessage): Promise<Identity>;
  /** The caller behind a key itself, undefined when it is unknown, revoked or expired. */
  verify(credential: string): Promise<Identity | undefined>;
  /** The same by the key's id, for sessions. */
  byKeyId(keyId: string): Promise<Identity | undefined>;
  /** Those of these keys that are valid at this moment, by their ids, in one statement. */
  stillValid(keyIds: ReadonlySet<string>): Promise<Map<string, Identity>>;
  /** Lets this process see a revocation at once; the others see it within `KEY_TTL_MS`. */
  forget(key: { key_id: string; prefix: string }): void;
}

/** How long a looked-up key is believed. */
export const KEY_TTL_MS = 4_000;
const CACHE_SIZE = 10_000;
const MAX_CREDENTIAL_LENGTH = 256;
export const BOOTSTRAP_KEY_ID = "bootstrap";

const KEY_FORMAT = /^wak_([a-z0-9]{8})_[A-Za-z0-9_-]{43}$/;
const PREFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz012345";

/** A new key: the text its owner gets, and what the database keeps of it. */
export function generateKey(): { key: string; prefix: string; secretHash: Buffer } {
  const prefix = Array.from(randomBytes(8), (byte) => PREFIX_ALPHABET[byte % PREFIX_ALPHABET.length]).join(
    "",
  );
  const key = `wak_${prefix}_${randomBytes(32).toString("base64url")}`;
  return { key, prefix, secretHash: hashKey(key) };
}

export const hashKey = (key: string): Buffer => createHash("sha256").update(key).digest();

const identifiers = new WeakMap<Context, Identifier>();

/** The one identifier of a process, with its cache. */
export function identifierOf(context: Context): Identifier {
  let identifier = identifiers.get(context);
  if (!identifier) {
    identifier = createIdentifier(context);
    identifiers.set(context, identifier);
  }
  return identifier;
}

function createIdentifier(context: Context): Identifier {
  const { db, config } = context;
  const bootstrapHash = config.secrets.apiKey === undefined ? undefined : hashKey(config.secrets.apiKey);
  const lookUp = cachedLookup(() => context.now().getTime());

  const valid = (row: ApiKeyRow | undefined): Identity | undefined => {
    if (!row || row.revoked_at !== null) return undefined;
    if (row.expires_at !== null && row.expires_at <= context.now()) return undefined;
    const accounts = row.account_ids === null ? "all" : new Set(row.account_ids);
    return { keyId: row.key_id, name: row.name, role: row.role, accounts };
  };
  const verify = async (credential: string): Promise<Identity | undefined> => {
    const hash = hashKey(credential);
    if (bootstrapHash && timingSafeEqual(hash, bootstrapHash)) return bootstrapIdentity;
    const prefix = KEY_FORMAT.exec(credential)?.[1];
    if (prefix === undefined) return undefined;
    const row = await lookUp(`prefix ${prefix}`, () => findApiKeyByPrefix(db, prefix));
    return row && timingSafeEqual(hash, row.secret_hash) ? valid(row) : undefined;
  };
  return {
    verify,
    async identify(request) {
      const identity = await verify(credentialOf(request));
      if (!identity) throw new Unauthorized("invalid_api_key", "This API key is not valid.");
      return identity;
    },
    async byKeyId(keyId) {
      if (keyId === BOOTSTRAP_KEY_ID) return bootstrapHash && bootstrapIdentity;
      return valid(await lookUp(`id ${keyId}`, () => findApiKey(db, keyId)));
    },
    async stillValid(keyIds) {
      const stored = [...keyIds].filter((keyId) => keyId !== BOOTSTRAP_KEY_ID);
      const rows = stored.length === 0 ? [] : await findApiKeys(db, stored);
      const identities = [...rows.map(valid), bootstrapHash && bootstrapIdentity];
      return new Map(identities.flatMap((identity) => (identity ? [[identity.keyId, identity]] : [])));
    },
    forget(key) {
      lookUp.forget(`prefix ${key.prefix}`);
      lookUp.forget(`id ${key.key_id}`);
    },
  };
}

const bootstrapIdentity: Identity = {
  keyId: BOOTSTRAP_KEY_ID,
  name: "API_KEY of the environment",
  role: "admin",
  accounts: "all",
};

/** The key that a request carries; throws when there is none, or two that differ. */
export function credentialOf(request: IncomingMessage): string {
  const { authorization } = request.headers;
  const header = request.headers["x-api-key"];
  const bearer = authorization === undefined ? undefined : (/^bearer +(.*)$/i.exec(authorization)?.[1] ?? "");
  const apiKey = typeof header === "string" ? header.trim() : header?.join();
  if (bearer !== undefined && apiKey !== undefined && bearer.trim() !== apiKey)
    throw new InvalidInput("conflicting_credentials", "Authorization and X-API-Key name different keys.");
  const credential = bearer?.trim() ?? apiKey;
  if (credential === undefined)
    throw new Unauthorized("missing_api_key", "Send an API key: Authorization: Bearer <key>, or X-API-Key.");
  if (credential.length === 0 || credential.length > MAX_CREDENTIAL_LENGTH)
    throw new Unauthorized("invalid_api_key", "This API key is not valid.");
  return credential;
}

/** Throws `NotFound` (`account_not_found`) for an account outside the caller's scope, as if it did not exist. */
export function requireAccount(identity: Identity, accountId: string): void {
  if (identity.accounts !== "all" && !identity.accounts.has(accountId)) throw accountNotFound();
}

/** For what shows or changes more than single accounts. */
export function requireAllAccounts(identity: Identity): void {
  if (identity.accounts !== "all")
    throw new Forbidden("scope_not_allowed", "This needs a key whose scope is all accounts.");
}

export const accountNotFound = () => new NotFound("account_not_found", "There is no such account.");

type Lookup = {
  (key: string, find: () => Promise<ApiKeyRow | undefined>): Promise<ApiKeyRow | undefined>;
  forget(key: string): void;
};

/** Remembers answers, misses too, for `KEY_TTL_MS`; requests that ask at the same time share one query. */
function cachedLookup(nowMs: () => number): Lookup {
  const entries = new Map<string, { at: number; row: Promise<ApiKeyRow | undefined> }>();
  const lookUp = (key: string, find: () => Promise<ApiKeyRow | undefined>) => {
    const known = entries.get(key);
    const at = nowMs();
    if (known && at - known.at < KEY_TTL_MS) return known.row;
    const entry = { at, row: find() };
    entry.row.catch(() => {
      if (entries.get(key) === entry) entries.delete(key);
    });
    entries.delete(key);
    entries.set(key, entry);
    if (entries.size > CACHE_SIZE) entries.delete(entries.keys().next().value!);
    return entry.row;
  };
  return Object.assign(lookUp, { forget: (key: string) => void entries.delete(key) });
}
