import { afterAll, beforeAll, expect, it } from "vitest";
import { createDb, createPool } from "../../src/db/client.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents } from "../../src/db/queries/insert-events.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { newEvent } from "../support/work.js";

let test: TestDb;
let slow: ReturnType<typeof createPool>;
beforeAll(async () => {
  test = await openTestDb();
  slow = createPool({ url: test.url, name: "slow", size: 1, statementTimeoutMs: 0 }, () => {});
});
afterAll(async () => {
  await slow.end();
  await test.close();
});

it("loses no event that commits between two batches of one fold", async () => {
  await ensureAccounts(test.db, ["shop"]);
  const sent = (id: string) => newEvent("shop", id, "sent", "2025-03-01T10:00:00Z", { channelId: "c" });
  const client = await slow.connect();
  await client.query("begin");
  const inTransaction = createDb({
    connect: async () => Object.assign(Object.create(client), { release() {} }),
  } as never);
  await insertEvents(inTransaction, [sent("late")]);
  await insertEvents(test.db, [sent("a")]);
  await insertEvents(test.db, [sent("b")]);
  // As `foldEvents`, `foldToTheEnd` and `foldAgain` do it: the next batch goes on after the one before.
  const first = await foldBatch(test.db, "shop", { limit: 1 });
  expect(first.events).toBe(1);
  await client.query("commit");
  client.release();
  await foldBatch(test.db, "shop", { after: first.position, limit: 1 });
  // Every fold from now on.
  for (let turn = 0; turn < 3; turn++) await foldBatch(test.db, "shop", { limit: 100 });
  const { rows } = await test.pool.query("select message_id from messages order by 1");
  expect(rows.map((row) => row.message_id)).toEqual(["a", "b", "late"]);
});
