/** Every metric there is: what it means for people, and which columns of the rollups it is made of. */

export const bases = ["cohort", "event"] as const;
export type Basis = (typeof bases)[number];

export const metricDimensions = [
  "channel_id",
  "direction",
  "content_kind",
  "template",
  "campaign_id",
  "error_class",
  "error_code",
] as const;
export type MetricDimension = (typeof metricDimensions)[number];

/** What is counted. The first three sit at the message's anchor in both bases. */
const anchored = ["attempted", "contradictions", "clock_anomalies"] as const;
const staged = ["sent", "delivered", "read", "played", "failed", "received", "pending"] as const;
export type Count = (typeof anchored)[number] | (typeof staged)[number];

/** A latency: the way of a message from one stage to the next. */
export const latencies = ["send", "deliver", "read"] as const;
export type Latency = (typeof latencies)[number];
export const percents = [50, 75, 90, 95, 99] as const;
export type Statistic = { percent: number } | "mean" | "max";

export type Measure =
  | { kind: "counter"; count: Count }
  | { kind: "ratio"; part: Count; whole: readonly Count[] }
  | { kind: "latency"; latency: Latency; statistic: Statistic };

export interface Metric {
  id: string;
  family: "delivery" | "data_quality";
  unit: "messages" | "ratio" | "seconds";
  title: string;
  definition: string;
  formula: string;
  measure: Measure;
  dimensions: readonly MetricDimension[];
}

function counter(count: Count, title: string, definition: string, formula: string): Metric {
  const isQuality = count === "contradictions" || count === "clock_anomalies";
  return {
    id: count === "clock_anomalies" ? count : isQuality ? `message_${count}` : `messages_${count}`,
    family: isQuality ? "data_quality" : "delivery",
    unit: "messages",
    title,
    definition,
    formula,
    measure: { kind: "counter", count },
    dimensions: metricDimensions,
  };
}

function ratio(name: string, part: Count, whole: readonly Count[], definition: string): Metric {
  const divisor = whole.map((count) => `messages_${count}`).join(" + ");
  return {
    id: `${name}_rate`,
    family: "delivery",
    unit: "ratio",
    title: `${name[0]!.toUpperCase()}${name.slice(1)} rate`,
    definition,
    formula: `messages_${part} / ${whole.length > 1 ? `(${divisor})` : divisor}`,
    measure: { kind: "ratio", part, whole },
    dimensions: metricDimensions,
  };
}

const journeys: Record<Latency, { from: string; to: string }> = {
  send: { from: "queued", to: "sent" },
  deliver: { from: "sent", to: "delivered" },
  read: { from: "delivered", to: "read" },
};

const percentWords: Record<number, string> = { 50: "Half", 75: "Three quarters" };

function latencyMetrics(latency: Latency): Metric[] {
  const { from, to } = journeys[latency];
  const make = (name: string, statistic: Statistic, title: string, definition: string): Metric => ({
    id: `time_to_${latency}_${name}`,
    family: "delivery",
    unit: "seconds",
    title: `Time to ${latency}, ${title}`,
    definition,
    formula: `${name}(${to}_at − ${from}_at)`,
    measure: { kind: "latency", latency, statistic },
    dimensions: metricDimensions,
  });
  const way = `from ${from} to ${to}`;
  return [
    ...percents.map((percent) => {
      const share = percentWords[percent] ?? `${percent} %`;
      const title = percent === 50 ? "median" : `${percent}th percentile`;
      return make(
        `p${percent}`,
        { percent },
        title,
        `${share} of the measured messages took at most this long ${way}.`,
      );
    }),
    make("mean", "mean", "mean", `The mean time ${way} of the measured messages, exact to the millisecond.`),
    make("max", "max", "maximum", `The longest measured time ${way}.`),
  ];
}

