import { CompiledQuery } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KeyRange, type RowKey, type Rows, selectRows } from "../../src/db/datasets/dataset.js";
import { datasets } from "../../src/db/datasets/index.js";
import { preferIndexes } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

const ROWS = 40_000;
const PARTS = 8;

let test: TestDb;
beforeAll(async () => {
  test = await openTestDb();
  await ensureAccounts(test.db, ["shop"]);
  await test.pool.query(
    `insert into messages (account_id, message_id, anchor_at, updated_at, direction, channel_id)
     select 'shop', md5(n::text), at, at, 'outbound', 'c' || n % 3
     from (select n, '2026-01-01Z'::timestamptz + n / 2 * interval '1 min' as at from generate_series(1, $1::int) n) times`,
    [ROWS],
  );
  await test.pool.query("vacuum analyze messages");
});
afterAll(() => test.close());

const messages = selectRows(datasets.messages, {
  ...{ accountId: "shop", from: new Date("2026-01-01"), to: new Date("2027-01-01"), filters: {} },
});

/** The rows of a range by their index, and how many pages of it and of the table were looked at. */
async function read(within: KeyRange): Promise<{ rows: number; pages: number }> {
  return test.db.transaction().execute(async (trx) => {
    await preferIndexes(trx);
    const text = `explain (analyze, buffers, format json) select ${messages.key} ${messages.from({ ordered: true, within })}`;
    const { rows } = await trx.executeQuery<{ "QUERY PLAN": [{ Plan: Record<string, number> }] }>(
      CompiledQuery.raw(text),
    );
    const { Plan: plan } = rows[0]!["QUERY PLAN"][0];
    return { rows: plan["Actual Rows"]!, pages: plan["Shared Hit Blocks"]! + plan["Shared Read Blocks"]! };
  });
}

async function keysEvery(rows: Rows, size: number): Promise<RowKey[]> {
  const { rows: found } = await test.pool.query<{ key: string[] }>(
    `select array[${rows.key!.map((sql) => `(${sql})::text`)}] as key ${rows.from({ ordered: true })}`,
  );
  return found.filter((_, index) => index > 0 && index % size === 0).map(({ key }) => key);
}

describe("rows in parts", () => {
  it("are each row once, and each part reads its stretch of the index and no more", async () => {
    const keys = await keysEvery(messages, ROWS / PARTS);
    const whole = await read({});
    expect(whole.rows).toBe(ROWS);
    for (let part = 0; part < PARTS; part++) {
      const { rows, pages } = await read({ from: keys[part - 1], to: keys[part] });
      expect(rows).toBe(ROWS / PARTS);
      expect(pages).toBeLessThan((1.2 * whole.pages) / PARTS + 10);
    }
  });
});
