import pg from "pg";
import { Gone, NotFound } from "../../errors.js";
import type { Column } from "../../exports/columns.js";
import type { HeldSnapshot } from "../held-snapshot.js";
import type { Rows } from "./dataset.js";
import { events } from "./events.js";
import { messages } from "./messages.js";

/** A place in the order in which transactions end. Everything before it has been seen. */
export interface ChangePosition {
  /** Of the database's own numbers, which begin anew when it is restored elsewhere. */
  epoch: number;
  /** How far events are folded into messages. */
  xid: string;
  seq: number;
  /** Every transaction before this one has ended. */
  horizon: string;
}

export const changingDatasets = ["messages", "events"] as const;
export type ChangingDataset = (typeof changingDatasets)[number];

/** `upsert`: the row as it is now. `delete`: it is gone, and only its ids are told. */
const opColumn = (sql: string): Column => ({ name: "op", sql, type: "text" });
/** What is known of a row that is gone too. */
const idColumns: Record<string, string> = { account_id: "c.account_id", message_id: "c.id" };
const isThere = "m.message_id is not null";

export const changeColumns: Record<ChangingDataset, readonly Column[]> = {
  messages: [
    ...messages.columns.map((column) => ({
      ...column,
      sql: idColumns[column.name] ?? `case when ${isThere} then ${column.sql} end`,
    })),
    opColumn(`case when ${isThere} then 'upsert' else 'delete' end`),
  ],
  events: [...events.columns, opColumn("'upsert'")],
};

const literal = pg.escapeLiteral;
const xid = (text: string) => `${literal(text)}::xid8`;

/**
 * How far a snapshot has come in an account's changes. Throws `NotFound` without the account, and `Gone` (`cursor_expired`) when
 * `since` is so old that what has changed after it is not known any more, or comes from before a restore.
 */
export async function changePosition(
  snapshot: Pick<HeldSnapshot, "read">,
  dataset: ChangingDataset,
  accountId: string,
  since: ChangePosition | undefined,
  signal: AbortSignal,
): Promise<ChangePosition> {
  const [row] = await snapshot.read<ChangePosition & { expired: boolean }>(
    `select i.epoch, pg_snapshot_xmin(pg_current_snapshot())::text as horizon, p.xid::text as xid, p.seq,
            ${since ? expiredSql(dataset, since) : "false"} as expired
     from accounts a join fold_watermarks w using (account_id) cross join installation i
     cross join lateral (
       -- A backfill sends the watermark back to the beginning, and what it changes is told beside.
       select xid, seq from (values (w.xid, w.seq), (w.reached_xid, w.reached_seq)) places(xid, seq)
       order by xid desc, seq desc limit 1
     ) p
     where a.account_id = ${literal(accountId)}`,
    signal,
  );
  if (!row) throw new NotFound("account_not_found", "There is no such account.");
  const { expired, ...position } = row;
  if (expired)
    throw new Gone(
      "cursor_expired",
      "What has changed since this cursor is not known any more. Begin again with since=start, in place of what you have.",
    );
  return position;
}

/** Whether anything that would tell of changes after `since` is gone. */
const expiredSql = (
  dataset: ChangingDataset,
  { epoch, xid: folded, seq, horizon }: ChangePosition,
): string => {
  const gone = {
    messages:
      `a.message_changes_removed_xid >= ${xid(horizon)} or ` +
      `(a.events_removed_xid, a.events_removed_seq) > (${xid(folded)}, ${Number(seq)})`,
    events: `a.events_removed_xid >= ${xid(horizon)}`,
  };
  return `(i.epoch <> ${Number(epoch)} or ${gone[dataset]})`;
};

/**
 * What has changed after `since`, up to `upto`; everything there is without `since`. Each row is as it is now, so taking the same
 * changes twice does no harm. Reads an index range of the events, and looks each of their messages up.
 */
export function selectChanges(
  dataset: ChangingDataset,
  accountId: string,
  since: ChangePosition | undefined,
  upto: ChangePosition,
): Rows {
  if (dataset === "messages" && !since) return allMessages(accountId);
  const from = dataset === "events" ? eventsFrom : changedMessagesFrom;
  return {
    columns: changeColumns[dataset],
    key: undefined,
    from: ({ ordered }) => from(literal(accountId), since as ChangePosition, upto, ordered),
  };
}

/**
 * Every message of an account, for whoever begins. A message is in one range of ids only, whenever that is read: a cursor of before
 * the first range is read tells of whatever those after it show otherwise.
 */
export const allMessages = (accountId: string): Rows => ({
  columns: changeColumns.messages,
  key: ["m.message_id"],
  from: ({ ordered, within: { from, to } = {} }) =>
    `from messages m cross join lateral (select m.account_id, m.message_id as id) c
     where m.account_id = ${literal(accountId)} and m.anchor_at is not null` +
    `${from ? ` and m.message_id >= ${literal(from[0]!)}` : ""}${to ? ` and m.message_id < ${literal(to[0]!)}` : ""}` +
    `${ordered ? " order by m.account_id, m.message_id" : ""}`,
});

type From = (account: string, since: ChangePosition, upto: ChangePosition, ordered: boolean) => string;

const eventsFrom: From = (account, since: ChangePosition | undefined, upto, ordered) =>
  `from message_events e where e.account_id = ${account}` +
  `${since ? ` and e.xid >= ${xid(since.horizon)}` : ""} and e.xid < ${xid(upto.horizon)}` +
  `${ordered ? " order by e.account_id, e.xid, e.seq" : ""}`;

/**
 * An event changes its own message, the one that it answers and the one that it reacts to. What changed without a new event is in
 * `message_changes`: it was removed, or folded again. The answers that are found by reading chats are in no column of the dataset.
 */
const changedMessagesFrom: From = (account, since, upto, ordered) => `
  from (
    select ${account} as account_id, id, bool_or(was_there) as was_there
    from (
      select about.id, false as was_there
      from message_events e
      cross join lateral (values (e.message_id), (e.reply_to), (e.reaction ->> 'target')) about(id)
      where e.account_id = ${account} and about.id is not null
        and (e.xid, e.seq) > (${xid(since.xid)}, ${Number(since.seq)}) and (e.xid, e.seq) <= (${xid(upto.xid)}, ${Number(upto.seq)})
      union all
      select changed.message_id, true from message_changes changed
      where changed.account_id = ${account} and changed.xid >= ${xid(since.horizon)} and changed.xid < ${xid(upto.horizon)}
    ) touched
    group by id
  ) c
  left join messages m on m.account_id = ${account} and m.message_id = c.id and m.anchor_at is not null
  where ${isThere} or c.was_there${ordered ? " order by c.id" : ""}`;
