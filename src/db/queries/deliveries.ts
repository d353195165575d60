import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Database, DeliveryStatus } from "../schema.js";
import { type Run, runColumns } from "./runs.js";

export type Delivery = Selectable<Database["deliveries"]>;

/** Where deliveries go together: an endpoint, or, with null, the mails of an account. */
export interface DeliveryTarget {
  accountId: string;
  endpointId: string | null;
}

/** `accounts` undefined: all of them. Deliveries of other accounts are as good as absent. */
export async function findDelivery(
  db: Db,
  deliveryId: string,
  accounts: readonly string[] | undefined,
): Promise<Delivery | undefined> {
  let query = db.selectFrom("deliveries").selectAll().where("delivery_id", "=", deliveryId);
  if (accounts) query = query.where("account_id", "=", sql<string>`any(${[...accounts]}::text[])`);
  return query.executeTakeFirst();
}

/** The newest first. */
export async function listDeliveries(
  db: Db,
  filter: {
    accountId: string;
    runId?: string | undefined;
    status?: DeliveryStatus | undefined;
  } & NewestFirst,
): Promise<Delivery[]> {
  let query = db.selectFrom("deliveries").selectAll().where("account_id", "=", filter.accountId);
  if (filter.runId) query = query.where("run_id", "=", filter.runId);
  if (filter.status) query = query.where("status", "=", filter.status);
  if (filter.before) query = query.where(isBehind(filter.before, "delivery_id"));
  return query.orderBy("created_at", "desc").orderBy("delivery_id", "desc").limit(filter.limit).execute();
}

/** Where the deliveries of a run wait to go. */
export async function targetsOfRun(db: Db, accountId: string, runId: string): Promise<DeliveryTarget[]> {
  const rows = await db
    .selectFrom("deliveries")
    .select("endpoint_id")
    .distinct()
    .where("account_id", "=", accountId)
    .where("run_id", "=", runId)
    .where("status", "=", "pending")
    .execute();
  return rows.map((row) => ({ accountId, endpointId: row.endpoint_id }));
}

/**
 * Every target with deliveries that are due, and whether the oldest of them has been for longer than `stuckAfterMs`.
 * Endpoints that are left alone for now have none. Cost: the part of a partial index that is due, which is little, since
 * an attempt puts it off.
 */
export async function dueTargets(
  db: Db,
  stuckAfterMs: number,
): Promise<(DeliveryTarget & { isStuck: boolean })[]> {
  const { rows } = await sql<{ account_id: string; endpoint_id: string | null; is_stuck: boolean }>`
    select due.account_id, due.endpoint_id,
      greatest(due.since, e.resume_at) < now() - ${stuckAfterMs} * interval '1 millisecond' as is_stuck
    from (
      select account_id, endpoint_id, min(next_attempt_at) as since from deliveries
      where status = 'pending' and next_attempt_at <= now()
      group by account_id, endpoint_id
    ) due
    left join webhook_endpoints e on e.account_id = due.account_id and e.endpoint_id = due.endpoint_id
    where e.resume_at is null or e.resume_at <= now()
    order by due.since`.execute(db);
  return rows.map((row) => ({
    accountId: row.account_id,
    endpointId: row.endpoint_id,
    isStuck: row.is_stuck,
  }));
}

/** What the log of a delivery keeps: all attempts of several rounds. */
const LOG_LENGTH = 100;

/**
 * Takes deliveries of a target that are due, the longest waiting first. Each is this worker's until the lease is over;
 * then it counts as dead, and the delivery is due again. The number of the attempt shuts out whoever had it before.
 */
export async function claimDeliveries(
  db: Db,
  target: DeliveryTarget,
  { limit, leaseMs }: { limit: number; leaseMs: number },
): Promise<Delivery[]> {
  const mine =
    target.endpointId === null ? sql`endpoint_id is null` : sql`endpoint_id = ${target.endpointId}::uuid`;
  const { rows } = await sql<Delivery>`
    with due as (
      select account_id, delivery_id from deliveries
      where account_id = ${target.accountId} and ${mine} and status = 'pending' and next_attempt_at <= now()
      order by next_attempt_at limit ${limit} for update skip locked
    )
    update deliveries d set
      attempts = attempts + 1,
      next_attempt_at = now() + ${leaseMs} * interval '1 millisecond',
      log = case when jsonb_array_length(log) >= ${LOG_LENGTH} then log - 0 else log end
        || jsonb_build_object('attempt', attempts + 1, 'started_at', to_jsonb(now()))
    from due where d.account_id = due.account_id and d.delivery_id = due.delivery_id
    returning d.*`.execute(db);
  return rows;
}

/** The run that a delivery is about; undefined when it has been started over since. */
export async function runOfDelivery(db: Db, delivery: Delivery): Promise<Run | undefined> {
  return db
    .selectFrom("runs")
    .select(runColumns)
    .where("account_id", "=", delivery.account_id)
    .where("run_id", "=", delivery.run_id!)
    .where("generation", "=", delivery.generation!)
    .executeTakeFirst();
}

/**
 * Asks for a delivery that failed or was cancelled once more, from the first pause on, with the same id. Undefined when it
 * is neither, or its endpoint is gone or disabled.
 */
export async function retryDelivery(
  db: Db,
  accountId: string,
  deliveryId: string,
): Promise<Delivery | undefined> {
  return db
    .updateTable("deliveries")
    .set((eb) => ({
      status: "pending" as const,
      base_attempt: eb.ref("attempts"),
      next_attempt_at: sql<Date>`now()`,
      finished_at: null,
    }))
    .where("account_id", "=", accountId)
    .where("delivery_id", "=", deliveryId)
    .where("status", "in", ["failed", "cancelled"])
    .where(
      sql<boolean>`(endpoint_id is null or exists (
        select from webhook_endpoints e
        where e.account_id = deliveries.account_id and e.endpoint_id = deliveries.endpoint_id
          and e.disabled_at is null))`,
    )
    .returningAll()
    .executeTakeFirst();
}

/** One event for one endpoint, whatever it listens to. */
export async function insertDelivery(
  db: Db,
  target: { accountId: string; endpointId: string },
  event: Delivery["event"],
  data: Record<string, unknown>,
): Promise<Delivery> {
  return db
    .insertInto("deliveries")
    .values({
      account_id: target.accountId,
      endpoint_id: target.endpointId,
      event,
      data: JSON.stringify(data),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

/** Forgets deliveries that ended before a time, with the addresses in them. Returns how many. */
export async function deleteEndedDeliveries(db: Db, before: Date, limit: number): Promise<number> {
  const result = await sql`
    delete from deliveries d using (
      select account_id, delivery_id from deliveries where finished_at < ${before} order by finished_at limit ${limit}
    ) old
    where d.account_id = old.account_id and d.delivery_id = old.delivery_id`.execute(db);
  return Number(result.numAffectedRows ?? 0n);
}
