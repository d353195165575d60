/**
 * What a message row is made of, and how events merge into it. Both lists drive the SQL text of the fold.
 *
 * Merging is commutative, associative and idempotent: a stage keeps its earliest time, a fact keeps the value that
 * comes with the least order key, so neither order, duplication nor batching of events can change the result.
 */

/** A stage column and the event type that sets it. */
export interface Stage {
  column: string;
  type: string;
}

/** Ranks of the delivery path, then the stages that stand apart from it. */
export const stages: readonly Stage[] = [
  { column: "queued_at", type: "message.queued" },
  { column: "accepted_at", type: "message.accepted" },
  { column: "sent_at", type: "message.sent" },
  { column: "delivered_at", type: "message.delivered" },
  { column: "read_at", type: "message.read" },
  { column: "played_at", type: "message.played" },
  { column: "failed_at", type: "message.failed" },
  { column: "received_at", type: "message.received" },
  { column: "deleted_at", type: "message.deleted" },
  { column: "edited_at", type: "message.edited" },
  { column: "revoked_at", type: "message.revoked" },
];

/**
 * Event types that speak for a message's facts. A deletion, an edit or a revocation comes from whoever did it and later,
 * so what it says of channel or content is not the message's.
 */
export const factTypes: readonly string[] = stages
  .map((stage) => stage.type)
  .filter((type) => !["message.deleted", "message.edited", "message.revoked"].includes(type));

/**
 * Stages that a message reaches through what the other side writes: an inbound message that names it in `reply_to`.
 * Written to the message that is named.
 */
export const echoes: readonly { column: string; when: string }[] = [
  { column: "replied_at", when: "true" },
  { column: "clicked_at", when: "interactive is not null or content_kind in ('button', 'interactive')" },
];

/** Columns that always travel together, and the column that holds the order key of the event they came with. */
export interface Fact {
  order: string;
  columns: readonly string[];
  /** The only event type that speaks of it, when it is only one. */
  only?: string;
  /** Whether a row says anything of it. */
  isPresent: (row: string) => string;
  /** The fact as one text, null when it is absent; the last tie-break between equal order keys. */
  asText: (row: string) => string;
  /** `asText` undone, a column each. */
  fromText: (text: string) => readonly string[];
}

function single(column: string, order: string, cast = ""): Fact {
  return {
    order,
    columns: [column],
    isPresent: (row) => `${row}.${column} is not null`,
    asText: (row) => (cast ? `${row}.${column}::text` : `${row}.${column}`),
    fromText: (text) => [`(${text})${cast}`],
  };
}

/** Several columns as a JSON array. It is absent when its leading columns are, by default the first. */
function joined(columns: readonly { name: string; cast?: string }[], order: string, leading = 1): Fact {
  const isPresent = (row: string) =>
    columns
      .slice(0, leading)
      .map(({ name }) => `${row}.${name} is not null`)
      .join(" or ");
  return {
    order,
    columns: columns.map((column) => column.name),
    isPresent,
    asText: (row) =>
      `case when ${isPresent(row)} then ` +
      `jsonb_build_array(${columns.map((column) => `${row}.${column.name}`).join(", ")})::text end`,
    fromText: (text) => columns.map((column, index) => `((${text})::jsonb ->> ${index})${column.cast ?? ""}`),
  };
}

export const facts: readonly Fact[] = [
  single("channel_id", "channel_order"),
  single("direction", "direction_order", "::message_direction"),
  joined([{ name: "chat_id" }, { name: "chat_kind" }], "chat_order"),
  single("contact_id", "contact_order"),
  joined([{ name: "content_kind" }, { name: "text_length", cast: "::integer" }], "content_order"),
  single("reply_to", "reply_to_order"),
  // Who wrote it: senders may name the person and leave it at that.
  joined([{ name: "origin" }, { name: "agent_id" }], "origin_order", 2),
  joined(
    [
      { name: "template" },
      { name: "template_id" },
      { name: "template_language" },
      { name: "template_category" },
    ],
    "template_order",
  ),
  single("campaign_id", "campaign_order"),
  single("tags", "tags_order", "::text[]"),
  {
    ...joined([{ name: "error_code" }, { name: "error_class" }, { name: "error_title" }], "error_order"),
    only: "message.failed",
  },
  single("pricing", "pricing_order", "::jsonb"),
  single("interactive", "interactive_order", "::jsonb"),
];

/** Queue entries beyond the first that are told apart. */
const REQUEUES_KEPT = 15;

/** Times at which a message was queued once more: of all distinct ones known the least, without the very first. */
export const requeuedAt = `case when i.queue_times is null then o.requeued_at
             when o.queued_at is null and cardinality(i.queue_times) = 1 then null
             else (
               select array_agg(at order by at) from (
                 select distinct at
                 from unnest(i.queue_times || o.requeued_at || date_trunc('milliseconds', o.queued_at)) as at
                 where at is not null order by at offset 1 limit ${REQUEUES_KEPT}
               ) later
             ) end as requeued_at`;

/** Digits of the milliseconds in front of a reaction. */
const REACTION_TIME_DIGITS = 16;

