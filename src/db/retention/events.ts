import { CompiledQuery, sql } from "kysely";
import type { Db } from "../client.js";
import { daysBefore } from "./floors.js";

/** How long a message that is gone is known by the digest of its id. */
const DIGESTS_KEPT_DAYS = 180;
/** How long those who keep a copy are told of what no event tells: that it is gone, or was folded again. */
const CHANGES_KEPT_DAYS = 30;

/**
 * Removes the next events of an account that are older than it wants and that every fold has passed. Under no lock: a fold
 * does not look behind the watermark. Where whole months are soon dropped with their partition, only those outside of
 * any month are removed one by one.
 */
export async function removeEvents(
  session: Db,
  accountId: string,
  before: Date,
  leaveMonthsToPartitions: boolean,
  limit: number,
): Promise<number> {
  const table = leaveMonthsToPartitions ? "message_events_default" : "message_events";
  const text = `
with old as materialized (
  select occurred_at, event_key from ${table} e
  where account_id = $1 and occurred_at < $2
    and (xid, seq) <= (select xid, seq from fold_watermarks where account_id = $1)
  order by occurred_at limit $3
),
removed as (
  delete from ${table} e using old
  where e.account_id = $1 and e.occurred_at = old.occurred_at and e.event_key = old.event_key
  returning e.xid, e.seq
),
last as (select xid, seq from removed order by xid desc, seq desc limit 1),
noted as (
  update accounts set
    events_from = greatest(events_from, $2),
    (events_removed_xid, events_removed_seq) = (
      select xid, seq
      from (select * from last union all select events_removed_xid, events_removed_seq) places
      order by xid desc, seq desc limit 1
    )
  where account_id = $1 and exists (select from old)
)
select count(*)::integer as rows from removed`;
  const result = await session.executeQuery<{ rows: number }>(
    CompiledQuery.raw(text, [accountId, before, limit]),
  );
  return result.rows[0]!.rows;
}

/** Forgets digests and changes after their time, and which events came late once those are gone themselves. */
export async function removeLeftovers(
  session: Db,
  accountId: string,
  eventsBefore: Date,
  now: Date,
  limit: number,
): Promise<number> {
  const digests = await sql`
    delete from retired_messages where account_id = ${accountId} and id = any(array(
      select id from retired_messages
      where account_id = ${accountId} and retired_at < ${daysBefore(now, DIGESTS_KEPT_DAYS)}
      limit ${limit}))`.execute(session);
  const changes = await sql`
    with old as (
      delete from message_changes where account_id = ${accountId} and ctid = any(array(
        select ctid from message_changes
        where account_id = ${accountId} and changed_at < ${daysBefore(now, CHANGES_KEPT_DAYS)}
        order by changed_at limit ${limit}))
      returning xid
    ), noted as (
      update accounts set message_changes_removed_xid = greatest(message_changes_removed_xid, (select max(xid) from old))
      where account_id = ${accountId} and exists (select from old)
    )
    select from old`.execute(session);
  const late = await sql`
    delete from late_events where account_id = ${accountId} and event_key = any(array(
      select event_key from late_events l
      where account_id = ${accountId} and occurred_at < ${eventsBefore}
        and not exists (
          select from message_events e
          where e.account_id = l.account_id and e.occurred_at = l.occurred_at and e.event_key = l.event_key
        )
      limit ${limit}))`.execute(session);
  return Number((digests.numAffectedRows ?? 0n) + (late.numAffectedRows ?? 0n)) + changes.rows.length;
}
