import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { lockWatermark, preferIndexes } from "../fold/fold-account.js";
import { longSession } from "../long-session.js";
import { ZONES } from "../rollups/deltas.js";
import type { Drift } from "../rollups/drift.js";
import { contributingColumns } from "../rollups/messages.js";
import {
  addCountsSql,
  applyPresenceSql,
  type Counts,
  cohortCounts,
  presenceCounts,
} from "./apply-presence.js";
import { PRESENCE_DELTAS, presenceDeltasSql } from "./presence-deltas.js";

/** Rows that one transaction of a repair writes: a fold does not wait for more. */
const CHUNK_ROWS = 10_000;

const zones = `${ZONES} and ($2::smallint is null or zone_id = $2)`;
const ofZones = "account_id = $1 and zone_id in (select zone_id from zones)";

/** The counts that `expected` comes to less those of a table, where they differ. `held`: what it counts of them. */
function differenceSql({ table, keys }: Counts, expected: string, held: string): string {
  return `
${table}_drift as materialized (
  select ${keys.join(", ")}, coalesce(e.n, 0) - coalesce(h.n, 0) as n
  from ${expected} e
  full join (select ${keys.join(", ")}, ${held} as n from ${table} where ${ofZones}) h using (${keys.join(", ")})
  where coalesce(e.n, 0) <> coalesce(h.n, 0)
)`;
}

/**
 * What presence lacks of what the messages say, and what the cohorts lack of what presence says. A fold changes
 * neither: it adds to presence what it adds to the messages, and to the cohorts what that makes of the presence held.
 * Parameters: `$1` account, `$2` zone or null for all.
 */
const driftSql = `
with zones as materialized (${zones}),
states as not materialized (
  select 1 as sign, ${contributingColumns.join(", ")} from messages
  where account_id = $1 and direction = 'inbound'
),${presenceDeltasSql("states", "select * from zones")},${differenceSql(presenceCounts, PRESENCE_DELTAS, "messages - frozen")},
cohorts_expected as (
  select zone_id, period, starts, first, count(*)::integer as n
  from (
    select zone_id, period, starts, min(starts) over (partition by zone_id, period, contact_id) as first
    from contact_presence where ${ofZones} and messages > 0
  ) present
  group by zone_id, period, starts, first
),${differenceSql(cohortCounts, "cohorts_expected", "contacts")}`;

const counted = "(select coalesce(sum(n), 0)::integer from heard) as messages";

const countSql = `${driftSql}
select ${counted},
       (select count(*)::integer from contact_presence_drift)
         + (select count(*)::integer from contact_cohorts_drift) as rows`;

/** Keeps the differences in temporary tables, in chunks. */
function keepSql(): string {
  const kept = [presenceCounts, cohortCounts].map(({ table, keys }) => {
    const key = keys.join(", ");
    return `
${table}_kept as (
  insert into pg_temp.${table}_drift (${key}, n, chunk)
  select ${key}, n, (row_number() over (order by ${key}) - 1) / ${CHUNK_ROWS} from ${table}_drift returning chunk
)`;
  });
  return `${driftSql},${kept.join(",")}
select ${counted},
       (select count(*)::integer from contact_presence_kept)
         + (select count(*)::integer from contact_cohorts_kept) as rows,
       (select coalesce(max(chunk) + 1, 0)::integer
        from (select chunk from contact_presence_kept union all select chunk from contact_cohorts_kept) kept) as chunks`;
}

/** Adds chunk `$2`. In two statements: both may change the same row of the cohorts. */
const repairSql = [
  `with chunk as (select * from pg_temp.contact_presence_drift where chunk = $2),${applyPresenceSql("chunk")} select 1`,
  `with chunk as (select * from pg_temp.contact_cohorts_drift where chunk = $2),${addCountsSql(cohortCounts, "chunk")} select 1`,
];

const NEVER = new AbortController().signal;

/**
 * Compares the contacts of an account, by period and cohort, with what its messages come to, without a lock. Reads every
 * message of the account once. `zoneId`: that zone's only.
 */
export async function measureContactDrift(
  db: Db,
  accountId: string,
  { zoneId }: { zoneId?: number | undefined } = {},
  signal = NEVER,
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    const measure = CompiledQuery.raw(countSql, [accountId, zoneId ?? null]);
    return (await session.executeQuery<Drift>(measure)).rows[0]!;
  });
}

/**
 * Brings the contacts of an account in step with its messages, or builds those of a zone: measures the drift in one
 * snapshot, then adds it under the fold lock. The drift measured before is the drift still there (see above), so that
 * the lock is held for the rows of a chunk and not for the scan; a repair that ends early has repaired a part. Repairs of
 * one account run one after the other, those of its rollups included.
 */
export async function repairContactDrift(
  db: Db,
  accountId: string,
  { zoneId }: { zoneId?: number | undefined } = {},
  signal = NEVER,
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    const key = `repair ${accountId}`;
    await sql`select pg_advisory_lock(hashtextextended(${key}, 0))`.execute(session);
    try {
      await makeDriftTables(session);
      const measured = await session.executeQuery<Drift & { chunks: number }>(
        CompiledQuery.raw(keepSql(), [accountId, zoneId ?? null]),
      );
      const { chunks, ...drift } = measured.rows[0]!;
      for (let chunk = 0; chunk < chunks; chunk++) {
        signal.throwIfAborted();
        await repairChunk(session, accountId, chunk);
      }
      return drift;
    } finally {
      await dropDriftTables(session);
      await sql`select pg_advisory_unlock(hashtextextended(${key}, 0))`.execute(session);
    }
  });
}

async function repairChunk(session: Db, accountId: string, chunk: number): Promise<void> {
  await session.transaction().execute(async (trx) => {
    await lockWatermark(trx, accountId);
    await preferIndexes(trx);
    for (const statement of repairSql)
      await trx.executeQuery(CompiledQuery.raw(statement, [accountId, chunk]));
    await trx
      .updateTable("fold_watermarks")
      .set((eb) => ({ version: eb("version", "+", 1) }))
      .where("account_id", "=", accountId)
      .execute();
  });
}

async function makeDriftTables(session: Db): Promise<void> {
  await dropDriftTables(session);
  for (const { table, keys, count } of [presenceCounts, cohortCounts]) {
    const name = `pg_temp.${table}_drift`;
    await sql
      .raw(
        `create table ${name} as select ${keys.join(", ")}, ${count} as n, 0 as chunk from ${table} limit 0`,
      )
      .execute(session);
    await sql.raw(`create index on ${name} (chunk)`).execute(session);
  }
}

async function dropDriftTables(session: Db): Promise<void> {
  for (const { table } of [presenceCounts, cohortCounts])
    await sql.raw(`drop table if exists pg_temp.${table}_drift`).execute(session);
}
