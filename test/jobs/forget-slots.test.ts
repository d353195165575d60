import { afterAll, beforeAll, expect, it } from "vitest";
import { fireDue } from "../../src/jobs/fire-schedules.js";
import { forgetSlots } from "../../src/jobs/forget-slots.js";
import { silentLog } from "../support/postgres.js";
import { makeSchedule, slotsOf } from "../support/schedules.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

it("removes slots after 400 days, and their runs stay", async () => {
  const schedule = await makeSchedule(test, new Date("2026-01-01T00:00:00Z"));
  for (const day of ["01", "02", "03"])
    await fireDue(test.db, new Date(`2026-01-${day}T08:00:00Z`), silentLog);
  const now = () => new Date("2027-02-06T08:00:00Z");
  expect((await test.work(forgetSlots, {}, { now })).result).toEqual({ slots: 1 });
  expect((await test.work(forgetSlots, {}, { now })).result).toEqual({ slots: 0 });
  expect((await slotsOf(test, schedule)).map((slot) => slot.fire_at.getUTCDate())).toEqual([2, 3]);
  const { rows } = await test.pool.query("select count(*)::integer as runs from runs");
  expect(rows).toEqual([{ runs: 1 }]);
});
