import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { defaultSettings } from "../../src/analytics/account-settings.js";
import { updateAccount } from "../../src/db/queries/accounts.js";
import { buildZone } from "../../src/jobs/build-zone.js";
import { maintainZones } from "../../src/jobs/maintain-zones.js";
import { foldAll, newEvent, openWork, seedMessages, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

const zonesWithDays = async () =>
  (
    await test.pool.query<{ zone_id: number }>(
      "select distinct zone_id from daily_rollups where account_id = 'shop' order by 1",
    )
  ).rows.map((row) => row.zone_id);

describe("zones", () => {
  it("that are wanted are built, and those that were replaced are removed an hour later", async () => {
    await seedMessages(test, "shop");
    expect(await test.work(maintainZones, {})).toEqual({ result: { wanted: 0, removed: 0 }, enqueued: [] });
    await updateAccount(test.db, "shop", { timeZone: "Asia/Tokyo" }, defaultSettings);
    const wanted = await test.work(maintainZones, {});
    expect(wanted.enqueued).toMatchObject([{ kind: "zones.build", payload: { accountId: "shop" } }]);
    await test.work(buildZone, { accountId: "shop" });
    expect(await zonesWithDays()).toEqual([1, 2]);

    expect((await test.work(maintainZones, {})).result).toEqual({ wanted: 0, removed: 0 });
    await test.pool.query(
      "update account_zones set retired_at = now() - interval '61 minutes' where account_id = 'shop' and zone_id = 1",
    );
    expect((await test.work(maintainZones, {})).result).toEqual({ wanted: 0, removed: 1 });
    expect((await test.work(maintainZones, {})).result).toEqual({ wanted: 0, removed: 0 });
    expect(await zonesWithDays()).toEqual([2]);

    // Its number is free again. A wish that is taken back was never read, so it goes at once.
    await updateAccount(test.db, "shop", { timeZone: "Asia/Kolkata" }, defaultSettings);
    await storeEvents(test, [newEvent("shop", "new", "sent", "2025-03-09T09:00:00Z")]);
    await foldAll(test, "shop");
    expect(await zonesWithDays()).toEqual([1, 2]);
    await updateAccount(test.db, "shop", { timeZone: "Asia/Tokyo" }, defaultSettings);
    expect((await test.work(maintainZones, {})).result).toEqual({ wanted: 0, removed: 1 });
    expect(await zonesWithDays()).toEqual([2]);
  });
});
