import { anchorAt, elapsedMs, hasArrived, isFailed, isTimedByProvider } from "../fold/message-state.js";
import { quarterDeltasSql, setId } from "./deltas.js";
import { counterBit, type RollupFamily } from "./family.js";

/** What happens to a message once and at a time of its own; counted at that time too (`event_`). */
const staged = [
  "sent",
  "delivered",
  "read",
  "played",
  "failed",
  "received",
  "pending",
  "replied",
  "clicked",
  "reacted",
  "engaged",
  "group_sent",
  "group_delivered",
  "group_read",
  "group_failed",
] as const;

/** Counted at one place in both bases. */
const anchored = [
  "attempted",
  "contradictions",
  "clock_anomalies",
  "provider_timed",
  "group_attempted",
  "group_delivered_to_all",
  "queued",
  "dequeued",
  "opt_outs",
  "opt_ins",
] as const;

type Counter = (typeof anchored)[number] | `${"cohort" | "event"}_${(typeof staged)[number]}`;

const durations = ["send", "deliver", "read", "queue"] as const;

export const messageRollups: RollupFamily = {
  quarters: "rollups",
  days: "daily_rollups",
  deltas: "rollup_deltas",
  sets: "dimension_sets",
  dimensions: [
    "channel_id",
    "direction",
    "content_kind",
    "template",
    "campaign_id",
    "error_class",
    "error_code",
  ],
  counters: [
    ...anchored,
    ...staged.map((name) => `cohort_${name}`),
    ...staged.map((name) => `event_${name}`),
  ],
  durations: [
    ...durations.map((name) => `cohort_${name}_ms`),
    ...durations.map((name) => `event_${name}_ms`),
  ],
  sums: ["queue_retries", "reactions", "recipients", "recipients_delivered", "recipients_read"],
  binType: "smallint",
};

export type Dimension =
  | "channel_id"
  | "direction"
  | "content_kind"
  | "template"
  | "campaign_id"
  | "error_class"
  | "error_code";
export const dimensions = messageRollups.dimensions as readonly Dimension[];

/** Columns of a message that its contribution depends on. */
export const contributingColumns = [
  "queued_at",
  "accepted_at",
  "sent_at",
  "delivered_at",
  "read_at",
  "played_at",
  "failed_at",
  "received_at",
  "replied_at",
  "clicked_at",
  "reacted_at",
  "answered_at",
  "requeued_at",
  "reaction_count",
  "recipients",
  "recipients_delivered",
  "recipients_read",
  "recipients_failed",
  "chat_kind",
  "contact_id",
  ...dimensions,
] as const;

const bit = (counter: Counter): string => counterBit(messageRollups, counter);
const masks = (...parts: readonly (readonly [condition: string, counter: Counter])[]): string =>
  parts.map(([when, name]) => `case when ${when} then ${bit(name)} else 0 end`).join(" | ");

const isPending = "sent_at is not null and not has_arrived and not is_failed";

/** Counters at the anchor of a message: `cohort_` and what has one place only. */
const anchorMask = `case when is_outbound then ${masks(
  ["true", "attempted"],
  ["sent_at is not null or has_arrived", "cohort_sent"],
  ["has_arrived", "cohort_delivered"],
  ["read_at is not null or played_at is not null", "cohort_read"],
  ["played_at is not null", "cohort_played"],
  ["is_failed", "cohort_failed"],
  [isPending, "cohort_pending"],
  // In a group it may fail for one and reach another.
  ["failed_at is not null and has_arrived and not is_group", "contradictions"],
  ["send_ms < 0 or deliver_ms < 0 or read_ms < 0", "clock_anomalies"],
  ["is_timed_by_provider", "provider_timed"],
  ["reply_at is not null", "cohort_replied"],
  ["click_at is not null", "cohort_clicked"],
  ["reaction_at is not null", "cohort_reacted"],
  ["engaged_at is not null", "cohort_engaged"],
)} | case when is_group then ${masks(
  ["true", "group_attempted"],
  ["sent_at is not null or has_arrived", "cohort_group_sent"],
  ["has_arrived", "cohort_group_delivered"],
  ["read_at is not null or played_at is not null", "cohort_group_read"],
  ["is_failed", "cohort_group_failed"],
  ["recipients_delivered = recipients", "group_delivered_to_all"],
)} else 0 end
  else ${masks(["received_at is not null", "cohort_received"], ["received_at is not null and is_timed_by_provider", "provider_timed"])} end`;

/** When each counter of the event basis counts: the stage's own time, else that of the stage which implies it. */
const placements: readonly { at: string; mask: string }[] = [
  { at: "anchor_at", mask: anchorMask },
  {
    at: "case when is_outbound then coalesce(sent_at, least(delivered_at, read_at, played_at)) end",
    mask: masks(["true", "event_sent"], ["is_group", "event_group_sent"]),
  },
  {
    at: "case when is_outbound then coalesce(delivered_at, least(read_at, played_at)) end",
    mask: masks(["true", "event_delivered"], ["is_group", "event_group_delivered"]),
  },
  {
    at: "case when is_outbound then coalesce(read_at, played_at) end",
    mask: masks(["true", "event_read"], ["is_group", "event_group_read"]),
  },
  { at: "case when is_outbound then played_at end", mask: bit("event_played") },
  {
    at: "case when is_failed then failed_at end",
    mask: masks(["true", "event_failed"], ["is_group", "event_group_failed"]),
  },
  { at: `case when is_outbound and ${isPending} then sent_at end`, mask: bit("event_pending") },
  { at: "case when not is_outbound then received_at end", mask: bit("event_received") },
  { at: "reply_at", mask: bit("event_replied") },
  { at: "click_at", mask: bit("event_clicked") },
  { at: "reaction_at", mask: bit("event_reacted") },
  { at: "engaged_at", mask: bit("event_engaged") },
  { at: "case when is_outbound then queued_at end", mask: bit("queued") },
  { at: "dequeued_at", mask: bit("dequeued") },
];

