import { quarterDeltasSql, setId } from "./deltas.js";
import { counterBit, type RollupFamily } from "./family.js";

const bases = ["cohort", "event"] as const;
/** Who may answer a customer, and the bit of the turns' `lens` that says so. */
const lenses = [
  { name: "any", bit: 1 },
  { name: "human", bit: 2 },
] as const;
const outcomes = ["answered", "unanswered", "abandoned"] as const;
const hours = ["elapsed", "business"] as const;
const turnCounts = [
  "turns",
  "turns_answered",
  "turns_in_window",
  "turns_in_sla_elapsed",
  "turns_in_sla_business",
];

/** A duration of turns: its name without basis and lens, and its value in ms. */
const turnDurations = [
  { name: "reply_first_elapsed_ms", value: "first_ms" },
  { name: "reply_first_business_ms", value: "first_business_ms" },
  { name: "reply_last_elapsed_ms", value: "last_ms" },
  { name: "reply_last_business_ms", value: "last_business_ms" },
  { name: "first_response_elapsed_ms", value: "case when is_first then first_ms end" },
  { name: "first_response_business_ms", value: "case when is_first then first_business_ms end" },
] as const;

const turnSlots = bases.flatMap((basis) =>
  lenses.flatMap((lens) =>
    turnDurations.map(({ name, value }) => ({
      column: `${basis}_${lens.name}_${name}`,
      at: basis === "cohort" ? "conversation_started_at" : "answered_at",
      value: `case when lens & ${lens.bit} <> 0 then ${value} end`,
    })),
  ),
);
const waitingSlots = lenses.flatMap((lens) => hours.map((kind) => `${lens.name}_waiting_${kind}_ms`));

export const conversationRollups: RollupFamily = {
  quarters: "conversation_rollups",
  days: "daily_conversation_rollups",
  deltas: "conversation_rollup_deltas",
  sets: "conversation_sets",
  dimensions: ["channel_id", "started_by", "agent_id"],
  counters: [
    "conversations",
    ...lenses.flatMap((lens) => outcomes.map((outcome) => `conversations_${lens.name}_${outcome}`)),
    "conversations_no_reply",
    ...bases.flatMap((basis) =>
      lenses.flatMap((lens) => turnCounts.map((count) => `${basis}_${lens.name}_${count}`)),
    ),
  ],
  durations: [...turnSlots.map(({ column }) => column), ...waitingSlots, "conversation_ms"],
  sums: ["conversation_inbound", "conversation_outbound"],
  binType: "integer",
};

/** Columns that a contribution depends on. */
export const conversationColumns = [
  ...["started_at", "ended_at", "started_by", "channel_id", "inbound", "outbound"],
  ...["any_outcome", "human_outcome", ...waitingSlots],
] as const;
export const turnColumns = [
  ...["started_at", "lens", "last_at", "answered_at", "conversation_started_at", "first_business_ms"],
  ...["last_business_ms", "is_first", "is_in_window", "is_in_sla_elapsed", "is_in_sla_business"],
  ...["started_by", "channel_id", "agent_id"],
] as const;

const bit = (counter: string) => counterBit(conversationRollups, counter);
const when = (condition: string, counter: string) => `case when ${condition} then ${bit(counter)} else 0 end`;

const conversationMask = [
  bit("conversations"),
  ...lenses.flatMap(({ name }) =>
    outcomes.map((outcome) => when(`${name}_outcome = '${outcome}'`, `conversations_${name}_${outcome}`)),
  ),
  when("any_outcome = 'no_reply'", "conversations_no_reply"),
].join(" | ");

const asked = (prefix: string, lens: (typeof lenses)[number]) =>
  when(`lens & ${lens.bit} <> 0`, `${prefix}_${lens.name}_turns`);
const answered = (prefix: string, lens: (typeof lenses)[number]) =>
  `case when lens & ${lens.bit} <> 0 and answered_at is not null then ${[
    bit(`${prefix}_${lens.name}_turns_answered`),
    when("is_in_window", `${prefix}_${lens.name}_turns_in_window`),
    when("is_in_sla_elapsed", `${prefix}_${lens.name}_turns_in_sla_elapsed`),
    when("is_in_sla_business", `${prefix}_${lens.name}_turns_in_sla_business`),
  ].join(" | ")} else 0 end`;

const masks = (make: typeof asked, basis: (typeof bases)[number]) =>
  lenses.map((lens) => make(basis, lens)).join(" | ");

/** Where turns are counted: in the cohort with their conversation, as events when they begin and when they are answered. */
const turnPlacements = [
  { at: "conversation_started_at", mask: `${masks(asked, "cohort")} | ${masks(answered, "cohort")}` },
  { at: "started_at", mask: masks(asked, "event") },
  { at: "answered_at", mask: masks(answered, "event") },
];

const unnested = (values: readonly string[]): string => `unnest(array[${values.join(",\n               ")}])`;
const numbered = (from: number, count: number) =>
  unnested(Array.from({ length: count }, (_, index) => `${from + index}`));
const msBetween = (from: string, to: string) => `round(date_part('epoch', ${to} - ${from}) * 1000)::bigint`;

const conversationValues = [
  ...waitingSlots,
  msBetween("started_at", "ended_at"),
  "inbound::bigint",
  "outbound::bigint",
];

/**
 * The one definition of what conversations and their turns add to the rollups, without a clock. Common table expressions
 * over two relations with a `sign` and the columns above: conversation states and turn states.
 */
export function conversationDeltasSql(conversations: string, turns: string): string {
  const names = conversationRollups.dimensions.join(", ");
  return `
held as materialized (
  select *, ${setId(conversationRollups)} as dimensions_id
  from (select sign, ${conversationColumns.join(", ")}, null::text as agent_id from ${conversations}) c
),
taken_turns as materialized (
  select *, ${setId(conversationRollups)} as dimensions_id,
         ${msBetween("started_at", "answered_at")} as first_ms, ${msBetween("last_at", "answered_at")} as last_ms
  from (select sign, ${turnColumns.join(", ")} from ${turns}) t
),
sets as materialized (
  select dimensions_id, ${names} from held
  union
  select dimensions_id, ${names} from taken_turns
),
placed as (
  select sign, dimensions_id, started_at as at, ${conversationMask} as mask from held
  union all
  select sign, dimensions_id,
         ${unnested(turnPlacements.map(({ at }) => at))},
         ${unnested(turnPlacements.map(({ mask }) => `(${mask})`))}
  from taken_turns
),
measured as (
  select sign, dimensions_id,
         ${numbered(turnSlots.length, conversationValues.length)} as slot,
         started_at as at,
         ${unnested(conversationValues)} as value
  from held
  union all
  select sign, dimensions_id,
         ${numbered(0, turnSlots.length)},
         ${unnested(turnSlots.map(({ at }) => at))},
         ${unnested(turnSlots.map(({ value }) => value))}
  from taken_turns
  where answered_at is not null
),${quarterDeltasSql(conversationRollups)}`;
}
