import { anchorAt, elapsedMs, hasArrived } from "./message-state.js";

/**
 * The one definition of what a message adds to the rollups: `contribution(state) → rows`, without a clock. The fold
 * writes `contribution(new) − contribution(old)`; `verify` sums it over all messages and compares.
 */

/** Bounds of the latency bins grow by 1 %: a value is known to ± 0.5 %, the maximum to 1 %. */
export const BIN_GROWTH = 1.01;

/** Bins of one latency: 3,000 × 1 % reaches from 1 ms past 200 years, so a slot and a bin fit into one smallint. */
export const BINS_PER_SLOT = 3_000;

/** Seconds of the finest bucket: every UTC offset in use is a multiple of it. */
export const BUCKET_SECONDS = 900;

/** Counter columns of `rollups`; a contribution names its counters as a bit mask in this order. */
export const counters = [
  "attempted",
  "cohort_sent",
  "cohort_delivered",
  "cohort_read",
  "cohort_played",
  "cohort_failed",
  "cohort_received",
  "cohort_pending",
  "event_sent",
  "event_delivered",
  "event_read",
  "event_played",
  "event_failed",
  "event_received",
  "event_pending",
  "contradictions",
  "clock_anomalies",
] as const;
export type Counter = (typeof counters)[number];

/** The latencies kept, each in its own slot of the bins: where it is counted, and which duration it is. */
export const latencySlots = [
  { sum: "cohort_send_ms", at: "anchor_at", elapsed: "send_ms" },
  { sum: "cohort_deliver_ms", at: "anchor_at", elapsed: "deliver_ms" },
  { sum: "cohort_read_ms", at: "anchor_at", elapsed: "read_ms" },
  { sum: "event_send_ms", at: "sent_at", elapsed: "send_ms" },
  { sum: "event_deliver_ms", at: "delivered_at", elapsed: "deliver_ms" },
  { sum: "event_read_ms", at: "read_at", elapsed: "read_ms" },
] as const;

/** Columns of `rollups` that add up: the counters and the sums of milliseconds. */
export const additiveColumns: readonly string[] = [...counters, ...latencySlots.map((slot) => slot.sum)];

export const dimensions = [
  "channel_id",
  "direction",
  "content_kind",
  "template",
  "campaign_id",
  "error_class",
  "error_code",
] as const;
export type Dimension = (typeof dimensions)[number];

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
  ...dimensions,
] as const;

const bit = (counter: Counter): number => 1 << counters.indexOf(counter);
const isPending = "is_outbound and sent_at is not null and not has_arrived and failed_at is null";
const bucketOf = (time: string): string =>
  `date_bin('${BUCKET_SECONDS} seconds', ${time}, 'epoch'::timestamptz)`;

/**
 * A row for each value; several of these in one select list go in step. PostgreSQL compiles the expressions of a
 * lateral VALUES anew for every row it joins, which took a quarter of a fold; these it compiles once.
 */
const unnested = (values: readonly string[]): string => `unnest(array[${values.join(",\n               ")}])`;

/** Counters that an outbound message adds to the bucket of its anchor. */
function cohortMask(): string {
  const when = (condition: string, counter: Counter) =>
    `case when ${condition} then ${bit(counter)} else 0 end`;
  return [
    `${bit("attempted")}`,
    when("sent_at is not null or has_arrived", "cohort_sent"),
    when("has_arrived", "cohort_delivered"),
    when("read_at is not null or played_at is not null", "cohort_read"),
    when("played_at is not null", "cohort_played"),
    when("is_failed", "cohort_failed"),
    when(isPending, "cohort_pending"),
    when("failed_at is not null and has_arrived", "contradictions"),
    when("send_ms < 0 or deliver_ms < 0 or read_ms < 0", "clock_anomalies"),
  ].join(" | ");
}

/** When each counter of the event basis counts: the stage's own time, else that of the stage which implies it. */
const placements: readonly { at: string; counter: Counter }[] = [
  {
    at: "case when is_outbound then coalesce(sent_at, least(delivered_at, read_at, played_at)) end",
    counter: "event_sent",
  },
  {
    at: "case when is_outbound then coalesce(delivered_at, least(read_at, played_at)) end",
    counter: "event_delivered",
  },
  { at: "case when is_outbound then coalesce(read_at, played_at) end", counter: "event_read" },
  { at: "case when is_outbound then played_at end", counter: "event_played" },
  { at: "case when is_failed then failed_at end", counter: "event_failed" },
  { at: `case when ${isPending} then sent_at end`, counter: "event_pending" },
  { at: "case when is_inbound and received_at is not null then anchor_at end", counter: "cohort_received" },
  { at: "case when is_inbound then received_at end", counter: "event_received" },
];