/** In the order of the slots: the durations, then the sums. */
const measurements: readonly { at: string; value: string }[] = [
  { at: "anchor_at", value: "send_ms" },
  { at: "anchor_at", value: "deliver_ms" },
  { at: "anchor_at", value: "read_ms" },
  { at: "anchor_at", value: "queue_ms" },
  { at: "sent_at", value: "send_ms" },
  { at: "delivered_at", value: "deliver_ms" },
  { at: "read_at", value: "read_ms" },
  { at: "coalesce(accepted_at, sent_at)", value: "queue_ms" },
  { at: "anchor_at", value: "case when is_outbound then cardinality(requeued_at) end" },
  { at: "anchor_at", value: "case when is_outbound then nullif(reaction_count, 0) end" },
  { at: "anchor_at", value: "case when is_group then recipients end" },
  { at: "anchor_at", value: "case when is_group then nullif(recipients_delivered, 0) end" },
  { at: "anchor_at", value: "case when is_group then nullif(recipients_read, 0) end" },
];

/**
 * A row for each value; several of these in one select list go in step. PostgreSQL compiles the expressions of a
 * lateral VALUES anew for every row it joins, which took a quarter of a fold; these it compiles once.
 */
const unnested = (values: readonly string[]): string => `unnest(array[${values.join(",\n               ")}])`;

/**
 * The one definition of what messages add to the rollups: `contribution(state) → rows`, without a clock. The fold
 * writes `contribution(new) − contribution(old)`; `verify` sums it over all messages and compares. Common table
 * expressions over two relations:
 * - `states(sign, …)` with the contributing columns, a row per message state;
 * - `preferences(sign, channel_id, occurred_at, is_opt_out)`, a row per change of a contact's mind about marketing.
 */
export function messageDeltasSql(states: string, preferences: string): string {
  const { dimensions: names } = messageRollups;
  return `
measured_states as materialized (
  select sign, ${names.map((name) => (name.startsWith("error") ? `case when is_failed then ${name} end as ${name}` : name)).join(", ")},
         anchor_at, queued_at, accepted_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at,
         is_outbound, is_failed, is_group, has_arrived, is_timed_by_provider, requeued_at, reaction_count,
         recipients, recipients_delivered, recipients_read, dequeued_at,
         case when has_arrived then reply_at end as reply_at,
         case when has_arrived then click_at end as click_at,
         case when has_arrived then reaction_at end as reaction_at,
         case when is_outbound and has_arrived then least(reply_at, click_at, reaction_at, read_at, played_at) end as engaged_at,
         case when is_outbound then ${elapsedMs("queued_at", "sent_at")} end as send_ms,
         case when is_outbound and not is_group then ${elapsedMs("sent_at", "delivered_at")} end as deliver_ms,
         case when is_outbound and not is_group then ${elapsedMs("delivered_at", "read_at")} end as read_ms,
         case when is_outbound then ${elapsedMs("queued_at", "coalesce(accepted_at, sent_at)")} end as queue_ms
  from (
    select *,
           case when is_outbound then least(replied_at, answered_at) end as reply_at,
           case when is_outbound then clicked_at end as click_at,
           case when is_outbound then reacted_at end as reaction_at,
           case when is_outbound and queued_at is not null
                  and num_nonnulls(accepted_at, sent_at, delivered_at, read_at, played_at, failed_at) > 0
             then greatest(queued_at, least(accepted_at, sent_at, delivered_at, read_at, played_at, failed_at)) end
             as dequeued_at
    from (
      select s.*, ${anchorAt("s")} as anchor_at, ${hasArrived("s")} as has_arrived,
             s.direction = 'outbound' as is_outbound, s.direction = 'outbound' and ${isFailed("s")} as is_failed,
             s.direction = 'outbound' and coalesce(s.chat_kind = 'group', false) as is_group,
             ${isTimedByProvider(anchorAt("s"))} as is_timed_by_provider
      from ${states} s
      where s.direction in ('inbound', 'outbound')
    ) anchored
    where anchor_at is not null
  ) judged
),
dimensioned as materialized (
  select *, ${setId(messageRollups)} as dimensions_id from measured_states
),
opted as materialized (
  select p.*, ${setId(messageRollups)} as dimensions_id
  from (
    select sign, occurred_at, is_opt_out, ${names.map((name) => (name === "channel_id" ? name : `null::${name === "direction" ? "message_direction" : "text"} as ${name}`)).join(", ")}
    from ${preferences}
  ) p
),
sets as materialized (
  select dimensions_id, ${names.join(", ")} from dimensioned
  union
  select dimensions_id, ${names.join(", ")} from opted
),
placed as (
  select sign, dimensions_id,
         ${unnested(placements.map(({ at }) => at))} as at,
         ${unnested(placements.map(({ mask }) => mask))} as mask
  from dimensioned
  union all
  select sign, dimensions_id, occurred_at, case when is_opt_out then ${bit("opt_outs")} else ${bit("opt_ins")} end
  from opted
),
measured as (
  select sign, dimensions_id,
         ${unnested(measurements.map((_, slot) => `${slot}`))} as slot,
         ${unnested(measurements.map(({ at }) => at))} as at,
         ${unnested(measurements.map(({ value }) => `(${value})::bigint`))} as value
  from dimensioned
),${quarterDeltasSql(messageRollups)}`;
}
