import { sql } from "kysely";
import type { Db } from "../client.js";
import { isLockTimeout } from "../errors.js";

/** Months made ahead, so that no event of tomorrow lands in the default partition. */
const MONTHS_AHEAD = 2;
/** Months made behind at the first start: what most back-fills need. Older events go to the default partition. */
const MONTHS_BEHIND = 3;

/**
 * Creates the missing monthly partitions of `message_events` around `now`. Safe to run from several processes at
 * once (one advisory lock) and again at any time. A month whose events already sit in the default partition is left
 * there: moving them is not worth a lock on ingest.
 */
export async function ensurePartitions(db: Db, now: Date): Promise<{ created: string[] }> {
  return db.transaction().execute(async (trx) => {
    await lockPartitions(trx);
    const existing = await sql<{ name: string }>`
      select child.relname as name
      from pg_inherits join pg_class child on child.oid = inhrelid
      where inhparent = 'message_events'::regclass`.execute(trx);
    const names = new Set(existing.rows.map((row) => row.name));
    const created: string[] = [];
    for (let offset = -MONTHS_BEHIND; offset <= MONTHS_AHEAD; offset++) {
      const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset, 1));
      const to = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + offset + 1, 1));
      const name = `message_events_${from.toISOString().slice(0, 7).replace("-", "_")}`;
      if (names.has(name) || (await defaultHolds(trx, from, to))) continue;
      await sql
        .raw(
          `create table ${name} partition of message_events
             for values from ('${from.toISOString()}') to ('${to.toISOString()}')`,
        )
        .execute(trx);
      created.push(name);
    }
    return { created };
  });
}

const lockPartitions = (trx: Db) =>
  sql`select pg_advisory_xact_lock(hashtext('message_events partitions'))`.execute(trx);

async function defaultHolds(db: Db, from: Date, to: Date): Promise<boolean> {
  const found = await sql`
    select from message_events_default where occurred_at >= ${from} and occurred_at < ${to} limit 1`.execute(
    db,
  );
  return found.rows.length > 0;
}

/** Ingest waits at most so long for a partition that goes; the next fire tries again. */
const DROP_LOCK_TIMEOUT = "1s";

/**
 * Drops the months whose last instant lies before `before`, the time up to which every account has had enough of its
 * events, unless a fold has not got so far. Accounts note that these events are gone. Safe at any time and from several
 * processes; what is busy is left. Cost: three index probes for each account and month that goes, two of them while ingest
 * waits.
 */
export async function dropOldPartitions(db: Db, before: Date): Promise<{ dropped: string[] }> {
  const { rows: old } = await sql<{ name: string; to: string }>`
    select name, upto as to from (
      select child.relname as name,
             (regexp_match(pg_get_expr(child.relpartbound, child.oid), 'TO \\(''([^'']+)''\\)'))[1]::timestamptz as upto
      from pg_inherits join pg_class child on child.oid = inhrelid
      where inhparent = 'message_events'::regclass
    ) months
    where upto <= ${before}
    order by upto`.execute(db);
  const dropped: string[] = [];
  try {
    for (const { name, to } of old) if (await dropMonth(db, name, to)) dropped.push(name);
  } catch (error) {
    if (!isLockTimeout(error)) throw error;
  }
  return { dropped };
}

/** False when another process has dropped it meanwhile, or a fold needs it still. */
async function dropMonth(db: Db, name: string, to: string): Promise<boolean> {
  return db.transaction().execute(async (trx) => {
    await lockPartitions(trx);
    const there = await sql`select where to_regclass(${name}) is not null`.execute(trx);
    if (there.rows.length === 0) return false;
    if (await isNeeded(trx, name)) return false;
    await sql.raw(`set local lock_timeout = '${DROP_LOCK_TIMEOUT}'`).execute(trx);
    // The parent first, as ingest and the drop itself do; and only then is no event on its way into the month any more.
    for (const table of ["message_events", name])
      await sql`lock table only ${sql.table(table)} in access exclusive mode`.execute(trx);
    if (await isNeeded(trx, name)) return false;
    await sql`
      update accounts a set events_removed_xid = gone.xid, events_removed_seq = gone.seq
      from accounts b cross join lateral (
        select e.xid, e.seq from ${sql.table(name)} e where e.account_id = b.account_id order by e.xid desc, e.seq desc limit 1
      ) gone
      where a.account_id = b.account_id 
        and (a.events_removed_xid, a.events_removed_seq) < (gone.xid, gone.seq)`.execute(trx);
    await sql`drop table ${sql.table(name)}`.execute(trx);
    await sql`
      update accounts set events_from = greatest(events_from, ${to}::timestamptz)
      where events_from is null or events_from < ${to}::timestamptz`.execute(trx);
    return true;
  });
}

/** Whether a fold has not got so far as to have read all of it. */
async function isNeeded(trx: Db, name: string): Promise<boolean> {
  const { rows } = await sql`
    select from fold_watermarks w
    where exists (
      select from ${sql.table(name)} e where e.account_id = w.account_id and (e.xid, e.seq) > (w.xid, w.seq)
    ) limit 1`.execute(trx);
  return rows.length > 0;
}
