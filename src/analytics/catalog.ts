/** Every metric there is: what it means for people, and which columns of the rollups it is made of. */
import { conversationMetrics } from "./catalog/conversations.js";
import { dataQualityMetrics } from "./catalog/data-quality.js";
import { deliveryMetrics } from "./catalog/delivery.js";
import { engagementMetrics } from "./catalog/engagement.js";
import { groupMetrics } from "./catalog/groups.js";
import type { Metric } from "./catalog/metric.js";
import { queueMetrics } from "./catalog/queue.js";

export {
  type Basis,
  bases,
  type Metric,
  type MetricDimension,
  messageDimensions,
  metricDimensions,
  type RollupName,
  type Unit,
  units,
} from "./catalog/metric.js";

export const metrics: readonly Metric[] = [
  ...deliveryMetrics,
  ...engagementMetrics,
  ...conversationMetrics,
  ...queueMetrics,
  ...groupMetrics,
  ...dataQualityMetrics,
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
