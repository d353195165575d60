import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import type { Database } from "../schema.js";

export type IdempotencyRow = Selectable<Database["idempotency_keys"]>;

export interface IdempotencyClaim {
  scope: string;
  key: string;
  bodyHash: Buffer;
  /** Of the claim, in whole milliseconds: only its owner can finish or release it. */
  claimedAt: Date;
}

/**
 * Claims a key for one request: the claim is ours, with the id for what the request makes, or `first` is the row of the
 * request that was first. A row written before `expiredBefore`, or one without an answer from before `abandonedBefore`,
 * is taken over; an equal request that was abandoned leaves its id, by which its effect is found. One statement, so of
 * parallel requests exactly one gets the claim.
 */
export async function claimIdempotencyKey(
  db: Db,
  claim: IdempotencyClaim,
  limits: { expiredBefore: Date; abandonedBefore: Date },
): Promise<{ effectId: string; first?: undefined } | { first: IdempotencyRow }> {
  const claimed = await db
    .insertInto("idempotency_keys")
    .values({ scope: claim.scope, key: claim.key, body_hash: claim.bodyHash, created_at: claim.claimedAt })
    .onConflict((conflict) =>
      conflict
        .columns(["scope", "key"])
        .doUpdateSet((eb) => ({
          body_hash: eb.ref("excluded.body_hash"),
          effect_id: eb
            .case()
            .when(
              eb.and([
                eb("idempotency_keys.created_at", ">=", limits.expiredBefore),
                eb("idempotency_keys.body_hash", "=", eb.ref("excluded.body_hash")),
              ]),
            )
            .then(eb.ref("idempotency_keys.effect_id"))
            .else(eb.ref("excluded.effect_id"))
            .end(),
          created_at: eb.ref("excluded.created_at"),
          status: null,
          headers: null,
          body: null,
        }))
        .where((eb) =>
          eb.or([
            eb("idempotency_keys.created_at", "<", limits.expiredBefore),
            eb.and([
              eb("idempotency_keys.status", "is", null),
              eb("idempotency_keys.created_at", "<", limits.abandonedBefore),
            ]),
          ]),
        ),
    )
    .returning("effect_id")
    .executeTakeFirst();
  if (claimed) return { effectId: claimed.effect_id };
  const row = await db
    .selectFrom("idempotency_keys")
    .selectAll()
    .where("scope", "=", claim.scope)
    .where("key", "=", claim.key)
    .executeTakeFirst();
  // Released between the two statements: the key is free again.
  return row ? { first: row } : claimIdempotencyKey(db, claim, limits);
}

/** Keeps the answer for replays. Does nothing when somebody else took the claim over. */
export async function finishIdempotencyKey(
  db: Db,
  claim: IdempotencyClaim,
  answer: { status: number; headers: Record<string, string>; body: unknown },
): Promise<void> {
  await db
    .updateTable("idempotency_keys")
    .set({
      status: answer.status,
      headers: JSON.stringify(answer.headers),
      body: JSON.stringify(answer.body ?? null),
    })
    .where("scope", "=", claim.scope)
    .where("key", "=", claim.key)
    .where("created_at", "=", claim.claimedAt)
    .execute();
}

/** Gives a claim back, so that the next request with this key starts anew. */
export async function releaseIdempotencyKey(db: Db, claim: IdempotencyClaim): Promise<void> {
  await db
    .deleteFrom("idempotency_keys")
    .where("scope", "=", claim.scope)
    .where("key", "=", claim.key)
    .where("created_at", "=", claim.claimedAt)
    .where("status", "is", null)
    .execute();
}

/** Deletes at most `limit` keys that are too old to be replayed. Safe to run at any time. */
export async function deleteExpiredIdempotencyKeys(db: Db, before: Date, limit: number): Promise<number> {
  const result = await sql`
    delete from idempotency_keys where (scope, key) in (
      select scope, key from idempotency_keys where created_at < ${before} order by created_at limit ${limit}
    )`.execute(db);
  return Number(result.numAffectedRows ?? 0);
}
