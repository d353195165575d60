import fc from "fast-check";
import { expect } from "vitest";
import { findMetric, messageDimensions, metrics } from "../../src/analytics/catalog.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import type { MetricsRow } from "../../src/db/queries/read-metrics.js";
import { historyWindows } from "./event-histories.js";
import type { OracleQuery, OracleRow } from "./oracle.js";
import type { OracleRules } from "./oracle-conversations.js";

/** A query over all the time of the histories, with what the caller wants otherwise. */
export const query = (accountId: string, more: Partial<MetricsQuery>): MetricsQuery => ({
  accountId,
  metrics: ["messages_attempted"],
  from: new Date("2025-03-28T00:00:00Z"),
  to: new Date("2025-10-28T00:00:00Z"),
  interval: "day",
  groupBy: [],
  timeZone: "UTC",
  basis: "cohort",
  groups: "exclude",
  responders: "human",
  clock: "first",
  hours: "elapsed",
  kept: { days: undefined, quartersFrom: undefined },
  filters: {},
  ...more,
});

/** What is kept of an account whose days are those of this zone. */
export const keptDays = (timeZone: string): MetricsQuery["kept"] => ({
  days: { zoneId: 1, timeZone },
  quartersFrom: undefined,
});

const oracleIds = metrics.filter((metric) => metric.family === "delivery").map((metric) => metric.id);

/** The same question to the oracle, which calls every account `a`. Without rules nobody has read the chats. */
export const oracleQuery = (asked: MetricsQuery, rules?: OracleRules): OracleQuery => ({
  account_id: "a",
  metrics: [...asked.metrics],
  from: asked.from.toISOString(),
  to: asked.to.toISOString(),
  interval: asked.interval,
  group_by: [...asked.groupBy] as OracleQuery["group_by"],
  time_zone: asked.timeZone,
  basis: asked.basis,
  filters: asked.filters as NonNullable<OracleQuery["filters"]>,
  groups: asked.groups,
  responders: asked.responders,
  clock: asked.clock,
  hours: asked.hours,
  ...(rules && { rules }),
});

/** The clock goes on between the answer and the oracle. */
const AGE_SECONDS = 30;

const isApproximate = (id: string) => findMetric(id)?.unit === "seconds" && !id.endsWith("_mean");

/** Cell by cell: counts, rates and means exactly, percentiles and maxima within 1 %. */
export function expectRows(found: MetricsRow[], expected: OracleRow[]): void {
  const exactly = (row: OracleRow | MetricsRow) =>
    Object.fromEntries(
      Object.entries(row).map(([name, value]) => [
        name,
        isApproximate(name) && value !== null ? "about" : value,
      ]),
    );
  expect(found.map(exactly)).toEqual(expected.map(exactly));
  for (const [index, row] of expected.entries())
    for (const [name, value] of Object.entries(row))
      if (isApproximate(name) && typeof value === "number") {
        const seconds = found[index]![name] as number;
        expect(Math.abs(seconds - value), `${name}: ${seconds}, not ${value}`).toBeLessThanOrEqual(
          name === "queue_oldest_age" ? AGE_SECONDS : value * 0.01 + 1e-9,
        );
      }
}

const QUARTER_MS = 900_000;
export const ranges = fc
  .tuple(fc.constantFrom(...historyWindows), fc.nat(96 * 12), fc.integer({ min: 1, max: 96 * 12 }))
  .map(([window, offset, length]) => {
    const from = Date.parse(window.from) - 2 * 96 * QUARTER_MS + offset * QUARTER_MS;
    return { from: new Date(from), to: new Date(from + length * QUARTER_MS) };
  });
export const filters = fc.record(
  {
    channel_id: fc.constantFrom(["c1"], ["c,3", null]),
    direction: fc.constantFrom(["outbound"], ["inbound", "outbound"]),
    template: fc.constantFrom([null], ["offer", 'spring "sale"', "it's\\n,{}"]),
    error_code: fc.constantFrom([null], ["131026", "131047"]),
  },
  { requiredKeys: [] },
);
/** Parts of a query, at random. */
export const queries = fc
  .record({
    range: fc.oneof(fc.constant({}), ranges),
    interval: fc.constantFrom<MetricsQuery["interval"]>("15m", "hour", "day", "week", "month", "all"),
    groupBy: fc.oneof(
      fc.constant([]),
      fc.shuffledSubarray([...messageDimensions], { minLength: 1, maxLength: 3 }),
    ),
    timeZone: fc.constantFrom(
      "UTC",
      "Europe/Berlin",
      "Australia/Lord_Howe",
      "Asia/Kathmandu",
      "America/Havana",
    ),
    basis: fc.constantFrom("cohort" as const, "event" as const),
    filters: fc.oneof(fc.constant({}), filters),
    metrics: fc.oneof(fc.constant(oracleIds), fc.shuffledSubarray(oracleIds, { minLength: 1 })),
  })
  .map(({ range, interval, ...rest }) => ({
    ...rest,
    ...range,
    // The whole time is too long for the finest intervals.
    interval: !("from" in range) && interval === "15m" ? ("hour" as const) : interval,
  }));
