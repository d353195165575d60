import { afterEach, describe, expect, it } from "vitest";
import { createDb, createPool } from "../../src/db/client.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { migrateDatabase, schemaDifference } from "../../src/db/migrate.js";
import { migrations } from "../../src/db/migrations/index.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { readInstallation } from "../../src/db/queries/installation.js";
import { measureDrift } from "../../src/db/rollups/drift.js";
import { migrate } from "../../src/migrate.js";
import type { EventJson } from "../../src/sources/canonical-event.js";
import { createTestDatabase, silentLog } from "../support/postgres.js";
import { storeEvents } from "../support/stored-events.js";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function emptyDatabase() {
  const { url, drop } = await createTestDatabase();
  const pool = createPool({ url, name: "test", size: 4, statementTimeoutMs: 0 }, () => {});
  closers.push(drop, () => pool.end());
  return { url, db: createDb(pool), pool };
}

describe("migrations", () => {
  it("five processes at once end with one schema and one installation", async () => {
    const { url, db } = await emptyDatabase();
    await Promise.all(Array.from({ length: 5 }, () => migrate(url, silentLog)));
    expect(await schemaDifference(db)).toEqual([]);
    const first = await readInstallation(db);
    await migrate(url, silentLog);
    expect(await readInstallation(db)).toEqual(first);
  });

  it("what an older or newer build has applied is told by name", async () => {
    const { url, db, pool } = await emptyDatabase();
    await migrate(url, silentLog);
    await pool.query("insert into kysely_migration (name, timestamp) values ('9999-future', 'now')");
    expect(await schemaDifference(db)).toEqual(["9999-future"]);
  });

  it("bins that an older build has kept in any order stand in order afterwards, each with its count", async () => {
    const { url, db, pool } = await emptyDatabase();
    await migrate(url, silentLog);
    const { rows } = await pool.query<{ name: string }>(
      "select table_name as name from information_schema.columns where column_name = 'bins' and table_schema = 'public'",
    );
    const tables = rows.map(({ name }) => name);
    expect(tables).toHaveLength(10);
    const keysOf = (name: string) => (name.startsWith("daily_") ? "zone_id, grouping, day" : "bucket");
    for (const name of tables)
      await pool.query(`insert into ${name} (account_id, dimensions_id, ${keysOf(name)}, bins, counts)
        values ('shop', md5('x')::uuid, ${name.startsWith("daily_") ? "1, 0, '2026-01-01'" : "'2026-01-01'"}, '{1501,7,30,3}', '{1,2,3,-4}')`);
    await migrations["0008-bins-in-order"]!.up(db);
    for (const name of tables)
      expect((await pool.query(`select bins, counts from ${name}`)).rows).toEqual([
        { bins: [3, 7, 30, 1501], counts: [-4, 2, 3, 1] },
      ]);
  });

  it("data restored into another cluster, where transaction ids start anew, loses no event", async () => {
    const { url, db, pool } = await emptyDatabase();
    await migrate(url, silentLog);
    await ensureAccounts(db, ["shop"]);
    const sent = (id: string): EventJson => ({
      account_id: "shop",
      type: "message.sent",
      message_id: id,
      occurred_at: "2026-01-15T10:00:00Z",
    });
    await storeEvents(db, "shop", [sent("1"), sent("2")]);
    await foldBatch(db, "shop", { limit: 1_000 });
    // As a dump from a cluster that had seen far more transactions leaves it.
    await pool.query("update message_events set xid = '9000000000'");
    await pool.query("update fold_watermarks set xid = '9000000001', seq = 7");
    await pool.query("update installation set system_identifier = 'another cluster'");

    expect(await migrateDatabase(db, new Date())).toMatchObject({ restored: true });
    await storeEvents(db, "shop", [sent("3")]);
    const folded = await foldBatch(db, "shop", { limit: 1_000 });
    expect(folded).toMatchObject({ events: 3, messages: 1, caughtUp: true });
    expect(await measureDrift(db, "shop")).toEqual({ messages: 3, rows: 0 });
    expect((await readInstallation(db)).epoch).toBe(2);
    expect(await migrateDatabase(db, new Date())).toMatchObject({ restored: false });
  });
});
