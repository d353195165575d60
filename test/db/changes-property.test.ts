import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createDb, createPool } from "../../src/db/client.js";
import { createCopySource } from "../../src/db/copy.js";
import {
  type ChangePosition,
  type ChangingDataset,
  changePosition,
  selectChanges,
} from "../../src/db/datasets/changes.js";
import { selectText } from "../../src/db/datasets/dataset.js";
import { foldAgain } from "../../src/db/fold/backfill.js";
import { foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { Gone } from "../../src/errors.js";
import { casesOf, isThorough } from "../support/cases.js";
import { startOwnPostgres } from "../support/own-postgres.js";
import type { TestDb } from "../support/postgres.js";
import { retainToTheEnd } from "../support/retained.js";
import { newEvent } from "../support/work.js";

let test: TestDb;
/** Connections for transactions that stay open over several steps. */
let slow: ReturnType<typeof createPool>;
beforeAll(async () => {
  // In the suite's server, other tests' transactions would hold the cursor back.
  test = await startOwnPostgres();
  slow = createPool({ url: test.url, name: "slow", size: 4, statementTimeoutMs: 0 }, () => {});
});
afterAll(async () => {
  await slow.end();
  await test.close();
});

const signal = new AbortController().signal;
const IDS = 6;
/** So that a floor in between takes some and leaves some. */
const timeOf = (hour: number) => new Date(Date.UTC(2025, 2, 1, hour)).toISOString();
const HOURS = 24 * 20;

const written = fc.record({
  id: fc.nat({ max: IDS - 1 }),
  type: fc.constantFrom("sent", "delivered", "read", "failed", "received"),
  hour: fc.nat({ max: HOURS }),
  about: fc.option(fc.nat({ max: IDS - 1 })),
});
type Written = typeof written extends fc.Arbitrary<infer T> ? T : never;
const batch = fc.array(written, { minLength: 1, maxLength: 4 });

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write" as const), batch }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("write slowly" as const), batch }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("commit" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("fold" as const), limit: fc.integer({ min: 1, max: 6 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("release" as const),
      ids: fc.subarray([...Array(IDS).keys()], { minLength: 1 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("fold again" as const),
      killedAfter: fc.option(fc.integer({ min: 1, max: 4 })),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("remove" as const), hour: fc.nat({ max: HOURS }) }) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("sync" as const), killedAfter: fc.option(fc.nat({ max: 4 })) }),
  },
);

function eventOf(accountId: string, { id, type, hour, about }: Written): NewEvent {
  const target = about === null ? undefined : `m${about}`;
  return newEvent(accountId, `m${id}`, type, timeOf(hour), {
    channelId: "c1",
    contactId: `contact ${id}`,
    ...(type === "received" && target ? { replyTo: target } : {}),
  });
}

/** As another release has folded these messages, and told of it. */
async function foldedByAnotherRelease(accountId: string, ids: readonly number[]): Promise<void> {
  await test.pool.query(
    `with changed as (
       update messages set contact_id = 'unknown' where account_id = $1 and message_id = any($2) returning message_id
     )
     insert into message_changes (account_id, message_id) select $1, message_id from changed`,
    [accountId, ids.map((id) => `m${id}`)],
  );
}

/** Folds everything again, and dies after so many batches. */
async function foldAgainUntil(accountId: string, killedAfter: number | null): Promise<void> {
  const killer = new AbortController();
  let batches = 0;
  const run = foldAgain(test.db, accountId, { limit: 2, signal: killer.signal }, () => {
    if (++batches === killedAfter) killer.abort(new Error("killed"));
  });
  await run.catch((error: Error) => expect(error.message).toBe("killed"));
}

type Row = Record<string, unknown>;

/** Somebody who keeps a copy by asking for changes, and who remembers a cursor only after everything before it. */
function consumer(accountId: string, dataset: ChangingDataset, key: string) {
  const copy = new Map<string, Row>();
  let cursor: ChangePosition | undefined;
  let restarts = 0;
  const sync = async (killedAfter: number | null): Promise<void> => {
    const snapshot = await createCopySource(test.pool).holdSnapshot();
    try {
      const upto = await changePosition(snapshot, dataset, accountId, cursor, signal);
      const rows = selectChanges(dataset, accountId, cursor, upto);
      // Who begins, begins with nothing: of what was removed before, nobody tells.
      if (cursor === undefined) copy.clear();
      const changes = await snapshot.read<Row>(selectText(rows), signal);
      for (const [index, { op, ...row }] of changes.entries()) {
        if (index === killedAfter) return;
        if (op === "delete") copy.delete(row[key] as string);
        else copy.set(row[key] as string, row);
      }
      cursor = upto;
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
      cursor = undefined;
      restarts++;
      await sync(killedAfter);
    } finally {
      snapshot.release();
    }
  };
  return { sync, copy, restarts: () => restarts };
}

