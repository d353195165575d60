import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createCopySource } from "../../src/db/copy.js";
import { type ChangePosition, changePosition, selectChanges } from "../../src/db/datasets/changes.js";
import { selectText } from "../../src/db/datasets/dataset.js";
import { foldAgain } from "../../src/db/fold/backfill.js";
import { readerOf } from "../../src/db/held-snapshot.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { settleInstallation } from "../../src/db/queries/installation.js";
import { removeEvents, removeLeftovers } from "../../src/db/retention/events.js";
import { startOwnPostgres } from "../support/own-postgres.js";
import { foldAll, newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  // In the suite's server, other tests' transactions would hold folds and changes back.
  test = await openWork({ test: await startOwnPostgres() });
});
afterAll(() => test.close());
const signal = new AbortController().signal;
const sent = (account: string, id: string) =>
  newEvent(account, id, "sent", "2025-03-01T10:00:00Z", { channelId: "c" });
const position = (account: string, since?: ChangePosition) =>
  changePosition(readerOf(test.db), "messages", account, since, signal);

/** Somebody who keeps the status of each message. */
function consumer(account: string) {
  const statuses: Record<string, string> = {};
  let cursor: ChangePosition | undefined;
  return {
    statuses,
    /** How many changes there were. */
    async sync(): Promise<number> {
      const snapshot = await createCopySource(test.pool).holdSnapshot();
      try {
        const upto = await changePosition(snapshot, "messages", account, cursor, signal);
        const rows = selectChanges("messages", account, cursor, upto);
        const changes = await snapshot.read<Record<string, string>>(selectText(rows), signal);
        for (const { message_id, status } of changes) statuses[message_id!] = status!;
        cursor = upto;
        return changes.length;
      } finally {
        snapshot.release();
      }
    },
  };
}

/** Messages that an older release has folded without knowing of deliveries; nobody was told otherwise. */
async function foldedByOlderRelease(account: string, ids: readonly string[]): Promise<void> {
  for (const id of ids)
    await storeEvents(test, [sent(account, id), newEvent(account, id, "delivered", "2025-03-01T10:00:05Z")]);
  await foldAll(test, account);
  await test.pool.query("update messages set delivered_at = null where account_id = $1", [account]);
}

/** A backfill in small batches; it dies after the first of them where it is told to. */
async function backfill(account: string, { isKilled = false } = {}): Promise<void> {
  const killer = new AbortController();
  const run = foldAgain(test.db, account, { limit: 3, signal: killer.signal }, () => {
    if (isKilled) killer.abort(new Error("killed"));
  });
  await (isKilled ? expect(run).rejects.toThrow("killed") : run);
}

const IDS = ["1", "2", "3", "4", "5"];
const all = (status: string) => Object.fromEntries(IDS.map((id) => [id, status]));

describe("messages that are folded again", () => {
  it.each([
    ["ordinary folds go on", (account: string) => foldAll(test, account)],
    ["it begins again", (account: string) => backfill(account)],
  ])("are told, also when the backfill is killed and %s", async (name, goOn) => {
    const account = name.replaceAll(" ", "-");
    await foldedByOlderRelease(account, IDS);
    const { sync, statuses } = consumer(account);
    await sync();
    expect(statuses).toEqual(all("sent"));
    await backfill(account, { isKilled: true });
    const source = await test.pool.query(
      "select from messages where account_id = $1 and delivered_at is null",
      [account],
    );
    expect([0, IDS.length]).not.toContain(source.rowCount);
    await sync();
    await goOn(account);
    await sync();
    expect(statuses).toEqual(all("delivered"));
    // New events are folded once, and nobody has to be told of them besides.
    const told = () => test.pool.query("select from message_changes where account_id = $1", [account]);
    const before = (await told()).rowCount;
    await storeEvents(test, [sent(account, "new")]);
    await foldAll(test, account);
    await storeEvents(test, [sent(account, "newer")]);
    await foldAll(test, account);
    expect((await told()).rowCount).toBe(before);
  });

  it("are told to whoever began in the middle of the batch that changed them", async () => {
    await foldedByOlderRelease("middle", IDS);
    const { sync, statuses } = consumer("middle");
    const holder = await test.pool.connect();
    await holder.query("begin");
    await holder.query("lock table message_changes in share mode");
    const running = foldAgain(test.db, "middle", { limit: 100, signal }, () => {});
    await expect
      .poll(async () => {
        const { rowCount } = await test.pool.query(
          "select from pg_locks where relation = 'message_changes'::regclass and not granted",
        );
        return rowCount;
      })
      .toBe(1);
    await sync();
    expect(statuses).toEqual(all("sent"));
    await holder.query("commit");
    holder.release();
    await running;
    await expect.poll(() => sync().then(() => statuses)).toEqual(all("delivered"));
  });

  it("are told only where they have changed, and never by an account's first fold", async () => {
    await ensureAccounts(test.db, ["first"]);
    await backfill("first");
    const { sync } = consumer("first");
    expect(await sync()).toBe(0);
    await storeEvents(
      test,
      IDS.map((id) => sent("first", id)),
    );
    await backfill("first");
    await backfill("first");
    const { rowCount } = await test.pool.query("select from message_changes where account_id = 'first'");
    expect(rowCount).toBe(0);
  });
});

it("a cursor that is given out while a backfill folds again is good afterwards", async () => {
  await storeEvents(
    test,
    IDS.map((id) => sent("busy", id)),
  );
  await foldAll(test, "busy");
  // Retention has removed events before, long ago.
  await test.pool.query("update accounts set events_removed_xid = '5' where account_id = 'busy'");
  const before = await position("busy");
  await backfill("busy", { isKilled: true });
  const meanwhile = await Promise.all([position("busy", before), position("busy")]);
  await backfill("busy");
  for (const cursor of meanwhile) await expect(position("busy", cursor)).resolves.toBeDefined();
});

it("a cursor of an account whose events are gone is good after a backfill", async () => {
  await storeEvents(test, [sent("old", "1")]);
  await foldAll(test, "old");
  const removed = () => removeEvents(test.db, "old", new Date("2026-01-01"), false, 100);
  // A fold passes what no transaction is open before.
  await expect.poll(() => foldAll(test, "old").then(removed)).toBe(1);
  await backfill("old");
  await expect(position("old", await position("old"))).resolves.toBeDefined();
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

it("cursors of an account without new events outlive what was told of its old messages", async () => {
  await storeEvents(test, [sent("quiet", "1")]);
  await foldAll(test, "quiet");
  // Retention removed an older message more than 30 days ago, in a transaction after the last event.
  await test.pool.query(
    "insert into message_changes (account_id, message_id, xid, changed_at) values ('quiet', 'old', '5', now() - interval '31 days')",
  );
  await removeLeftovers(test.db, "quiet", new Date(), new Date(), 100);
  const cursor = await position("quiet");
  await expect(position("quiet", cursor)).resolves.toBeDefined();
});