export const metrics: readonly Metric[] = [
  counter("attempted", "Attempted", "Outbound messages of which any stage is known.", "outbound, any stage"),
  counter(
    "sent",
    "Sent",
    "Outbound messages that were sent, or reached a later stage.",
    "sent, delivered, read or played",
  ),
  counter(
    "delivered",
    "Delivered",
    "Outbound messages that were delivered, or reached a later stage.",
    "delivered, read or played",
  ),
  counter(
    "read",
    "Read",
    "Outbound messages that were read or played. Recipients who turned read receipts off do not show.",
    "read or played",
  ),
  counter("played", "Played", "Outbound messages that were played, as voice messages are.", "played"),
  counter(
    "failed",
    "Failed",
    "Outbound messages that failed and of which nothing says that they arrived.",
    "failed and neither delivered, read nor played",
  ),
  counter("received", "Received", "Inbound messages.", "inbound, received"),
  counter(
    "pending",
    "Pending",
    "Outbound messages that were sent and of which nothing more is known.",
    "sent and neither delivered, read, played nor failed",
  ),
  ratio("delivery", "delivered", ["sent"], "The share of sent messages that arrived."),
  ratio(
    "success",
    "delivered",
    ["delivered", "failed"],
    "The share of messages with an outcome that arrived; what is pending counts on neither side.",
  ),
  ratio("failure", "failed", ["attempted"], "The share of attempted messages that failed."),
  ratio(
    "read",
    "read",
    ["delivered"],
    "The share of delivered messages that were read; a lower bound, since read receipts can be turned off.",
  ),
  ...latencies.flatMap(latencyMetrics),
  counter(
    "contradictions",
    "Contradictions",
    "Outbound messages reported both as failed and as arrived; they count as arrived.",
    "failed and (delivered, read or played)",
  ),
  counter(
    "clock_anomalies",
    "Clock anomalies",
    "Outbound messages with a measured time that runs backwards; it counts as 0 seconds.",
    "sent_at < queued_at, delivered_at < sent_at or read_at < delivered_at",
  ),
];

const byId = new Map(metrics.map((metric) => [metric.id, metric]));

export const findMetric = (id: string): Metric | undefined => byId.get(id);

/** What an answer holds when nobody says otherwise: the counts and rates of the delivery family. */
export const defaultMetricIds: readonly string[] = metrics
  .filter((metric) => metric.family === "delivery" && metric.unit !== "seconds")
  .map((metric) => metric.id);

/** Known ids that look like this one, the likest first, at most three. */
export function similarMetricIds(id: string): string[] {
  const pairs = (text: string) => new Set(Array.from(text, (_, index) => text.slice(index, index + 2)));
  const asked = pairs(id.toLowerCase());
  return metrics
    .map((metric) => {
      const own = pairs(metric.id);
      const shared = [...own].filter((pair) => asked.has(pair)).length;
      return { id: metric.id, likeness: (2 * shared) / (own.size + asked.size) };
    })
    .filter(({ likeness }) => likeness > 0.5)
    .sort((a, b) => b.likeness - a.likeness)
    .slice(0, 3)
    .map((near) => near.id);
}

/** The column of `rollups` that holds a count in a basis. */
export function countColumn(count: Count, basis: Basis): string {
  return anchored.some((name) => name === count) ? count : `${basis}_${count}`;
}

/** The column of `rollups` with the sum of a latency's milliseconds. */
export const latencyColumn = (latency: Latency, basis: Basis): string => `${basis}_${latency}_ms`;

/** Additive columns of `rollups` that a metric is computed from. */
export function columnsOf({ measure }: Metric, basis: Basis): string[] {
  switch (measure.kind) {
    case "counter":
      return [countColumn(measure.count, basis)];
    case "ratio":
      return [measure.part, ...measure.whole].map((count) => countColumn(count, basis));
    case "latency":
      return measure.statistic === "mean" ? [latencyColumn(measure.latency, basis)] : [];
  }
}

/** Columns of which at least one is above 0 wherever a message contributes anything in this basis. */
export const presenceColumns = (basis: Basis): string[] =>
  (basis === "cohort"
    ? (["attempted", "received"] as const)
    : (["attempted", "sent", "delivered", "read", "played", "failed", "received"] as const)
  ).map((count) => countColumn(count, basis));

/** The catalogue as a Markdown table, for docs/metrics.md. */
export function renderMetricsTable(): string {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    row(["metric", "unit", "meaning", "formula"]),
    row(["---", "---", "---", "---"]),
    ...metrics.map((metric) =>
      row([`\`${metric.id}\``, metric.unit, metric.definition, `\`${metric.formula}\``]),
    ),
  ].join("\n");
}
