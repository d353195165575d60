import { type ExpressionBuilder, type Selectable, type SqlBool, sql } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Database, Role } from "../schema.js";

export type ApiKeyRow = Selectable<Database["api_keys"]>;

/** Which keys may be seen: all, or those whose accounts lie within these. */
export type KeyScope = "all" | readonly string[];

export async function insertApiKey(
  db: Db,
  key: {
    prefix: string;
    secretHash: Buffer;
    name: string;
    role: Role;
    accountIds: readonly string[] | null;
    /** Given by the caller in whole milliseconds, so that a list's cursor can repeat it exactly. */
    createdAt: Date;
    expiresAt: Date | null;
  },
): Promise<ApiKeyRow> {
  return db
    .insertInto("api_keys")
    .values({
      prefix: key.prefix,
      secret_hash: key.secretHash,
      name: key.name,
      role: key.role,
      account_ids: key.accountIds === null ? null : [...key.accountIds],
      created_at: key.createdAt,
      expires_at: key.expiresAt,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export const findApiKeyByPrefix = (db: Db, prefix: string): Promise<ApiKeyRow | undefined> =>
  db.selectFrom("api_keys").selectAll().where("prefix", "=", prefix).executeTakeFirst();

export const findApiKey = (db: Db, keyId: string, scope: KeyScope = "all"): Promise<ApiKeyRow | undefined> =>
  db
    .selectFrom("api_keys")
    .selectAll()
    .where("key_id", "=", keyId)
    .where(withinScope(scope))
    .executeTakeFirst();

export const findApiKeys = (db: Db, keyIds: readonly string[]): Promise<ApiKeyRow[]> =>
  db
    .selectFrom("api_keys")
    .selectAll()
    .where("key_id", "=", sql<string>`any(${[...keyIds]}::uuid[])`)
    .execute();

/** Newest first. */
export async function listApiKeys(db: Db, page: { scope: KeyScope } & NewestFirst): Promise<ApiKeyRow[]> {
  let query = db.selectFrom("api_keys").selectAll().where(withinScope(page.scope));
  if (page.before) query = query.where(isBehind(page.before, "key_id"));
  return query.orderBy("created_at", "desc").orderBy("key_id", "desc").limit(page.limit).execute();
}

/** The revoked key; undefined when there is none in the scope. A key revoked before keeps its first time. */
export async function revokeApiKey(
  db: Db,
  keyId: string,
  at: Date,
  scope: KeyScope,
): Promise<ApiKeyRow | undefined> {
  return db
    .updateTable("api_keys")
    .set((eb) => ({ revoked_at: eb.fn.coalesce("revoked_at", eb.val(at)) }))
    .where("key_id", "=", keyId)
    .where(withinScope(scope))
    .returningAll()
    .executeTakeFirst();
}

/** A key for all accounts (null) lies within no list of accounts. */
const withinScope = (scope: KeyScope) => (eb: ExpressionBuilder<Database, "api_keys">) =>
  scope === "all"
    ? eb.lit(true)
    : eb.and([eb("account_ids", "is not", null), sql<SqlBool>`account_ids <@ ${[...scope]}::text[]`]);
