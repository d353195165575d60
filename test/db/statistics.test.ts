import { sql } from "kysely";
import { afterAll, beforeAll, expect, it } from "vitest";
import { analyzeGrown } from "../../src/db/statistics.js";
import { foldEvents } from "../../src/jobs/fold-events.js";
import { rebuildConversationsJob } from "../../src/jobs/rebuild-conversations.js";
import { newEvent, openWork, storeEvents, type TestWork } from "../support/work.js";

const MESSAGES = 3_000;

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
});
afterAll(() => test.close());

async function work(accountId: string, type: string, count: number): Promise<void> {
  const events = Array.from({ length: count }, (_, index) =>
    newEvent(accountId, `m${index}`, type, "2025-03-01T09:00:00Z", { contactId: `c${index % 500}` }),
  );
  await storeEvents(test, events);
  await test.work(foldEvents, { accountId });
  await test.work(rebuildConversationsJob, { accountId });
}

const analyzed = async () =>
  (
    await sql<{ name: string }>`
      select relname as name from pg_class where relkind = 'r' and reltuples >= 1000 and relname like 'messages\\_%'`.execute(
      test.db,
    )
  ).rows.length;

it("plans from when there was next to nothing to read are given up as soon as there is much", async () => {
  // Often enough for a connection to keep its plans.
  for (let index = 0; index < 12; index++) await work(`early${index}`, "sent", 1);
  expect(await analyzed()).toBe(0);
  await work("grown", "sent", MESSAGES);
  expect(await analyzed()).toBe(1);
  await work("grown", "delivered", MESSAGES);

  const reads = async () =>
    (
      await sql<{ scans: number; reads: number }>`
        select sum(idx_scan)::integer as scans, sum(idx_tup_read)::integer as reads
        from pg_stat_user_indexes where relname like 'messages\\_%'`.execute(test.db)
    ).rows[0]!;
  await expect.poll(async () => (await reads()).scans).toBeGreaterThan(4 * MESSAGES);
  // Each looked up a few times; to look for each among all of them would be nine million.
  expect((await reads()).reads).toBeLessThan(10 * MESSAGES);
});

it("what has grown little, or is analyzed already, is left alone", async () => {
  const analyze = () => analyzeGrown(test.db, MESSAGES);
  await analyze();
  expect(await analyze()).toEqual([]);
  await work("grown", "read", 10);
  expect(await analyze()).toEqual([]);
});
