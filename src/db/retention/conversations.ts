import { freezeFlowsSql } from "../conversations/flow-edges.js";
import {
  conversationColumns,
  conversationDeltasSql,
  conversationRollups,
  turnColumns,
} from "../rollups/conversations.js";
import { freezeDeltasSql } from "./freeze.js";

/**
 * Conversations and turns that ended before the account's floor of messages: what they contribute is frozen, and they go.
 * Those that lie across the floor wait until they are wholly below it. Turns are rows too, so that a conversation weighs as
 * much as it has inbound messages. Parameters as of `chunkStatements`. They are found by their beginnings: at most a month
 * of others is looked at.
 */
export const conversationChunkSql = `
with old as (
  select ctid as held, chat_key, started_at, steps, ${conversationColumns.filter((name) => name !== "started_at").join(", ")}
  from conversations
  where account_id = $1 and started_at < $2::timestamptz and ended_at < $2::timestamptz
  order by started_at, chat_key limit $3
),
chunk as materialized (
  select *
  from (select *, sum(1 + inbound) over (order by started_at, chat_key) - 1 - inbound as rows_before from old) weighed
  where rows_before < $3
),
chunk_turns as materialized (
  select t.*
  from chunk c cross join lateral (
    select ctid as held, * from conversation_turns t
    where t.account_id = $1 and t.chat_key = c.chat_key and t.conversation_started_at = c.started_at
  ) t
),
conversation_states as (select 1 as sign, ${conversationColumns.join(", ")} from chunk),
turn_states as (select 1 as sign, ${turnColumns.join(", ")} from chunk_turns),
flow_states as (select 1 as sign, started_at, steps from chunk),${[
  conversationDeltasSql("conversation_states", "turn_states"),
  freezeDeltasSql(conversationRollups),
  freezeFlowsSql("flow_states"),
].join(",\n")},
turns_removed as (
  delete from conversation_turns where account_id = $1 and ctid = any(array(select held from chunk_turns))
),
removed as (
  delete from conversations where account_id = $1 and ctid = any(array(select held from chunk))
)
select count(*)::integer as rows from chunk`;
