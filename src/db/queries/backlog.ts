import { type RawBuilder, sql } from "kysely";
import type { Db } from "../client.js";

/** Accounts that are counted, and those that are named. */
const MAX_COUNTED = 1_000;
const MAX_NAMED = 10;

/** What jobs have left to do, of how many accounts and since when. */
export interface Backlog<Row> {
  /** At most `MAX_COUNTED`; then what else is added up is that of these. */
  accounts: number;
  since: Date | null;
  /** Those that have waited longest. */
  oldest: Row[];
}

interface Waiting {
  account_id: string;
  since: Date;
}

/** Accounts with numbers that wait to be settled, which have waited longest first. One range of an index. */
export async function unsettledAccounts(
  db: Db,
): Promise<Backlog<Waiting & { rows: number }> & { rows: number }> {
  const { rows } = await backlog<Waiting & { rows: number }>(
    db,
    sql`
      select account_id, unsettled_since as since, unsettled_rows as rows
      from fold_watermarks where unsettled_since is not null order by unsettled_since limit ${MAX_COUNTED}`,
    sql`coalesce(sum(rows), 0)`,
  );
  const { accounts, since, sum, oldest } = rows[0]!;
  return { accounts, rows: sum, since, oldest };
}

/**
 * Accounts with chats that wait to be read, or with settings by which none has been read. One index probe an account,
 * however many of its chats wait.
 */
export async function unreadAccounts(db: Db): Promise<Backlog<Waiting>> {
  const first = sql`order by m.account_id, m.counted_to, m.marked_at limit 1`;
  const { rows } = await backlog<Waiting>(
    db,
    sql`
      select account_id, min(since) as since from (
        (with recursive marked as (
           (select m.account_id, m.marked_at as since from conversation_marks m ${first})
           union all
           select next.* from marked cross join lateral (
             select m.account_id, m.marked_at as since from conversation_marks m
             where m.account_id > marked.account_id ${first}
           ) next
         )
         select * from marked limit ${MAX_COUNTED})
        union all
        (select account_id, settings_changed_at from accounts
         where settings_version <> conversations_version limit ${MAX_COUNTED})
      ) found group by account_id`,
    sql`0`,
  );
  const { accounts, since, oldest } = rows[0]!;
  return { accounts, since, oldest };
}

const backlog = <Row>(db: Db, waiting: RawBuilder<unknown>, sum: RawBuilder<unknown>) =>
  sql<{ accounts: number; since: Date | null; sum: number; oldest: Row[] }>`
    with waiting as materialized (${waiting})
    select count(*)::integer as accounts, min(since) as since, (${sum})::float8 as sum,
           coalesce((
             select jsonb_agg(to_jsonb(w) || jsonb_build_object('since',
                      to_char(w.since at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) order by w.since, w.account_id)
             from (select * from waiting order by since, account_id limit ${MAX_NAMED}) w
           ), '[]') as oldest
    from waiting`.execute(db);
