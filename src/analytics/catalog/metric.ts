/** What a metric is, for people and for the query, and the forms that most of them have. */

export const bases = ["cohort", "event"] as const;
export type Basis = (typeof bases)[number];

/** What messages are told apart by. */
export const messageDimensions = [
  "channel_id",
  "direction",
  "content_kind",
  "template",
  "campaign_id",
  "error_class",
  "error_code",
] as const;
/** All there are; a metric says which of them are its own. */
export const metricDimensions = [...messageDimensions, "started_by", "agent_id"] as const;
export type MetricDimension = (typeof metricDimensions)[number];

/** The rollups that a metric is added up from. */
export type RollupName = "messages" | "conversations" | "contacts";

/** What a query chooses where the industry disagrees; the words are those of the columns. */
export interface Choices {
  basis: Basis;
  /** Whose outbound messages answer a customer: people's, or those of bots and automations too. */
  responders: (typeof responderChoices)[number];
  /** From which message of an unanswered run the clock runs. */
  clock: (typeof clockChoices)[number];
  /** All the time, or what of it lies in the account's business hours. */
  hours: (typeof hourChoices)[number];
}
export const responderChoices = ["human", "any"] as const;
export const clockChoices = ["first", "last"] as const;
export const hourChoices = ["elapsed", "business"] as const;

/** A column of the rollups, with the choices it depends on: `{basis}_delivered`. */
export type Count = string;

export const columnOf = (count: Count, choices: Choices): string =>
  count.replace(/\{(\w+)\}/g, (_, name: keyof Choices) => choices[name]);

/** Counts added up, less others. */
export interface Terms {
  plus: readonly Count[];
  minus?: readonly Count[];
}

export const percents = [50, 75, 90, 95, 99] as const;
export type Statistic = { percent: number } | "mean" | "max";

export type Measure =
  | { kind: "counter"; count: Count }
  /** `withoutGroups`: group messages, which reach several people, stay out of both sides unless they are asked for. */
  | { kind: "ratio"; part: Terms; whole: Terms; withoutGroups?: boolean }
  /** `duration`: the column with the sum of its milliseconds, which names its bins too. */
  | { kind: "duration"; duration: Count; statistic: Statistic }
  /** Different contacts, who do not add up: those of a week are fewer than the sum of its days. */
  | { kind: "distinct"; contacts: "active" | "new" | "returning" }
  /** What has come and not gone by the end of the bucket, since the beginning. */
  | { kind: "level"; came: Count; went: Count }
  /** Per minute of the bucket. */
  | { kind: "pace"; count: Count }
  /** Seconds until the level is 0 at the pace of the bucket. */
  | { kind: "drain"; came: Count; went: Count }
  /** Seconds since the oldest that has not gone; only in totals. */
  | { kind: "age" };

export const units = [
  "messages",
  "ratio",
  "seconds",
  "contacts",
  "reactions",
  "per_minute",
  "recipients",
  "conversations",
  "turns",
  "per_conversation",
] as const;
export type Unit = (typeof units)[number];

export interface Metric {
  id: string;
  family: "delivery" | "engagement" | "conversations" | "queue" | "groups" | "data_quality";
  rollup: RollupName;
  unit: Unit;
  title: string;
  definition: string;
  formula: string;
  measure: Measure;
  dimensions: readonly MetricDimension[];
  /** Only measured where a source says when messages were queued. */
  needsQueue?: boolean;
  /** Is complete only once chats have been read, although messages are what it counts. */
  needsChats?: boolean;
}

type Described = Pick<Metric, "id" | "title" | "definition" | "formula"> & Partial<Metric>;
const defaults = { rollup: "messages", dimensions: messageDimensions } as const;

export const counter = (
  family: Metric["family"],
  count: Count,
  { unit = "messages", ...described }: Described,
): Metric => ({ ...defaults, family, unit, measure: { kind: "counter", count }, ...described });

export const ratio = (
  family: Metric["family"],
  measure: Omit<Measure & { kind: "ratio" }, "kind">,
  { unit = "ratio", ...described }: Described,
): Metric => ({ ...defaults, family, unit, measure: { kind: "ratio", ...measure }, ...described });

const shares: Record<number, string> = { 50: "Half", 75: "Three quarters" };

/** A metric for each statistic of one duration: p50 … p99, mean and max. */
export function durationMetrics(
  family: Metric["family"],
  duration: string,
  {
    id,
    title,
    way,
    formula,
    ...more
  }: { id: string; title: string; way: string; formula: string } & Partial<Metric>,
): Metric[] {
  const make = (name: string, statistic: Statistic, label: string, definition: string): Metric => ({
    ...defaults,
    id: `${id}_${name}`,
    family,
    unit: "seconds",
    title: `${title}, ${label}`,
    definition,
    formula: `${name}(${formula})`,
    measure: { kind: "duration", duration, statistic },
    ...more,
  });
  return [
    ...percents.map((percent) =>
      make(
        `p${percent}`,
        { percent },
        percent === 50 ? "median" : `${percent}th percentile`,
        `${shares[percent] ?? `${percent} %`} of those measured took at most this long ${way}.`,
      ),
    ),
    make("mean", "mean", "mean", `The mean time ${way}, exact to the millisecond.`),
    make("max", "max", "maximum", `The longest time measured ${way}.`),
  ];
}
