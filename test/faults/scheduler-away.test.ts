import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CatchUp } from "../../src/analytics/due-slots.js";
import type { Schedule } from "../../src/db/queries/schedules.js";
import { fireDue } from "../../src/jobs/fire-schedules.js";
import { openTestDb, silentLog, type TestDb } from "../support/postgres.js";
import { endRuns, makeSchedule, slotsOf } from "../support/schedules.js";

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
});
afterAll(() => test.close());

const HOUR_MS = 3_600_000;
/** The clocks of Berlin go forward in the following night. */
const leftAt = new Date("2026-03-28T20:30:00Z");
const after = (ms: number) => new Date(leftAt.getTime() + ms);

/** A schedule of every hour, of which nobody has heard since `leftAt`; what is due after `awayMs` has been worked off. */
async function comeBack(
  awayMs: number,
  catchUp: CatchUp,
  overlap: "skip" | "queue" = "skip",
): Promise<Schedule> {
  const schedule = await makeSchedule(test, leftAt, {
    cron: "0 * * * *",
    time_zone: "Europe/Berlin",
    catch_up: catchUp,
    overlap,
  });
  // Each look after the end of the run before it.
  for (let look = 0; look < 30; look++) {
    await fireDue(test.db, after(awayMs + look * 6_000), silentLog);
    await endRuns(test);
  }
  return schedule;
}

const summary = async (schedule: Schedule) =>
  (await slotsOf(test, schedule)).map((slot) => `${slot.outcome} ${slot.reason ?? "on time"}`);
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe.each([
  ["3 h", 3 * HOUR_MS, 3],
  ["25 h", 25 * HOUR_MS, 25],
])("F22 nobody fired for %s", (_name, awayMs, missed) => {
  // Half an hour after the last slot: none of them is on time any more.
  it.each<[CatchUp, string[]]>([
    ["none", times(missed, "missed too_late")],
    ["last", [...times(missed - 1, "missed newer_slot"), "queued caught_up"]],
    ["all", times(missed, "queued caught_up")],
  ])("catch_up %s is applied exactly, and every missed slot is recorded", async (catchUp, expected) => {
    const schedule = await comeBack(awayMs, catchUp);
    expect(await summary(schedule)).toEqual(expected);
    const slots = await slotsOf(test, schedule);
    for (const [index, slot] of slots.entries()) {
      expect(slot.fire_at.getTime()).toBe(leftAt.getTime() + (index + 0.5) * HOUR_MS);
      expect([slot.range_from.getTime(), slot.range_to.getTime()]).toEqual([
        slot.fire_at.getTime() - HOUR_MS,
        slot.fire_at.getTime(),
      ]);
      const ran = slot.outcome === "queued";
      expect(slot.runs).toBe(ran ? 1 : 0);
      if (ran)
        expect([slot.from, slot.to]).toEqual([slot.range_from.toISOString(), slot.range_to.toISOString()]);
    }
  });

  // Two minutes after the last slot.
  it.each<[CatchUp, string[]]>([
    ["none", [...times(missed, "missed too_late"), "queued on time"]],
    ["last", [...times(missed, "missed newer_slot"), "queued on time"]],
    ["all", [...times(missed, "queued caught_up"), "queued on time"]],
  ])("catch_up %s lets the slot that is on time run", async (catchUp, expected) => {
    const schedule = await comeBack(awayMs + HOUR_MS / 2 + 120_000, catchUp);
    expect(await summary(schedule)).toEqual(expected);
  });
});

it("F22 what all makes up for runs one after another, in order", async () => {
  const schedule = await makeSchedule(test, leftAt, { cron: "0 * * * *", catch_up: "all" });
  await fireDue(test.db, after(3 * HOUR_MS), silentLog);
  const outcomes = async () => (await slotsOf(test, schedule)).map((slot) => slot.outcome);
  expect(await outcomes()).toEqual(["queued", "waiting", "waiting"]);
  await fireDue(test.db, after(3 * HOUR_MS + 10_000), silentLog);
  expect(await outcomes()).toEqual(["queued", "waiting", "waiting"]);
  await endRuns(test);
  await fireDue(test.db, after(3 * HOUR_MS + 20_000), silentLog);
  expect(await outcomes()).toEqual(["queued", "queued", "waiting"]);
});

it("F22 a short absence is none: a slot that is ten minutes late is on time", async () => {
  const schedule = await makeSchedule(test, leftAt, { cron: "0 * * * *", catch_up: "none" });
  await fireDue(test.db, after(0.5 * HOUR_MS + 600_000), silentLog);
  expect(await summary(schedule)).toEqual(["queued on time"]);
});

it("F22 after months, a month of slots is looked at, and the newest hundred are made up for", async () => {
  const schedule = await makeSchedule(test, leftAt, { cron: "0 * * * *", catch_up: "all" });
  await fireDue(test.db, after(90 * 24 * HOUR_MS), silentLog);
  const slots = await slotsOf(test, schedule);
  expect(slots).toHaveLength(31 * 24);
  expect(slots.at(-1)!.fire_at).toEqual(after((90 * 24 - 0.5) * HOUR_MS));
  expect(slots.map((slot) => slot.outcome)).toEqual([
    ...times(31 * 24 - 100, "missed"),
    "queued",
    ...times(99, "waiting"),
  ]);
});
