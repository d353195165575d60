import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import {
  bases,
  columnsOf,
  defaultMetricIds,
  findMetric,
  latencies,
  latencyColumn,
  metricDimensions,
  metrics,
  presenceColumns,
  renderMetricsTable,
  similarMetricIds,
} from "../../src/analytics/catalog.js";
import { additiveColumns, dimensions, latencySlots } from "../../src/db/fold/contributions.js";

const counts = ["attempted", "sent", "delivered", "read", "played", "failed", "received", "pending"];
const rates = ["delivery", "success", "failure", "read"];
const statistics = ["p50", "p75", "p90", "p95", "p99", "mean", "max"];

describe("the catalogue", () => {
  it("holds the metrics of the contract", () => {
    expect(metrics.map((metric) => metric.id)).toEqual([
      ...counts.map((name) => `messages_${name}`),
      ...rates.map((name) => `${name}_rate`),
      ...["send", "deliver", "read"].flatMap((way) => statistics.map((name) => `time_to_${way}_${name}`)),
      "message_contradictions",
      "clock_anomalies",
    ]);
    expect(defaultMetricIds).toEqual(metrics.slice(0, 12).map((metric) => metric.id));
  });

  it("is computed from columns that the rollups have", () => {
    expect(metricDimensions).toEqual(dimensions);
    for (const basis of bases) {
      for (const metric of metrics)
        for (const column of columnsOf(metric, basis)) expect(additiveColumns).toContain(column);
      for (const column of presenceColumns(basis)) expect(additiveColumns).toContain(column);
      for (const latency of latencies)
        expect(latencySlots.map((slot) => slot.sum)).toContain(latencyColumn(latency, basis));
    }
    expect(columnsOf(findMetric("failure_rate")!, "event")).toEqual(["event_failed", "attempted"]);
    expect(columnsOf(findMetric("messages_attempted")!, "event")).toEqual(["attempted"]);
    expect(columnsOf(findMetric("time_to_read_p50")!, "event")).toEqual([]);
  });

  it("explains each metric", () => {
    for (const metric of metrics) {
      expect(metric.definition).toMatch(/^[A-Z0-9].*\.$/);
      expect(metric.title).not.toBe("");
      expect(metric.formula).not.toBe("");
    }
    expect(new Set(metrics.map((metric) => metric.title)).size).toBe(metrics.length);
    expect(findMetric("success_rate")!.formula).toBe(
      "messages_delivered / (messages_delivered + messages_failed)",
    );
  });

  it("knows what a mistyped id may mean", () => {
    expect(similarMetricIds("delivry_rate")[0]).toBe("delivery_rate");
    expect(similarMetricIds("message_sent")).toContain("messages_sent");
    expect(similarMetricIds("xyz")).toEqual([]);
    expect(similarMetricIds("")).toEqual([]);
  });

  it("is what docs/metrics.md shows", async () => {
    const text = await readFile(new URL("../../docs/metrics.md", import.meta.url), "utf8");
    const region = /<!-- generated:metrics -->\n\n([\s\S]*?)\n\n<!-- \/generated -->/.exec(text)?.[1];
    expect(region).toBe(renderMetricsTable());
  });
});
