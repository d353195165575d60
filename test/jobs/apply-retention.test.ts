import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { measureContactDrift } from "../../src/db/contacts/contact-drift.js";
import { changeRetention } from "../../src/db/queries/account-retention.js";
import {
  createAccount,
  findConfiguredAccount,
  queriedAccount,
  updateAccount,
} from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift, repairDrift } from "../../src/db/rollups/drift.js";
import { applyRetention } from "../../src/jobs/apply-retention.js";
import { buildZone } from "../../src/jobs/build-zone.js";
import { maintainPartitions } from "../../src/jobs/maintain-partitions.js";
import { query } from "../support/metrics-cells.js";
import { foldAll, newEvent, openWork, seedMessages, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const ask = async (accountId: string, more: Partial<MetricsQuery>) => {
  const { kept, timeZone } = queriedAccount((await findConfiguredAccount(test.db, accountId))!);
  const range = { from: new Date("2025-02-27T00:00:00Z"), to: new Date("2025-03-08T00:00:00Z") };
  return readMetrics(test.db, planMetrics(query(accountId, { timeZone, kept, ...range, ...more })));
};
const counts = ["messages_attempted", "messages_delivered", "messages_read", "messages_received"];
const daysOf = async (accountId: string) => {
  const { rows, totals } = await ask(accountId, { metrics: counts, groupBy: ["template"] });
  return { rows, totals };
};

const rowsIn = async (table: string, accountId: string, condition = "true") =>
  (await test.pool.query(`select from ${table} where account_id = $1 and ${condition}`, [accountId]))
    .rowCount;

const retain = (accountId: string, at: string) =>
  test.work(applyRetention, { accountId }, { now: () => new Date(at) });
const keep = (accountId: string, days: Parameters<typeof changeRetention>[2]) =>
  changeRetention(test.db, accountId, days, () => {});

describe("retention", () => {
  it("removes hours, then events, then messages, each at its time, and leaves the days", async () => {
    const messages = await seedMessages(test, "shop");
    const days = await daysOf("shop");
    const retainedAt = async (at: string) => {
      expect((await retain("shop", at)).result).toMatchObject({ done: true });
      expect(await daysOf("shop")).toEqual(days);
      expect(await measureDrift(test.db, "shop")).toMatchObject({ rows: 0 });
      return {
        quarters: await rowsIn("rollups", "shop"),
        events: await rowsIn("message_events", "shop"),
        messages: await rowsIn("messages", "shop"),
      };
    };
    const before = await retainedAt("2025-05-01T00:00:00Z");
    expect(before).toMatchObject({ messages });
    // 90 days after the second of three days.
    const fewer = await retainedAt("2025-06-01T12:00:00Z");
    expect(fewer.quarters).toBeLessThan(before.quarters!);
    expect(fewer.quarters).toBeGreaterThan(0);
    expect(fewer).toEqual({ ...before, quarters: fewer.quarters });
    await expect(ask("shop", { interval: "hour" })).rejects.toMatchObject({ code: "not_kept", status: 400 });
    await expect(ask("shop", { timeZone: "Asia/Tokyo" })).rejects.toMatchObject({ code: "not_kept" });
    const hours = await ask("shop", { interval: "hour", from: new Date("2025-03-03T00:00:00Z") });
    expect(hours.totals[0]!.messages_attempted).toBeGreaterThan(0);

    // A transaction of another test may hold the watermark back for a while, and events wait for it.
    const retained = (at: string) => expect.poll(() => retainedAt(at), { timeout: 30_000 });
    await retained("2026-04-10T00:00:00Z").toEqual({ quarters: 0, events: 0, messages });
    await retained("2026-05-20T00:00:00Z").toEqual({ quarters: 0, events: 0, messages: 0 });
    expect(await rowsIn("daily_rollups_frozen", "shop")).toBe(await rowsIn("daily_rollups", "shop"));
    // Repairs know of what is frozen.
    await test.pool.query("delete from daily_rollups where account_id = 'shop'");
    await repairDrift(test.db, "shop");
    expect(await daysOf("shop")).toEqual(days);
  });

  it("keeps the days of messages that are gone when the zone changes, and waits while one is built", async () => {
    await seedMessages(test, "moving");
    const { totals } = await daysOf("moving");
    await keep("moving", { events_days: 1, messages_days: 31 });
    await updateAccount(test.db, "moving", { timeZone: "Asia/Tokyo" }, defaultSettings);
    await retain("moving", "2025-04-03T00:00:00Z");
    expect(await rowsIn("retired_messages", "moving")).toBe(0);
    await test.work(buildZone, { accountId: "moving" });
    await retain("moving", "2025-04-03T00:00:00Z");
    expect(await rowsIn("retired_messages", "moving")).toBeGreaterThan(0);
    await updateAccount(test.db, "moving", { timeZone: "America/Havana" }, defaultSettings);
    await test.work(buildZone, { accountId: "moving" });
    expect(await measureDrift(test.db, "moving")).toMatchObject({ rows: 0 });
    const range = { from: new Date("2025-02-26T05:00:00Z"), to: new Date("2025-03-08T05:00:00Z") };
    const there = await ask("moving", { metrics: counts, groupBy: ["template"], interval: "all", ...range });
    expect(there.totals).toEqual(totals);
  });

  it("keeps who has written before when the zone changes", async () => {
    const heard = (id: string, at: string) => newEvent("known", id, "received", at, { contactId: "ann" });
    await storeEvents(test, [heard("1", "2025-03-01T12:00:00Z"), heard("2", "2025-03-20T12:00:00Z")]);
    await foldAll(test, "known");
    await keep("known", { events_days: 1, messages_days: 31 });
    await retain("known", "2025-04-11T00:00:00Z");
    expect(await rowsIn("messages", "known")).toBe(1);
    const counts = async () =>
      (
        await test.pool.query(
          `select period, starts::text, messages, frozen from contact_presence p join accounts a using (account_id, zone_id)
           where account_id = 'known' order by 1, 2`,
        )
      ).rows;
    const cohorts = async () =>
      (
        await test.pool.query(
          `select period, starts::text, first::text, contacts from contact_cohorts c join accounts a using (account_id, zone_id)
           where account_id = 'known' order by 1, 2`,
        )
      ).rows;
    const before = [await counts(), await cohorts()];
    expect(before[0]).toContainEqual({ period: "month", starts: "2025-03-01", messages: 2, frozen: 1 });
    await updateAccount(test.db, "known", { timeZone: "America/Havana" }, defaultSettings);
    await test.work(buildZone, { accountId: "known" });
    expect([await counts(), await cohorts()]).toEqual(before);
    expect(await measureContactDrift(test.db, "known")).toMatchObject({ rows: 0 });
  });

  it("removes what one contact wanted on several channels, and keeps that it was counted", async () => {
    const stop = (channelId: string | null) =>
      newEvent("minds", "", "", "2025-03-01T09:00:00Z", {
        type: "preference.changed",
        ...{ messageId: null, direction: null, contactId: "ann", channelId },
        change: JSON.stringify({ value: "stop" }),
      });
    await storeEvents(test, [stop("c1"), stop(null), stop("c2")]);
    await foldAll(test, "minds");
    await keep("minds", { events_days: 1, messages_days: 31 });
    expect((await retain("minds", "2025-05-01T00:00:00Z")).result).toMatchObject({ done: true });
    expect(await rowsIn("preference_changes", "minds")).toBe(0);
    expect((await ask("minds", { metrics: ["opt_outs"], interval: "all" })).totals).toEqual([
      { opt_outs: 3 },
    ]);
    expect(await measureDrift(test.db, "minds")).toMatchObject({ rows: 0 });
  });

  it("adds up days that are too old, so that what is counted since the beginning stays right", async () => {
    await createAccount(test.db, { accountId: "queue", name: null, timeZone: "UTC" });
    const at = (day: number) => `2025-03-0${day}T09:00:00Z`;
    await storeEvents(test, [
      ...[1, 2, 3].map((day) => newEvent("queue", `q${day}`, "queued", at(day))),
      newEvent("queue", "q1", "sent", at(4)),
    ]);
    await foldAll(test, "queue");
    const late = { metrics: ["queue_depth", "messages_sent"], from: new Date("2025-03-04T00:00:00Z") };
    const depths = await ask("queue", late);
    expect(depths.totals).toEqual([{ queue_depth: 2, messages_sent: 0 }]);
    await keep("queue", { days_days: 100, quarters_days: 100 });
    expect((await retain("queue", "2025-06-12T12:00:00Z")).result).toMatchObject({ done: true });
    expect((await findConfiguredAccount(test.db, "queue"))!.days_from).not.toBeNull();
    expect(await rowsIn("daily_rollups", "queue", "day = '-infinity'")).toBeGreaterThan(0);
    expect(await rowsIn("daily_rollups", "queue", "day between '2009-01-01' and '2025-03-03'")).toBe(0);
    expect((await ask("queue", late)).rows).toEqual(depths.rows);
    expect(await measureDrift(test.db, "queue")).toMatchObject({ rows: 0 });
    await expect(ask("queue", { metrics: ["messages_sent"] })).rejects.toMatchObject({ code: "not_kept" });
    // What comes for such a day goes to the same place, and a repair puts it there.
    await storeEvents(test, [newEvent("queue", "q2", "sent", at(2))]);
    await foldAll(test, "queue");
    expect((await ask("queue", late)).totals).toMatchObject([{ queue_depth: 1 }]);
    await test.pool.query("delete from daily_rollups where account_id = 'queue'");
    expect((await repairDrift(test.db, "queue")).rows).toBeGreaterThan(0);
    expect((await ask("queue", late)).totals).toMatchObject([{ queue_depth: 1 }]);
  });

  it("drops a month of events when every account has had enough of it", async () => {
    await test.work(maintainPartitions, {}, { now: () => new Date("2031-03-01T00:00:00Z") });
    await storeEvents(test, [newEvent("patient", "1", "sent", "2031-01-15T09:00:00Z")]);
    const month = "select to_regclass('message_events_2031_01') as name";
    const drop = (at: string) => test.work(maintainPartitions, {}, { now: () => new Date(at) });
    await keep("patient", { events_days: 500, messages_days: 530 });
    expect((await drop("2032-04-15T00:00:00Z")).result.dropped).not.toContain("message_events_2031_01");
    // Not folded yet.
    expect((await drop("2032-08-01T00:00:00Z")).result.dropped).not.toContain("message_events_2031_01");
    await expect
      .poll(async () => {
        await foldAll(test, "patient");
        return (await drop("2032-08-01T00:00:00Z")).result.dropped;
      })
      .toContain("message_events_2031_01");
    expect((await test.pool.query(month)).rows).toEqual([{ name: null }]);
    const { events_from: gone } = (await findConfiguredAccount(test.db, "patient"))!;
    expect(gone!.toISOString() >= "2031-02-01T00:00:00.000Z").toBe(true);
    expect(await rowsIn("messages", "patient")).toBe(1);
  });
});
