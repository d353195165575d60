import { expect, it } from "vitest";
import { HOURS_A_WEEK, planHeatmap } from "../../src/analytics/heatmap-plan.js";
import { query } from "../support/metrics-cells.js";
import { oracleHeatmap } from "../support/oracle.js";

/** Hours of the week that are not counted as often as the rest, as `weekday hour: hours`. */
function unusual(timeZone: string, from: string, to: string): string[] {
  const plan = planHeatmap(query("a", { timeZone, from: new Date(from), to: new Date(to) }));
  const usual = Math.round(plan.hours.reduce((sum, hours) => sum + hours, 0) / HOURS_A_WEEK);
  return plan.hours.flatMap((hours, cell) =>
    hours === usual ? [] : [`${Math.floor(cell / 24) + 1} ${cell % 24}: ${hours}`],
  );
}

it.each([
  ["UTC", "2026-03-02T00:00:00Z", "2026-03-30T00:00:00Z", []],
  ["Europe/Berlin", "2026-03-01T23:00:00Z", "2026-03-29T22:00:00Z", ["7 2: 3"]],
  ["Europe/Berlin", "2026-10-04T22:00:00Z", "2026-11-01T23:00:00Z", ["7 2: 5"]],
  ["Australia/Lord_Howe", "2026-03-08T13:00:00Z", "2026-04-05T13:30:00Z", ["7 1: 4.5"]],
  ["Asia/Kolkata", "2026-03-01T18:30:00Z", "2026-03-29T18:30:00Z", []],
  ["Asia/Kolkata", "2026-03-01T18:45:00Z", "2026-03-29T18:30:00Z", ["1 0: 3.75"]],
])(
  "in %s, four weeks from %s hold each hour of the week four times, but for %4$s",
  (...[zone, from, to, but]) => {
    expect(unusual(zone, from, to)).toEqual(but);
  },
);

it.each([
  "UTC",
  "America/New_York",
  "Australia/Lord_Howe",
  "Asia/Kathmandu",
  "America/Havana",
  "America/St_Johns",
])("hours of a year in %s are those of a walk over every quarter of an hour", (timeZone) => {
  const asked = query("a", {
    timeZone,
    from: new Date("2025-01-01T10:15:00Z"),
    to: new Date("2026-02-01T00:45:00Z"),
  });
  const { cells } = oracleHeatmap([], {
    account_id: "a",
    metric: "messages_sent",
    from: asked.from.toISOString(),
    to: asked.to.toISOString(),
    time_zone: timeZone,
    basis: "cohort",
  });
  expect(planHeatmap(asked).hours).toEqual(cells.map((cell) => cell.hours));
});
