import { describe, expect, it } from "vitest";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { toRetentionQuery } from "../../src/analytics/retention-query.js";
import { keptDays, query } from "../support/metrics-cells.js";

const zone = "Europe/Berlin";
const plan = (from: string, to: string, more: Partial<MetricsQuery> = {}) =>
  planMetrics(
    query("a", {
      metrics: ["new_contacts", "messages_received"],
      timeZone: zone,
      kept: keptDays(zone),
      from: new Date(from),
      to: new Date(to),
      ...more,
    }),
  );

const refused = (...asked: Parameters<typeof plan>) => {
  try {
    plan(...asked);
  } catch (error) {
    return error;
  }
  throw new Error("it was not refused");
};

describe("the plan for contacts", () => {
  it("names local periods, and takes whole months as such", () => {
    const { contacts, rollups } = plan("2025-03-29T23:00:00Z", "2025-06-02T22:00:00Z", { interval: "all" });
    expect(contacts).toEqual({
      zoneId: 1,
      period: undefined,
      starts: ["2025-03-30"],
      from: "2025-03-30",
      to: "2025-06-03",
      months: { from: "2025-04-01", to: "2025-06-01" },
    });
    expect(rollups.map(({ rollup }) => rollup)).toEqual(["messages"]);
    expect(plan("2025-03-29T23:00:00Z", "2025-04-02T22:00:00Z").contacts).toMatchObject({
      period: "day",
      starts: ["2025-03-30", "2025-03-31", "2025-04-01", "2025-04-02"],
      months: undefined,
    });
    const weeks = plan("2025-03-23T23:00:00Z", "2025-04-06T22:00:00Z", { interval: "week" });
    expect(weeks.contacts).toMatchObject({ starts: ["2025-03-24", "2025-03-31"], to: "2025-04-07" });
    expect(
      plan("2025-03-01T01:00:00Z", "2025-03-02T00:15:00Z", { metrics: ["messages_sent"] }).contacts,
    ).toBe(undefined);
  });

  it("does not cut periods", () => {
    expect(refused("2025-03-24T23:00:00Z", "2025-04-05T22:15:00Z", { interval: "week" })).toMatchObject({
      issues: [
        {
          path: "from",
          code: "not_on_period",
          message: expect.stringContaining("2025-03-23T23:00:00.000Z or 2025-03-30T22:00:00.000Z"),
        },
        {
          path: "to",
          code: "not_on_period",
          message: expect.stringContaining("a week begins in Europe/Berlin"),
        },
      ],
    });
    expect(refused("2025-03-29T23:00:00Z", "2025-03-30T23:00:00Z", { interval: "all" })).toMatchObject({
      issues: [{ path: "to", code: "not_on_period", message: expect.stringContaining("whole days") }],
    });
    expect(refused("2025-01-31T23:00:00Z", "2025-02-27T23:00:00Z", { interval: "month" })).toMatchObject({
      issues: [
        { path: "to", message: expect.stringContaining("2025-01-31T23:00:00.000Z or 2025-02-28T23:00") },
      ],
    });
  });

  it("names the intervals and the zone that work, and asks to wait for a zone that is being built", () => {
    const whole = ["2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z"] as const;
    expect(refused(...whole, { interval: "hour", timeZone: "UTC" })).toMatchObject({
      status: 400,
      issues: [
        {
          path: "interval",
          code: "interval_not_available",
          message: expect.stringContaining("day, week, month or all"),
        },
        { path: "time_zone", code: "interval_not_available", message: expect.stringContaining(zone) },
      ],
    });
    const unbuilt = { days: undefined, quartersFrom: undefined };
    expect(refused(...whole, { kept: unbuilt })).toMatchObject({ status: 503, code: "contacts_not_built" });
  });
});

describe("a retention query", () => {
  const ask = (from: string, to: string, now: string, period: "day" | "week" | "month" = "week") =>
    toRetentionQuery(
      { from: new Date(from), to: new Date(to), period, periods: 2 },
      { accountId: "a", timeZone: zone, kept: keptDays(zone), isAlwaysOpen: true },
      new Date(now),
    );
  const dates = (...asked: Parameters<typeof ask>) => ask(...asked).cohorts.map(({ date }) => date);

  it("has the cohorts that begin in its range and have begun by now", () => {
    const late = "2026-01-01T00:00:00Z";
    expect(dates("2025-03-23T23:00:00Z", "2025-04-06T22:00:00Z", late)).toEqual(["2025-03-24", "2025-03-31"]);
    expect(dates("2025-03-23T23:15:00Z", "2025-04-06T22:15:00Z", late)).toEqual(["2025-03-31", "2025-04-07"]);
    expect(dates("2025-03-24T00:00:00Z", "2025-03-25T00:00:00Z", late)).toEqual([]);
    const march = ["2025-01-31T23:00:00Z", "2025-12-31T23:00:00Z"] as const;
    expect(dates(...march, "2025-03-31T21:59:59.999Z", "month")).toEqual(["2025-02-01", "2025-03-01"]);
    expect(dates(...march, "2025-03-31T22:00:00Z", "month").at(-1)).toBe("2025-04-01");
    expect(dates(...march, "2025-01-31T22:59:00Z", "month")).toEqual([]);
    expect(ask(...march, "2025-03-31T22:07:00Z", "month").current).toBe("2025-04-01");
  });

  it("is bounded", () => {
    expect(() => ask("2020-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "day")).toThrow(
      /more than 1,000/,
    );
    expect(() => ask("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")).toThrow(
      /later than from/,
    );
  });
});
