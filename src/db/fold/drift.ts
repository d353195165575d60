import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { longSession } from "../long-session.js";
import { applyDeltasSql, rememberDimensionsSql } from "./apply-deltas.js";
import { additiveColumns, contributingColumns, contributionsSql } from "./contributions.js";
import { lockWatermark } from "./fold-account.js";

export interface DriftRange {
  /** Buckets from here on, on 15 minutes; undefined = from the first. */
  from?: Date | undefined;
  /** Buckets before this. */
  to?: Date | undefined;
}

export interface Drift {
  /** Messages whose contributions were added up. */
  messages: number;
  /** Rollup rows that differ from that sum, or that it lacks, or that are missing. */
  rows: number;
}

/** Bins of the sum minus the bins of the row we have; null when they agree. */
const binDifference = (value: "bin" | "n") => `(
    select array_agg(${value} order by bin)
    from (
      select bin, sum(n)::integer as n
      from (
        select * from unnest(e.bins, e.counts) as expected(bin, n)
        union all
        select bin, -n from unnest(r.bins, r.counts) as held(bin, n)
      ) parts
      group by bin having sum(n) <> 0
    ) difference
  )`;

const sumsSql = `
with states as (
  select 1 as sign, ${contributingColumns.join(", ")} from messages where account_id = $1
),${contributionsSql("states")},
drift as (
  select * from (
    select coalesce(e.bucket, r.bucket) as bucket, coalesce(e.dimensions_id, r.dimensions_id) as dimensions_id,
           ${additiveColumns.map((name) => `coalesce(e.${name}, 0) - coalesce(r.${name}, 0) as ${name}`).join(",\n           ")},
           ${binDifference("bin")} as bins, ${binDifference("n")} as counts
    from (select * from deltas where bucket >= $2 and bucket < $3) e
    full join (select * from rollups where account_id = $1 and bucket >= $2 and bucket < $3) r
      using (bucket, dimensions_id)
  ) differences
  where bins is not null or ${additiveColumns.map((name) => `${name} <> 0`).join(" or ")}
)`;

const countSql = `${sumsSql}
select (select count(*)::integer from states) as messages, (select count(*)::integer from drift) as rows`;

const columns = ["bucket", "dimensions_id", ...additiveColumns, "bins", "counts"].join(", ");

const keepSql = `${sumsSql},${rememberDimensionsSql},
kept as (insert into pg_temp.drift (${columns}) select ${columns} from drift returning 1)
select (select count(*)::integer from states) as messages, (select count(*)::integer from kept) as rows`;

const repairSql = `
with deltas as (select ${columns} from pg_temp.drift),${applyDeltasSql}
select 1`;

const NEVER = new AbortController().signal;

const bounds = (range: DriftRange) => [range.from ?? "-infinity", range.to ?? "infinity"];

/**
 * Adds up the contributions of all messages of an account and compares them with its rollups, in one snapshot and
 * without a lock. Reads every message of the account once.
 */
export async function measureDrift(
  db: Db,
  accountId: string,
  range: DriftRange = {},
  signal = NEVER,
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    const measure = CompiledQuery.raw(countSql, [accountId, ...bounds(range)]);
    return (await session.executeQuery<Drift>(measure)).rows[0]!;
  });
}

/**
 * Recomputes the rollups of a range: measures the drift in one snapshot, then adds it under the fold lock. A fold
 * changes messages and rollups by the same amount, so the drift measured before is the drift still there; the lock is
 * held for the rows that differ and not for the scan. Repairs of one account run one after the other.
 */
export async function repairDrift(
  db: Db,
  accountId: string,
  range: DriftRange = {},
  signal = NEVER,
): Promise<Drift> {
  return longSession(db, signal, async (session) => {
    const key = `repair ${accountId}`;
    await sql`select pg_advisory_lock(hashtextextended(${key}, 0))`.execute(session);
    try {
      await sql`drop table if exists pg_temp.drift`.execute(session);
      await sql`create temp table drift (like rollups including defaults)`.execute(session);
      await sql`alter table pg_temp.drift drop column account_id`.execute(session);
      const measured = await session.executeQuery<Drift>(
        CompiledQuery.raw(keepSql, [accountId, ...bounds(range)]),
      );
      const drift = measured.rows[0]!;
      signal.throwIfAborted();
      if (drift.rows > 0)
        await session.transaction().execute(async (trx) => {
          await lockWatermark(trx, accountId);
          await trx.executeQuery(CompiledQuery.raw(repairSql, [accountId]));
          await trx
            .updateTable("fold_watermarks")
            .set((eb) => ({ version: eb("version", "+", 1) }))
            .where("account_id", "=", accountId)
            .execute();
        });
      return drift;
    } finally {
      await sql`drop table if exists pg_temp.drift`.execute(session);
      await sql`select pg_advisory_unlock(hashtextextended(${key}, 0))`.execute(session);
    }
  });
}
