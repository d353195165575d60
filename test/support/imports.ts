import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertRun, type RunKey } from "../../src/db/queries/runs.js";
import { importFile } from "../../src/jobs/import-file.js";
import { uploadName } from "../../src/jobs/read-import.js";
import type { TestWork } from "./work.js";

/** Stores a file and adds the run that reads it, as the API does. */
export async function insertImport(
  test: TestWork,
  accountId: string,
  params: Record<string, unknown>,
  file: string | Buffer | Readable,
): Promise<RunKey> {
  await ensureAccounts(test.db, [accountId]);
  const runId = randomUUID();
  const key = uploadName(runId);
  const source = file instanceof Readable ? file : Readable.from([Buffer.from(file)]);
  const measure = await test.artifacts.write(key, source);
  const made = await insertRun(test.db, {
    accountId,
    kind: "import",
    priority: "bulk",
    params: { account_id: accountId, ...params },
    requestedBy: "test",
    maxWaiting: 1_000_000,
    runId,
    upload: { key, ...measure },
  });
  return { accountId, runId, generation: made!.generation };
}

/** Imports a file at once; returns the run as it is afterwards. */
export async function importNow(
  test: TestWork,
  ...made: Parameters<typeof insertImport> extends [unknown, ...infer Rest] ? Rest : never
) {
  const key = await insertImport(test, ...made);
  await test.work(importFile, key).catch(() => {});
  return { key, run: await test.run(key) };
}

/** The messages of an account, without what differs between two accounts that know the same. */
export async function messagesOf(test: TestWork, accountId: string): Promise<Record<string, unknown>[]> {
  const { rows } = await test.pool.query(
    'select * from messages where account_id = $1 order by message_id collate "C"',
    [accountId],
  );
  return rows.map(({ account_id: _account, updated_at: _updated, ...row }) =>
    Object.fromEntries(Object.entries(row).filter(([name]) => !name.endsWith("_order"))),
  );
}

/** The rollups of an account by their dimensions. */
export async function rollupsOf(test: TestWork, accountId: string): Promise<unknown[]> {
  const { rows } = await test.pool.query(
    `select to_jsonb(r) - 'account_id' - 'dimensions_id' as numbers, to_jsonb(d) - 'account_id' - 'dimensions_id' as dimensions
     from rollups r join dimension_sets d using (account_id, dimensions_id)
     where account_id = $1
     order by bucket, d.channel_id, d.direction, d.content_kind, d.template, d.campaign_id, d.error_class, d.error_code`,
    [accountId],
  );
  return rows;
}