/**
 * Common table expressions over a relation `states(sign, …)` with the contributing columns, a row per message state:
 * - `dimensioned`: the states judged, with `dimensions_id` (a digest of the seven values: no dictionary is read);
 * - `deltas(dimensions_id, bucket, <additive columns>, bins, counts)`: what the states add up to, signs applied. A
 *   row may be all zero; `bins` and `counts` are null where no latency changed.
 */
export function contributionsSql(states: string): string {
  return `
dimensioned as materialized (
  select *, md5(row(${dimensions.join(", ")})::text)::uuid as dimensions_id
  from (
    select sign, channel_id, direction, content_kind, template, campaign_id,
           case when is_failed then error_class end as error_class,
           case when is_failed then error_code end as error_code,
           queued_at, sent_at, delivered_at, read_at, played_at, failed_at, received_at, anchor_at,
           is_outbound, is_inbound, is_failed, has_arrived,
           case when is_outbound then ${elapsedMs("queued_at", "sent_at")} end as send_ms,
           case when is_outbound then ${elapsedMs("sent_at", "delivered_at")} end as deliver_ms,
           case when is_outbound then ${elapsedMs("delivered_at", "read_at")} end as read_ms
    from (
      select *, is_outbound and failed_at is not null and not has_arrived as is_failed
      from (
        select s.*, ${anchorAt("s")} as anchor_at, ${hasArrived("s")} as has_arrived,
               coalesce(s.direction = 'outbound', false) as is_outbound,
               coalesce(s.direction = 'inbound', false) as is_inbound
        from ${states} s
      ) anchored
      where anchor_at is not null and (is_outbound or is_inbound)
    ) judged
  ) measured
),
counted as (
  select dimensions_id, bucket,
         ${counters.map((name) => `coalesce(sum(sign) filter (where mask & ${bit(name)} <> 0), 0)::integer as ${name}`).join(",\n         ")}
  from (
    select sign, dimensions_id, ${bucketOf("at")} as bucket, mask
    from (
      select sign, dimensions_id,
             ${unnested(["case when is_outbound then anchor_at end", ...placements.map(({ at }) => at)])} as at,
             ${unnested([cohortMask(), ...placements.map(({ counter }) => `${bit(counter)}`)])} as mask
      from dimensioned
    ) placed
    where at is not null
  ) masked
  group by dimensions_id, bucket
),
timed as (
  select dimensions_id, bucket, bin, sum(sign)::integer as n,
         ${latencySlots.map(({ sum }, slot) => `coalesce(sum(sign * ms) filter (where slot = ${slot}), 0)::bigint as ${sum}`).join(",\n         ")}
  from (
    select sign, dimensions_id, ${bucketOf("at")} as bucket, slot, greatest(elapsed, 0) as ms,
           (slot * ${BINS_PER_SLOT} + case when elapsed <= 0 then 0
             else 1 + floor(ln(elapsed::float8) / ln(${BIN_GROWTH}::float8)) end)::smallint as bin
    from (
      select sign, dimensions_id,
             ${unnested(latencySlots.map((_, slot) => `${slot}`))} as slot,
             ${unnested(latencySlots.map(({ at }) => at))} as at,
             ${unnested(latencySlots.map(({ elapsed }) => elapsed))} as elapsed
      from dimensioned
    ) latencies
    where elapsed is not null
  ) binned
  group by dimensions_id, bucket, bin
),
timed_deltas as (
  select dimensions_id, bucket,
         ${latencySlots.map(({ sum }) => `sum(${sum})::bigint as ${sum}`).join(", ")},
         array_agg(bin order by bin) filter (where n <> 0) as bins,
         array_agg(n order by bin) filter (where n <> 0) as counts
  from timed
  group by dimensions_id, bucket
),
deltas as materialized (
  select c.*, ${latencySlots.map(({ sum }) => `coalesce(t.${sum}, 0) as ${sum}`).join(", ")}, t.bins, t.counts
  from counted c left join timed_deltas t using (dimensions_id, bucket)
)`;
}
