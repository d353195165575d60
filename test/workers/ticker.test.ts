import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { Enqueue } from "../../src/jobs/define-job.js";
import { defineJob } from "../../src/jobs/define-job.js";
import { createTicker, latestFire } from "../../src/workers/ticker.js";
import { startTestApp, type TestApp } from "../support/app.js";
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

describe("a ticker", () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());

  it("adds a slot once, however many of them there are, and of the missed ones the last", async () => {
    const job = jobOf("*/10 * * * * *");
    const tickers = [1, 2].map(() => createTicker([job], app.context.queues.enqueue, silentLog));
    const waiting = async () => (await app.context.queues.counts()).maintenance!.waiting;
    const tick = (time: string) => Promise.all(tickers.map((ticker) => ticker.tick(at(time))));
    await tick("10:00:01");
    await tick("10:00:09");
    expect(await waiting()).toBe(1);
    await tick("10:00:10");
    expect(await waiting()).toBe(2);
    await tick("10:30:00");
    expect(await waiting()).toBe(3);
    const id = `test.tick-at-${at("10:30:00").getTime()}`;
    expect(await app.context.queues.stateOf("maintenance", id)).toBe("waiting");
  });

  it("tries a slot again that the queue refused", async () => {
    const ids: (string | undefined)[] = [];
    let away = true;
    const enqueue: Enqueue = async (_job, _payload, options) => {
      if (away) throw new Error("away");
      ids.push(options?.id);
    };
    const ticker = createTicker([jobOf("*/10 * * * * *")], enqueue, silentLog);
    await ticker.tick(at("10:00:01"));
    away = false;
    await ticker.tick(at("10:00:03"));
    await ticker.tick(at("10:00:05"));
    expect(ids).toEqual([`test.tick-at-${at("10:00:00").getTime()}`]);
  });

  it("is refused with an expression that means nothing", () => {
    for (const cron of ["every minute", "99 * * * * *"])
      expect(() => createTicker([jobOf(cron)], app.context.queues.enqueue, silentLog)).toThrow();
  });
});