let accounts = 0;
const met = { kills: 0, removals: 0, restarts: 0, slow: 0, toldAgain: 0 };

async function play(steps: (typeof step extends fc.Arbitrary<infer T> ? T : never)[]): Promise<void> {
  const accountId = `shop${accounts++}`;
  await ensureAccounts(test.db, [accountId]);
  const messages = consumer(accountId, "messages", "message_id");
  const events = consumer(accountId, "events", "event_key");
  const open: (() => Promise<unknown>)[] = [];
  const ever = new Set<string>();
  const insert = async (db: TestDb["db"], list: Written[]) => {
    const made = list.map((one) => eventOf(accountId, one));
    for (const event of made) ever.add(event.eventKey);
    await insertEvents(db, made);
  };
  for (const one of steps) {
    if (one.do === "write") await insert(test.db, one.batch);
    if (one.do === "write slowly" && open.length < 3) {
      const client = await slow.connect();
      await client.query("begin");
      // Its events are stored now, and nobody sees them before it commits.
      await insert(
        createDb({ connect: async () => Object.assign(Object.create(client), { release() {} }) } as never),
        one.batch,
      );
      open.push(async () => {
        await client.query("commit");
        client.release();
      });
      met.slow++;
    }
    if (one.do === "commit") await open.shift()?.();
    if (one.do === "fold") await foldBatch(test.db, accountId, { limit: one.limit });
    if (one.do === "release") {
      await foldedByAnotherRelease(accountId, one.ids);
      await messages.sync(null);
    }
    if (one.do === "fold again") {
      const told = () =>
        test.pool
          .query("select from message_changes where account_id = $1", [accountId])
          .then((r) => r.rowCount!);
      const before = await told();
      await foldAgainUntil(accountId, one.killedAfter);
      met.toldAgain += (await told()) - before;
    }
    if (one.do === "remove") {
      const floor = timeOf(Math.floor(one.hour / 24) * 24);
      await retainToTheEnd(
        test.db,
        accountId,
        { floor, killedAfter: null, chunkRows: 2, quartersDays: 400 },
        async () => {},
      );
      met.removals++;
    }
    if (one.do === "sync") {
      if (one.killedAfter !== null) met.kills++;
      await messages.sync(one.killedAfter);
      await events.sync(one.killedAfter);
    }
  }
  for (const commit of open) await commit();
  const source = async () => {
    const { rows } = await test.pool.query(
      "select message_id from messages where account_id = $1 and anchor_at is not null order by 1",
      [accountId],
    );
    return rows.map((row) => row.message_id as string);
  };
  // Transactions of others may hold a fold back for a moment.
  await expect
    .poll(async () => {
      while (!(await foldBatch(test.db, accountId, { limit: 1_000 })).caughtUp);
      await messages.sync(null);
      await events.sync(null);
      const { rows } = await test.pool.query(
        `select w.xid < (select max(xid) from message_events where account_id = $1) as behind from fold_watermarks w where account_id = $1`,
        [accountId],
      );
      return rows[0].behind === true;
    })
    .toBe(false);
  expect([...messages.copy.keys()].sort()).toEqual(await source());
  // All columns, not only the keys: a new consumer gets the same rows.
  const fresh = consumer(accountId, "messages", "message_id");
  await fresh.sync(null);
  expect(Object.fromEntries([...messages.copy].sort())).toEqual(Object.fromEntries([...fresh.copy].sort()));
  const stored = await test.pool.query("select event_key from message_events where account_id = $1", [
    accountId,
  ]);
  for (const { event_key } of stored.rows) expect(events.copy.has(event_key)).toBe(true);
  for (const key of events.copy.keys()) expect(ever.has(key)).toBe(true);
  met.restarts += messages.restarts();
}

it("a copy kept by changes ends equal to the source, whoever is killed and whatever is removed or folded again", async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), play), {
    numRuns: casesOf("CHANGES", { few: 10, many: 40 }),
  });
  if (!isThorough) return;
  expect(met.kills * met.removals * met.slow * met.toldAgain).toBeGreaterThan(0);
}, 600_000);
