import type { Db } from "../client.js";
import { freezePresenceSql } from "../contacts/apply-presence.js";
import { PRESENCE_DELTAS, presenceDeltasSql } from "../contacts/presence-deltas.js";
import { foldBatch, type Position } from "../fold/fold-account.js";
import { rolledUp } from "../rollups/rolled-up.js";
import { freezeDeltasSql } from "./freeze.js";

const FOLD_ROWS = 5_000;

/** What has come for a message must be in it before it goes. */
export async function foldToTheEnd(session: Db, accountId: string, signal: AbortSignal): Promise<void> {
  for (let after: Position | undefined; ; ) {
    signal.throwIfAborted();
    const batch = await foldBatch(session, accountId, { after, limit: FOLD_ROWS });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

/** What is frozen with the rows of a source, and how those are picked and removed. */
interface Retired {
  table: string;
  /** Columns that are read beside those that contribute. */
  also: readonly string[];
  isOld: string;
  order: string;
  /** Common table expressions beside, over `chunk`. */
  beside: readonly string[];
}

const isOldMessage = "anchor_at < $2::timestamptz";
const messages: Omit<Retired, "isOld" | "order"> = {
  table: "messages",
  also: ["message_id"],
  beside: [
    presenceDeltasSql("states"),
    freezePresenceSql(PRESENCE_DELTAS),
    `recipients_gone as (
  delete from message_recipients where account_id = $1 and ctid = any(array(
    select r.held from chunk cross join lateral (
      select ctid as held from message_recipients
      where account_id = $1 and message_id = chunk.message_id offset 0
    ) r
  ))
)`,
    `told as (
  insert into message_changes (account_id, message_id) select distinct $1, message_id from chunk
)`,
    `remembered as (
  insert into retired_messages (account_id, id) select distinct $1, md5(message_id)::uuid from chunk
  on conflict (account_id, id) do update set retired_at = excluded.retired_at
)`,
  ],
};

const retired: readonly Retired[] = [
  { ...messages, isOld: isOldMessage, order: "anchor_at, message_id" },
  // Only replies, reactions or deletions spoke of these; they count nowhere.
  { ...messages, isOld: "anchor_at is null and updated_at < $2::timestamptz", order: "message_id" },
  {
    table: "preference_changes",
    also: [],
    isOld: "occurred_at < $2::timestamptz",
    order: "occurred_at",
    beside: [],
  },
];

/**
 * Statements that freeze what messages contribute and remove these with their recipients. Digests of their ids stay for a
 * while, so that a late status makes no new message of them.
 */
export const messageChunkStatements = retired.map(chunkSql);

function chunkSql({ table, also, isOld, order, beside }: Retired): string {
  const [only, ...others] = rolledUp.flatMap(({ family, sources }) =>
    sources.filter((one) => one.table === table).map((source) => ({ family, source })),
  );
  if (!only || others.length > 0) throw new Error(`${table} contributes to one family`);
  const { family, source } = only;
  const columns = [...new Set([...also, ...source.columns])].join(", ");
  return `
with chunk as materialized (
  select ctid as held, ${columns} from ${table} where account_id = $1 and ${isOld} order by ${order} limit $3
),
${[
  source.deltas("chunk"),
  freezeDeltasSql(family),
  `removed as (
  delete from ${table} where account_id = $1 and ctid = any(array(select held from chunk))
)`,
  ...beside,
].join(",\n")}
select count(*)::integer as rows from chunk`;
}
