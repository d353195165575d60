import { sql } from "kysely";
import type { Db } from "../client.js";
import type { DisabledReason } from "../schema.js";
import type { Delivery, DeliveryTarget } from "./deliveries.js";
import { announce } from "./notify.js";

export type AttemptEnd =
  | { outcome: "delivered"; status: number | undefined }
  /** The worker had to leave: no attempt is spent. */
  | { outcome: "handed_back" }
  | AttemptFailure;

export interface AttemptFailure {
  outcome: "failed";
  code: string;
  status?: number | undefined;
  /** Until the next attempt; null: it was the last one. */
  pauseMs: number | null;
  /** How long the other side wants to be left alone. */
  retryAfterMs?: number | undefined;
  /** The other side says that it is no longer there. */
  gone?: boolean | undefined;
}

/** An endpoint with nothing but failures is left alone for half as long as it has been failing, up to this. */
const LONGEST_REST = sql`interval '5 minutes'`;
const DISABLED_AFTER = sql`interval '5 days'`;

/**
 * Writes down how an attempt ended: of the delivery, if this attempt still owns it, and of the health of its endpoint, which
 * is disabled, once, when it is gone or has failed for days. False: another attempt owns the delivery. Locks the
 * endpoint before its deliveries, as everybody who takes both.
 */
export async function recordAttempt(
  db: Db,
  delivery: Delivery,
  end: AttemptEnd,
  elapsedMs: number,
): Promise<boolean> {
  const target = { accountId: delivery.account_id, endpointId: delivery.endpoint_id };
  return db.transaction().execute(async (trx) => {
    const disable = await recordHealth(trx, target, end, elapsedMs);
    const owned = await recordDelivery(trx, delivery, end);
    if (disable) await disableEndpoint(trx, target, disable);
    return owned;
  });
}

async function recordDelivery(db: Db, delivery: Delivery, end: AttemptEnd): Promise<boolean> {
  const isFailure = end.outcome === "failed";
  const isLast = isFailure && end.pauseMs === null;
  const pauseMs = isFailure ? Math.max(end.pauseMs ?? 0, end.retryAfterMs ?? 0) : 0;
  const entry = {
    outcome: end.outcome,
    ...(isFailure && { code: end.code }),
    ...(end.outcome !== "handed_back" && end.status !== undefined && { status: end.status }),
  };
  const result = await db
    .updateTable("deliveries")
    .set((eb) => ({
      status: end.outcome === "delivered" ? "delivered" : isLast ? "failed" : "pending",
      finished_at: end.outcome === "delivered" || isLast ? sql<Date>`now()` : null,
      next_attempt_at: sql<Date>`now() + ${pauseMs} * interval '1 millisecond'`,
      log: sql<string>`jsonb_set(log, '{-1}', log -> -1 || ${JSON.stringify(entry)}::jsonb
        || jsonb_build_object('finished_at', now()))`,
      // The schedule goes on where it was; the attempt's own number is not given out again.
      ...(end.outcome === "handed_back" && { base_attempt: eb("base_attempt", "+", 1) }),
    }))
    .where("account_id", "=", delivery.account_id)
    .where("delivery_id", "=", delivery.delivery_id)
    .where("attempts", "=", delivery.attempts)
    .where("status", "=", "pending")
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Why the endpoint must be disabled now, if it must. */
async function recordHealth(
  db: Db,
  { accountId, endpointId }: DeliveryTarget,
  end: AttemptEnd,
  elapsedMs: number,
): Promise<DisabledReason | undefined> {
  if (endpointId === null || end.outcome === "handed_back") return undefined;
  if (end.outcome === "delivered") {
    await db
      .updateTable("webhook_endpoints")
      .set({ failing_since: null, resume_at: null })
      .where("account_id", "=", accountId)
      .where("endpoint_id", "=", endpointId)
      .where("failing_since", "is not", null)
      .execute();
    return undefined;
  }
  const since = sql`coalesce(failing_since, now() - ${elapsedMs} * interval '1 millisecond')`;
  const { rows } = await sql<{ worn_out: boolean }>`
    update webhook_endpoints set
      failing_since = ${since},
      resume_at = greatest(resume_at, now() + greatest(
        least((now() - ${since}) / 2, ${LONGEST_REST}), ${end.retryAfterMs ?? 0} * interval '1 millisecond'))
    where account_id = ${accountId} and endpoint_id = ${endpointId}::uuid
    returning failing_since <= now() - ${DISABLED_AFTER} as worn_out`.execute(db);
  if (end.gone) return "gone";
  return rows[0]?.worn_out ? "failing" : undefined;
}

/** One that is disabled already stays as it is. What waits for it has failed, and the account's other endpoints are told. */
async function disableEndpoint(
  db: Db,
  { accountId, endpointId }: DeliveryTarget,
  reason: DisabledReason,
): Promise<void> {
  const disabled = await db
    .updateTable("webhook_endpoints")
    .set({ disabled_at: sql<Date>`now()`, disabled_reason: reason })
    .where("account_id", "=", accountId)
    .where("endpoint_id", "=", endpointId)
    .where("disabled_at", "is", null)
    .returning(["endpoint_id", "url"])
    .executeTakeFirst();
  if (!disabled) return;
  await db
    .updateTable("deliveries")
    .set({ status: "failed", finished_at: sql<Date>`now()` })
    .where("account_id", "=", accountId)
    .where("endpoint_id", "=", endpointId)
    .where("status", "=", "pending")
    .execute();
  await announce(db, {
    accountId,
    event: "endpoint.disabled",
    data: { endpoint: { id: disabled.endpoint_id, url: disabled.url, reason } },
  });
}

/** A delivery about something that is no longer so: nobody needs to hear of it. */
export async function cancelDelivery(db: Db, delivery: Delivery, code: string): Promise<void> {
  await db
    .updateTable("deliveries")
    .set({
      status: "cancelled",
      finished_at: sql<Date>`now()`,
      log: sql<string>`jsonb_set(log, '{-1}', log -> -1 || ${JSON.stringify({ code })}::jsonb)`,
    })
    .where("account_id", "=", delivery.account_id)
    .where("delivery_id", "=", delivery.delivery_id)
    .where("attempts", "=", delivery.attempts)
    .where("status", "=", "pending")
    .execute();
}
