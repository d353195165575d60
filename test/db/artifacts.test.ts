import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Db } from "../../src/db/client.js";
import { fileAllowance } from "../../src/db/queries/account-files.js";
import { readArtifact } from "../../src/db/queries/artifacts.js";
import { findRun, listRuns } from "../../src/db/queries/runs.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

const RUNS = 2_000;
const PARTS = 4_000;

let test: TestDb;
let newest: string;
beforeAll(async () => {
  test = await openTestDb();
  await test.pool.query("insert into accounts (account_id) values ('shop')");
  await test.pool.query(
    `insert into runs (account_id, kind, status, params, requested_by, created_at, artifact)
     select 'shop', 'export', 'succeeded', '{}', 'test', now() - n * interval '1 second', jsonb_build_object(
       'segments', '[]'::jsonb, 'file_name', 'messages.csv', 'content_type', 'text/csv', 'rows', n, 'bytes', n,
       'sha256', '', 'expires_at', case when n % 2 = 0 then '2100' else '2020' end || '-01-01T00:00:00.000Z')
     from generate_series(1, $1) n`,
    [RUNS],
  );
  const { rows } = await test.pool.query(
    `update runs set artifact = artifact || jsonb_build_object(
       'segments', (select jsonb_agg(jsonb_build_object('key', gen_random_uuid(), 'bytes', n)) from generate_series(1, $1) n),
       'content', (select jsonb_agg(gen_random_uuid()) from generate_series(1, $1) n))
     where (artifact -> 'bytes')::int <= 2 returning run_id, artifact -> 'bytes' as bytes`,
    [PARTS],
  );
  newest = rows.find(({ bytes }) => bytes === 1).run_id;
  await test.pool.query("vacuum analyze runs");
});
afterAll(() => test.close());

const counters = sql<{ rows: number; longValues: number }>`
  select runs.seq_tup_read + runs.idx_tup_fetch as rows, toast.idx_scan as "longValues"
  from pg_class c
  join pg_stat_xact_all_tables runs on runs.relid = c.oid
  join pg_stat_xact_all_tables toast on toast.relid = c.reltoastrelid
  where c.oid = 'runs'::regclass`;

/** What a read of the runs took: rows of the table itself, and long values that are kept beside it. */
async function cost<T>(read: (db: Db) => Promise<T>) {
  return test.db.transaction().execute(async (trx) => {
    const before = (await counters.execute(trx)).rows[0]!;
    const answer = await read(trx);
    const after = (await counters.execute(trx)).rows[0]!;
    return { answer, rows: after.rows - before.rows, longValues: after.longValues - before.longValues };
  });
}

describe("the artifact of a run, which can be a megabyte", () => {
  it("is left where it is by lists and by whoever asks for the run", async () => {
    const list = await cost((db) => listRuns(db, { kind: "export", accountId: "shop", limit: 2 }));
    expect(list).toMatchObject({ rows: 2, longValues: 0 });
    const file = { file_name: "messages.csv", content_type: "text/csv", sha256: "" };
    expect(list.answer.map((run) => run.file)).toEqual([
      { ...file, rows: 1, bytes: 1, expires_at: "2020-01-01T00:00:00.000Z" },
      { ...file, rows: 2, bytes: 2, expires_at: "2100-01-01T00:00:00.000Z" },
    ]);
    expect(JSON.stringify(list.answer).length).toBeLessThan(4_000);
    const one = await cost((db) => findRun(db, "export", newest, ["shop"]));
    expect(one).toMatchObject({ longValues: 0, answer: { file: { bytes: 1 } } });
  });

  it("is read by whoever asks for it", async () => {
    const { answer, longValues } = await cost((db) =>
      readArtifact(db, { account_id: "shop", run_id: newest }),
    );
    expect(answer!.segments).toHaveLength(PARTS);
    expect(longValues).toBeGreaterThan(0);
  });

  it("is not looked at for the bytes of an account's files: the sum is in an index", async () => {
    const used = await cost((db) => fileAllowance(db, "shop", { retentionMs: 1, quotaBytes: 0 }));
    const bytes = Array.from({ length: RUNS / 2 }, (_, i) => 2 * (i + 1)).reduce((sum, each) => sum + each);
    expect(used).toMatchObject({ longValues: 0, answer: { usedBytes: bytes } });
    // Those on a page that vacuum could not yet call visible to all.
    expect(used.rows).toBeLessThan(RUNS / 10);
  });
});
