import { anchorAt } from "../fold/message-state.js";
import { chatKeyOf, chatOf, isSpoken } from "./conversation-statement.js";

/** Columns of a message on which its place in a conversation depends. */
const told = [
  ...["chat_id", "contact_id", "channel_id", "direction", "origin", "agent_id", "chat_kind"],
  ...["interactive", "content_kind", "template"],
] as const;
/** And those that say when it was and whether it failed. */
const timed = [
  ...[
    "queued_at",
    "accepted_at",
    "sent_at",
    "delivered_at",
    "read_at",
    "played_at",
    "failed_at",
    "received_at",
  ],
  ...["recipients", "recipients_failed"],
] as const;

const side = [...told, ...timed].map((name) => `n.old_${name} as ${name}`).join(", ");

/** A stretch that is marked already covers both from then on, and misses what either did. */
export const widenMarkSql = `on conflict (account_id, chat_key, month) do update set
    from_at = least(conversation_marks.from_at, excluded.from_at), to_at = greatest(conversation_marks.to_at, excluded.to_at),
    counted_to = least(conversation_marks.counted_to, excluded.counted_to)`;

/**
 * Common table expressions over the fold's `changed`: marks the stretches of chats whose conversations have to be read
 * anew, at most one mark per chat and month. Both sides of a message are marked, where it was and where it is. Status
 * updates change no conversation and mark nothing.
 */
export const conversationMarksSql = `
moved as (
  select n.*
  from changed n cross join lateral (select ${side}) o
  where n.is_new
    or (${told.map((name) => `n.${name}`).join(", ")}) is distinct from (${told.map((name) => `o.${name}`).join(", ")})
    or ${anchorAt("n")} is distinct from n.old_anchor_at
    or ${isSpoken("n")} is distinct from ${isSpoken("o")}
),
marked as (
  insert into conversation_marks (account_id, chat_key, month, chat_id, channel_id, from_at, to_at, counted_to)
  select $1, chat_key, month, min(chat_id), min(channel_id), min(at), max(at),
         (select coalesce(w.folded_at, a.created_at) from fold_watermarks w join accounts a using (account_id) where w.account_id = $1)
  from (
    select ${chatKeyOf("s")} as chat_key, ${chatOf("s")} as chat_id, s.channel_id, s.at,
           date_trunc('month', s.at at time zone 'UTC')::date as month
    from (
      select date_trunc('milliseconds', ${anchorAt("moved")}) as at, ${told.map((name) => `moved.${name}`).join(", ")} from moved
      union all
      select date_trunc('milliseconds', old_anchor_at), ${told.map((name) => `old_${name}`).join(", ")} from moved where not is_new
    ) s
    where s.at is not null and ${chatOf("s")} is not null
  ) sides
  group by chat_key, month
  order by chat_key, month
  ${widenMarkSql}
  returning 1
)`;