/** One reaction as a text that sorts by time; at the same time a removal comes last. */
export const reactionEntry =
  `lpad(floor(date_part('epoch', occurred_at) * 1000)::bigint::text, ${REACTION_TIME_DIGITS}, '0')` +
  ` || case when type = 'reaction.removed' then '1' else '0' || coalesce(reaction ->> 'emoji', '') end`;

/** The last reaction of each author, live or removed: {author: entry}. */
export const latestReactions = `case when i.reaction_authors is null then o.reactions else (
             select jsonb_object_agg(author, entry) from (
               select author, max(entry collate "C") as entry from (
                 select * from unnest(i.reaction_authors, i.reaction_entries) as incoming(author, entry)
                 union all
                 select * from jsonb_each_text(o.reactions)
               ) known group by author
             ) latest
           ) end as reactions`;

/** How many reactions stand, and since when the first of them. */
const standing = (what: string, otherwise: string) =>
  `case when reactions is not distinct from old_reactions then old_${otherwise} else (
           select ${what} from jsonb_each_text(reactions) as r(author, entry)
           where substr(entry, ${REACTION_TIME_DIGITS + 1}, 1) = '0'
         ) end as ${otherwise}`;
export const standingReactions = [
  standing("count(*)::integer", "reaction_count"),
  standing(`to_timestamp(min(left(entry, ${REACTION_TIME_DIGITS}))::bigint / 1000.0)`, "reacted_at"),
];

/** The reactions that stand on a message as JSON, the first of them first: [{author, emoji, at}], `at` in ms. */
export const shownReactions = (row: string): string => `(
      select coalesce(jsonb_agg(jsonb_build_object(
               'author', nullif(author, ''), 'emoji', nullif(substr(entry, ${REACTION_TIME_DIGITS + 2}), ''),
               'at', left(entry, ${REACTION_TIME_DIGITS})::bigint) order by entry, author), '[]')
      from jsonb_each_text(${row}.reactions) as r(author, entry)
      where substr(entry, ${REACTION_TIME_DIGITS + 1}, 1) = '0')`;

/** Stages that each recipient of a group message reaches alone. */
export const recipientStages: readonly Stage[] = [
  { column: "sent_at", type: "message.sent" },
  { column: "delivered_at", type: "message.delivered" },
  { column: "read_at", type: "message.read" },
  { column: "played_at", type: "message.played" },
  { column: "failed_at", type: "message.failed" },
];

/** How many recipients of a group message are known, how many of them it reached, and at how many it failed. */
export const recipientCounts = [
  "recipients",
  "recipients_delivered",
  "recipients_read",
  "recipients_failed",
] as const;

/** Every column that a fold may write. */
export const stateColumns: readonly string[] = [
  ...stages.map((stage) => stage.column),
  ...echoes.map((echo) => echo.column),
  ...facts.flatMap((fact) => [fact.order, ...fact.columns]),
  "requeued_at",
  "reactions",
  "reaction_count",
  "reacted_at",
  ...recipientCounts,
];

/**
 * A time carries its quality in its microsecond digit (0 provider, 1 gateway, 2 observed, 3 inferred): WhatsApp's
 * times have whole milliseconds at most, so the digit is free, and `least()` of two equal times prefers the better.
 */
const isTrusted = (time: string) =>
  `${time} - date_bin('1 millisecond', ${time}, 'epoch'::timestamptz) < interval '2 microseconds'`;

/** Whether WhatsApp itself said the time. */
export const isTimedByProvider = (time: string): string => `${time} = date_trunc('milliseconds', ${time})`;

/** Milliseconds from one trusted stage to another, null unless both are; negative when the clocks disagree. */
export const elapsedMs = (from: string, to: string): string =>
  `case when ${isTrusted(from)} and ${isTrusted(to)} then round(date_part('epoch', ${to} - ${from}) * 1000)::bigint end`;

/** The cohort a message belongs to: the moment we let go of it, else its earliest known stage. */
export const anchorAt = (row: string): string =>
  `coalesce(least(${row}.queued_at, ${row}.accepted_at, ${row}.sent_at), ` +
  `least(${row}.delivered_at, ${row}.read_at, ${row}.played_at, ${row}.failed_at, ${row}.received_at))`;

/** Whether WhatsApp ever said that it arrived: then an earlier or later failure does not count. */
export const hasArrived = (row: string): string =>
  `(${row}.delivered_at is not null or ${row}.read_at is not null or ${row}.played_at is not null)`;

/**
 * Whether it failed and nothing says that it arrived. In a group a recipient may fail alone: that is a failure of the
 * message once it has failed for everyone of whom a receipt is known.
 */
export const isFailed = (row: string): string =>
  `(${row}.failed_at is not null and not ${hasArrived(row)} and (${row}.chat_kind is distinct from 'group'` +
  ` or ${row}.recipients_failed is not distinct from ${row}.recipients))`;

/** The state shown in message rows: the furthest stage, `failed` only where it counts as failed. */
export const statusOf = (row: string): string =>
  `case when ${row}.played_at is not null then 'played'
     when ${row}.read_at is not null then 'read'
     when ${row}.delivered_at is not null then 'delivered'
     when ${isFailed(row)} then 'failed'
     when ${row}.sent_at is not null then 'sent'
     when ${row}.accepted_at is not null then 'accepted'
     when ${row}.queued_at is not null then 'queued'
     when ${row}.received_at is not null then 'received' end`;
