import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { columnOf } from "../../src/analytics/catalog/metric.js";
import {
  bases,
  defaultMetricIds,
  findMetric,
  messageDimensions,
  metrics,
  renderMetricsTable,
  similarMetricIds,
} from "../../src/analytics/catalog.js";
import { columnsOf, planMetrics } from "../../src/analytics/metrics-plan.js";
import { conversationRollups } from "../../src/db/rollups/conversations.js";
import { additiveColumns } from "../../src/db/rollups/family.js";
import { messageRollups } from "../../src/db/rollups/messages.js";
import { query } from "../support/metrics-cells.js";

const counts = ["attempted", "sent", "delivered", "read", "played", "failed", "received", "pending"];
const rates = ["delivery", "success", "failure", "read"];
const statistics = ["p50", "p75", "p90", "p95", "p99", "mean", "max"];

describe("the catalogue", () => {
  it("holds the metrics of the contract", () => {
    const delivery = metrics.filter(({ family }) => family === "delivery").map(({ id }) => id);
    expect(delivery).toEqual([
      ...counts.map((name) => `messages_${name}`),
      ...rates.map((name) => `${name}_rate`),
      ...["send", "deliver", "read"].flatMap((way) => statistics.map((name) => `time_to_${way}_${name}`)),
    ]);
    expect(defaultMetricIds).toEqual(delivery.slice(0, 12));
    expect(new Set(metrics.map(({ id }) => id)).size).toBe(metrics.length);
  });

  it("is computed from columns that the rollups have", () => {
    expect(messageDimensions).toEqual(messageRollups.dimensions);
    for (const basis of bases)
      for (const groups of ["exclude", "include"] as const)
        for (const metric of metrics.filter(({ rollup }) => rollup !== "contacts")) {
          const family = metric.rollup === "messages" ? messageRollups : conversationRollups;
          const columns = additiveColumns(family);
          for (const name of metric.dimensions) expect(family.dimensions).toContain(name);
          const asked = query("a", { metrics: [metric.id], basis, groups });
          for (const column of columnsOf(metric, asked)) expect(columns).toContain(column);
          const { measure } = metric;
          if (measure.kind === "duration")
            expect(family.durations).toContain(columnOf(measure.duration, asked));
          const plan = planMetrics(asked);
          for (const own of plan.rollups.filter(({ rollup }) => rollup === metric.rollup))
            for (const column of [...own.columns, ...own.presence, ...own.levels])
              expect(columns).toContain(column);
        }
    const inBasis = query("a", { basis: "event", groups: "include" });
    expect(columnsOf(findMetric("failure_rate")!, inBasis)).toEqual(["event_failed", "attempted"]);
    expect(columnsOf(findMetric("messages_attempted")!, inBasis)).toEqual(["attempted"]);
    expect(columnsOf(findMetric("time_to_read_p50")!, inBasis)).toEqual([]);
    expect(columnsOf(findMetric("delivery_rate")!, { ...inBasis, groups: "exclude" })).toEqual([
      "event_delivered",
      "event_group_delivered",
      "event_sent",
      "event_group_sent",
    ]);
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
