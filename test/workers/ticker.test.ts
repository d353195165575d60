import { describe, expect, it } from "vitest";
import { z } from "zod";
import { defineJob } from "../../src/jobs/define-job.js";
import { createTicker, latestFire } from "../../src/workers/ticker.js";
import { silentLog } from "../support/postgres.js";

const jobOf = (cron: string) =>
  defineJob({
    kind: "test.tick",
    queue: "maintenance",
    payload: z.strictObject({}),
    schedule: { cron, payload: {} },
    run: async () => ({}),
  });
const at = (time: string) => new Date(`2026-03-04T${time}Z`);

describe("latestFire", () => {
  it.each([
    ["*/5 * * * * *", "10:00:07.500", "10:00:05.000"],
    ["*/5 * * * * *", "10:00:05.000", "10:00:05.000"],
    ["*/5 * * * * *", "10:00:04.999", "10:00:00.000"],
    ["0 7 * * * *", "10:06:59.999", "09:07:00.000"],
    ["30 */15 * * * *", "10:00:00.000", "09:45:30.000"],
  ])("of %s at %s is %s", (cron, now, fire) => {
    expect(latestFire(cron, at(now))).toEqual(at(fire));
  });
});

it("a ticker is refused with an expression that means nothing", () => {
  for (const cron of ["every minute", "99 * * * * *"])
    expect(() => createTicker([jobOf(cron)], async () => {}, silentLog)).toThrow();
});
