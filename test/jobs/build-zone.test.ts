import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { planMetrics } from "../../src/analytics/metrics-plan.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { pendingZones, zoneToBuild } from "../../src/db/queries/account-zones.js";
import {
  createAccount,
  findConfiguredAccount,
  queriedAccount,
  updateAccount,
} from "../../src/db/queries/accounts.js";
import { readMetrics } from "../../src/db/queries/read-metrics.js";
import { measureDrift, repairDrift } from "../../src/db/rollups/drift.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import { buildZone } from "../../src/jobs/build-zone.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { eventHistories } from "../support/event-histories.js";
import { expectRows, oracleQuery, query } from "../support/metrics-cells.js";
import { oracleMetrics } from "../support/oracle.js";
import { storeEvents } from "../support/stored-events.js";
import { openWork, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const history = (seed: number) =>
  fc
    .sample(eventHistories("a"), { numRuns: 6, seed })
    .flatMap((events, index) =>
      events.map((event) =>
        event.message_id ? { ...event, message_id: `${index}-${event.message_id}` } : event,
      ),
    )
    // What edits of other messages say is not the matter here.
    .filter(({ type }) => type !== "reaction.added");

async function foldAll(accountId: string): Promise<void> {
  let after: Awaited<ReturnType<typeof foldBatch>>["position"];
  for (;;) {
    const batch = await foldBatch(test.db, accountId, { after, limit: 200 });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

const accountOf = async (accountId: string) => (await findConfiguredAccount(test.db, accountId))!;

/** Days as the account sees them now, against the oracle's in the same zone; only daily rollups may be read. */
async function expectDays(accountId: string, timeZone: string, events: readonly EventJson[]): Promise<void> {
  const account = queriedAccount(await accountOf(accountId));
  expect([account.timeZone, account.kept.days?.timeZone]).toEqual([timeZone, timeZone]);
  const asked = query(accountId, {
    timeZone,
    kept: account.kept,
    metrics: ["messages_sent", "messages_delivered", "messages_read", "messages_received"],
    groupBy: ["template"],
    // Midnights of both zones lie within.
    from: new Date("2025-03-28T00:00:00Z"),
    to: new Date("2025-10-29T00:00:00Z"),
  });
  const found = await readMetrics(test.db, planMetrics(asked));
  const expected = oracleMetrics(events, oracleQuery(asked));
  expectRows(found.rows, expected.rows);
  expectRows(found.totals, expected.totals);
  expect(await measureDrift(test.db, accountId)).toMatchObject({ rows: 0 });
}

describe("a change of the time zone", () => {
  it("takes effect when the days of the new zone are built, with folds running meanwhile", async () => {
    const events = history(3);
    const third = Math.floor(events.length / 3);
    await createAccount(test.db, { accountId: "moving", name: null, timeZone: "Europe/Berlin" });
    await storeEvents(test.db, "moving", events.slice(0, third));
    await foldAll("moving");
    const before = await accountOf("moving");
    await updateAccount(test.db, "moving", { timeZone: "Pacific/Chatham" }, defaultSettings);
    expect(await accountOf("moving")).toEqual(before);
    expect([...(await pendingZones(test.db, ["moving"]))]).toEqual([["moving", "Pacific/Chatham"]]);
    // Folds write both zones now.
    await storeEvents(test.db, "moving", events.slice(third, 2 * third));
    await foldAll("moving");
    await expectDays("moving", "Europe/Berlin", events.slice(0, 2 * third));

    const folding = (async () => {
      for (const event of events.slice(2 * third)) {
        await storeEvents(test.db, "moving", [event]);
        await foldAll("moving");
      }
    })();
    expect((await test.work(buildZone, { accountId: "moving" })).result).toEqual({ built: 1 });
    expect(await accountOf("moving")).toMatchObject({ time_zone: "Pacific/Chatham", zone_id: 2 });
    await folding;
    await expectDays("moving", "Pacific/Chatham", events);
    expect([...(await pendingZones(test.db, ["moving"]))]).toEqual([]);
    expect((await test.work(buildZone, { accountId: "moving" })).result).toEqual({ built: 0 });
  });

  it("goes on where a killed build has stopped", async () => {
    const events = history(4);
    const half = Math.floor(events.length / 2);
    await createAccount(test.db, { accountId: "killed", name: null, timeZone: "UTC" });
    await storeEvents(test.db, "killed", events.slice(0, half));
    await foldAll("killed");
    await settleRollups(test.db, "killed");
    await updateAccount(test.db, "killed", { timeZone: "America/Havana" }, defaultSettings);
    const { zoneId } = (await zoneToBuild(test.db, "killed"))!;
    expect((await repairDrift(test.db, "killed", { zoneId })).rows).toBeGreaterThan(20);
    // Killed before the switch; as if some of the pieces had not been written either.
    await test.pool.query(
      "delete from daily_rollups where account_id = 'killed' and zone_id = $1 and day > '2025-06-01'",
      [zoneId],
    );
    await storeEvents(test.db, "killed", events.slice(half));
    await foldAll("killed");
    await expectDays("killed", "UTC", events);
    await test.work(buildZone, { accountId: "killed" });
    await expectDays("killed", "America/Havana", events);
  });

  it("is the newest wish, and none when it is the zone already", async () => {
    const events = history(5);
    await createAccount(test.db, { accountId: "fickle", name: null, timeZone: "UTC" });
    await storeEvents(test.db, "fickle", events);
    await foldAll("fickle");
    for (const timeZone of ["Asia/Tokyo", "Asia/Kolkata", "Asia/Kolkata"])
      await updateAccount(test.db, "fickle", { timeZone }, defaultSettings);
    expect([...(await pendingZones(test.db, ["fickle"]))]).toEqual([["fickle", "Asia/Kolkata"]]);
    await updateAccount(test.db, "fickle", { timeZone: "UTC" }, defaultSettings);
    expect([...(await pendingZones(test.db, ["fickle"]))]).toEqual([]);
    expect((await test.work(buildZone, { accountId: "fickle" })).result).toEqual({ built: 0 });
    await updateAccount(test.db, "fickle", { timeZone: "Asia/Kolkata" }, defaultSettings);
    await test.work(buildZone, { accountId: "fickle" });
    await expectDays("fickle", "Asia/Kolkata", events);
  });

  it("builds the days of accounts from before there were any", async () => {
    const events = history(6);
    await createAccount(test.db, { accountId: "old", name: null, timeZone: "Asia/Kathmandu" });
    await storeEvents(test.db, "old", events);
    await foldAll("old");
    await test.pool.query("delete from daily_rollups where account_id = 'old'");
    await test.pool.query("update account_zones set built_at = null where account_id = 'old'");
    await test.pool.query("update accounts set zone_id = null where account_id = 'old'");
    expect(await measureDrift(test.db, "old")).toMatchObject({ rows: 0 });
    await test.work(buildZone, { accountId: "old" });
    await expectDays("old", "Asia/Kathmandu", events);
  });
});
