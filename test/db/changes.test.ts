import { afterAll, beforeAll, expect, it } from "vitest";
import { changePosition } from "../../src/db/datasets/changes.js";
import { foldAgain } from "../../src/db/fold/backfill.js";
import { lockWatermark } from "../../src/db/fold/fold-account.js";
import { readerOf } from "../../src/db/held-snapshot.js";
import { settleInstallation } from "../../src/db/queries/installation.js";
import { removeLeftovers } from "../../src/db/retention/events.js";
import { foldAll, newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());
const signal = new AbortController().signal;
const sent = (account: string, id: string) =>
  newEvent(account, id, "sent", "2025-03-01T10:00:00Z", { channelId: "c" });
const position = (account: string, since?: Awaited<ReturnType<typeof changePosition>>) =>
  changePosition(readerOf(test.db), "messages", account, since, signal);

it("a cursor that is given out while a backfill folds again is good afterwards", async () => {
  await storeEvents(test, [sent("busy", "1")]);
  await foldAll(test, "busy");
  // Retention has removed events before, long ago.
  await test.pool.query("update accounts set events_removed_xid = '5' where account_id = 'busy'");
  const before = await position("busy");
  // What `foldAgain` does first.
  await test.db.transaction().execute(async (trx) => {
    await lockWatermark(trx, "busy");
    await trx
      .updateTable("fold_watermarks")
      .set({ xid: "0", seq: 0 })
      .where("account_id", "=", "busy")
      .execute();
  });
  const meanwhile = await position("busy", before);
  await foldAgain(test.db, "busy", { limit: 100, signal }, () => {});
  await expect(position("busy", meanwhile)).resolves.toBeDefined();
});

it("cursors of a restored cluster are not all expired", async () => {
  await storeEvents(test, [sent("shop", "1"), sent("shop", "2")]);
  await foldAll(test, "shop");
  // As a dump of a cluster that had seen far more transactions leaves it, after a retention.
  await test.pool.query("update message_events set xid = '9000000000'");
  await test.pool.query("update fold_watermarks set xid = '9000000001', seq = 7");
  await test.pool.query("update accounts set events_removed_xid = '8000000000'");
  await test.pool.query("update installation set system_identifier = 'another cluster'");
  expect(await settleInstallation(test.db)).toEqual({ restored: true });
  await foldAll(test, "shop");
  const cursor = await position("shop");
  await expect(position("shop", cursor)).resolves.toBeDefined();
});

it("cursors of an account without new events outlive the tombstones of its old messages", async () => {
  await storeEvents(test, [sent("quiet", "1")]);
  await foldAll(test, "quiet");
  // Retention removed an older message more than 30 days ago, in a transaction after the last event.
  await test.pool.query(
    "insert into message_tombstones (account_id, message_id, xid, removed_at) values ('quiet', 'old', '5', now() - interval '31 days')",
  );
  await removeLeftovers(test.db, "quiet", new Date(), new Date(), 100);
  const cursor = await position("quiet");
  await expect(position("quiet", cursor)).resolves.toBeDefined();
});
