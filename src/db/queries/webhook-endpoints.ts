import { type Selectable, sql } from "kysely";
import type { Db } from "../client.js";
import { isBehind, type NewestFirst } from "../newest-first.js";
import type { Database, WebhookEvent } from "../schema.js";

export type EndpointRow = Selectable<Database["webhook_endpoints"]>;

/** "all", or the accounts whose endpoints there are; others are as good as absent. */
export type EndpointScope = "all" | readonly string[];

const inScope = (scope: readonly string[]) => sql<string>`any(${[...scope]}::text[])`;

export async function insertEndpoint(
  db: Db,
  endpoint: {
    accountId: string;
    url: string;
    events: readonly WebhookEvent[];
    description: string | null;
    secret: Buffer;
  },
): Promise<EndpointRow> {
  return db
    .insertInto("webhook_endpoints")
    .values({
      account_id: endpoint.accountId,
      url: endpoint.url,
      events: [...endpoint.events],
      description: endpoint.description,
      secret: endpoint.secret,
      // As exact as a cursor can say it.
      created_at: sql<Date>`date_trunc('milliseconds', now())`,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
}

export async function findEndpoint(
  db: Db,
  endpointId: string,
  scope: EndpointScope,
): Promise<EndpointRow | undefined> {
  let query = db.selectFrom("webhook_endpoints").selectAll().where("endpoint_id", "=", endpointId);
  if (scope !== "all") query = query.where("account_id", "=", inScope(scope));
  return query.executeTakeFirst();
}

/** Which of these an account has. */
export async function endpointsOf(
  db: Db,
  accountId: string,
  endpointIds: readonly string[],
): Promise<Set<string>> {
  const rows = await db
    .selectFrom("webhook_endpoints")
    .select("endpoint_id")
    .where("account_id", "=", accountId)
    .where("endpoint_id", "=", sql<string>`any(${[...endpointIds]}::uuid[])`)
    .execute();
  return new Set(rows.map((row) => row.endpoint_id));
}

/** So many endpoints an account has. */
export async function countEndpoints(db: Db, accountId: string): Promise<number> {
  const row = await db
    .selectFrom("webhook_endpoints")
    .select((eb) => eb.fn.countAll<number>().as("count"))
    .where("account_id", "=", accountId)
    .executeTakeFirstOrThrow();
  return row.count;
}

/** The newest first. */
export async function listEndpoints(
  db: Db,
  page: { accountId: string } & NewestFirst,
): Promise<EndpointRow[]> {
  let query = db.selectFrom("webhook_endpoints").selectAll().where("account_id", "=", page.accountId);
  if (page.before) query = query.where(isBehind(page.before, "endpoint_id"));
  return query.orderBy("created_at", "desc").orderBy("endpoint_id", "desc").limit(page.limit).execute();
}

export interface EndpointChanges {
  url?: string | undefined;
  events?: readonly WebhookEvent[] | undefined;
  description?: string | null | undefined;
  /** True forgets why it was disabled and what failed before. */
  enabled?: boolean | undefined;
}

/** Undefined: there is none. One that is disabled gets nothing more, so what waited for it is cancelled. */
export async function updateEndpoint(
  db: Db,
  key: { accountId: string; endpointId: string },
  changes: EndpointChanges,
): Promise<EndpointRow | undefined> {
  return db.transaction().execute(async (trx) => {
    const row = await trx
      .updateTable("webhook_endpoints")
      .set({
        endpoint_id: key.endpointId,
        ...(changes.url !== undefined && { url: changes.url }),
        ...(changes.events !== undefined && { events: [...changes.events] }),
        ...(changes.description !== undefined && { description: changes.description }),
        // What failed was somewhere else, or before it was mended.
        ...((changes.url !== undefined || changes.enabled) && { failing_since: null, resume_at: null }),
        ...(changes.enabled === true && { disabled_at: null, disabled_reason: null }),
        ...(changes.enabled === false && {
          disabled_at: sql<Date>`coalesce(disabled_at, now())`,
          disabled_reason: sql<"by_request">`coalesce(disabled_reason, 'by_request')`,
        }),
      })
      .where("account_id", "=", key.accountId)
      .where("endpoint_id", "=", key.endpointId)
      .returningAll()
      .executeTakeFirst();
    if (row?.disabled_at) await cancelWaiting(trx, key);
    return row;
  });
}

/** The secret so far signs too until `previousUntil`. */
export async function rotateSecret(
  db: Db,
  key: { accountId: string; endpointId: string },
  secret: Buffer,
  previousUntil: Date,
): Promise<EndpointRow | undefined> {
  return db
    .updateTable("webhook_endpoints")
    .set((eb) => ({
      previous_secret: eb.ref("secret"),
      previous_secret_until: previousUntil,
      secret,
    }))
    .where("account_id", "=", key.accountId)
    .where("endpoint_id", "=", key.endpointId)
    .returningAll()
    .executeTakeFirst();
}

/** False: there is none. What it was sent stays in the list of deliveries, what waited for it is cancelled. */
export async function deleteEndpoint(
  db: Db,
  key: { accountId: string; endpointId: string },
): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    const gone = await trx
      .deleteFrom("webhook_endpoints")
      .where("account_id", "=", key.accountId)
      .where("endpoint_id", "=", key.endpointId)
      .returning("endpoint_id")
      .executeTakeFirst();
    if (gone) await cancelWaiting(trx, key);
    return gone !== undefined;
  });
}

/** What waits for an endpoint will not be sent. */
export async function cancelWaiting(db: Db, key: { accountId: string; endpointId: string }): Promise<void> {
  await db
    .updateTable("deliveries")
    .set({ status: "cancelled", finished_at: sql<Date>`now()` })
    .where("account_id", "=", key.accountId)
    .where("endpoint_id", "=", key.endpointId)
    .where("status", "=", "pending")
    .execute();
}
