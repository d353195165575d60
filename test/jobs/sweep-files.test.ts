import { mkdir, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimRun, type RunKey } from "../../src/db/queries/runs.js";
import { segmentKeys } from "../../src/exports/artifacts/segments.js";
import { buildExport } from "../../src/jobs/build-export.js";
import { sweepFiles } from "../../src/jobs/sweep-files.js";
import { openWork, seedMessages, seedRange, type TestWork, type WholeRun } from "../support/work.js";

let test: TestWork;
beforeAll(async () => {
  test = await openWork();
  await seedMessages(test, "shop");
});
afterAll(() => test.close());

async function published(): Promise<RunKey> {
  const key = await test.insertRun("export", "shop", { dataset: "messages", format: "csv", ...seedRange });
  await test.work(buildExport, key);
  return key;
}

const HOURS = 3_600_000;

/** A file in the store, last changed so long ago. */
async function leave(key: string, hoursAgo: number): Promise<string> {
  const path = join(test.artifactRoot, key);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, "rows");
  await touch(key, hoursAgo);
  return key;
}
const touch = (key: string, hoursAgo: number) => {
  const time = new Date(Date.now() - hoursAgo * HOURS);
  return utimes(join(test.artifactRoot, key), time, time);
};
const has = async (key: string) => (await test.artifacts.size(key)) !== undefined;

const keyOf = ({ artifact }: WholeRun) => segmentKeys(artifact!.segments)[0]!;

describe("the sweep of files", () => {
  it("removes expired artifacts, their runs stay and say so", async () => {
    const [old, young] = [await published(), await published()];
    const oldKey = keyOf(await test.run(old));
    await test.pool.query(
      `update runs set artifact = artifact || '{"expires_at": "2025-01-01T00:00:00.000Z"}' where run_id = $1`,
      [old.runId],
    );
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ expired: 1 });
    const run = await test.run(old);
    expect(run).toMatchObject({ status: "succeeded", artifact: { removed: true } });
    expect(await has(oldKey)).toBe(false);
    expect(await has(keyOf(await test.run(young)))).toBe(true);
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ expired: 0 });
    expect(await test.run(old)).toEqual(run);
  });

  it("removes all that have expired, however many there are", async () => {
    await test.pool.query(
      `insert into runs (account_id, kind, status, params, requested_by, artifact)
       select 'shop', 'export', 'succeeded', '{}', 'test',
              '{"segments": [], "bytes": 1, "expires_at": "2025-01-01T00:00:00.000Z"}' from generate_series(1, 250)`,
    );
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ expired: 250 });
  });

  it("removes what no run names, an hour after it was written", async () => {
    const done = await published();
    const kept = keyOf(await test.run(done));
    await touch(kept, 30);
    const running = await test.insertRun("export", "shop", {});
    await claimRun(test.db, running, "test");
    const nobody = "00000000-0000-4000-8000-000000000000";
    const gone = [
      await leave(`${nobody}/1`, 1.1),
      await leave(`${done.runId}/99`, 1.1),
      await leave(`${nobody}/2.part`, 1.1),
    ];
    const stays = [kept, await leave(`${nobody}/3`, 0.9), await leave(`${running.runId}/1`, 5)];
    const { result } = await test.work(sweepFiles, { slice: "" });
    expect(result).toMatchObject({ orphans: 3 });
    expect(await Promise.all(stays.map(has))).toEqual([true, true, true]);
    expect(await Promise.all(gone.map((key) => has(key.replace(/\.part$/, ""))))).toEqual([
      false,
      false,
      false,
    ]);
    expect((await test.work(sweepFiles, { slice: "" })).result).toMatchObject({ orphans: 0 });
  });

  it("looks for them among the runs whose turn it is: all have theirs within four hours", async () => {
    for (const digit of "0123456789abcdef") await leave(`${digit}0000000-0000-4000-8000-000000000000/1`, 5);
    const at = Date.parse("2026-01-15T10:00:30Z");
    const orphansAt = async (minutes: number) => {
      const job = { id: "sweep", addedAt: new Date(at + minutes * 60_000), isLastAttempt: false };
      return (await test.work(sweepFiles, {}, { job })).result.orphans;
    };
    for (let quarter = 0; quarter < 16; quarter++) expect(await orphansAt(quarter * 15)).toBe(1);
    expect(await orphansAt(16 * 15)).toBe(0);
  });

  it("is not held up by a file that somebody else put there", async () => {
    const stranger = await leave("README.txt", 48);
    const orphan = await leave("00000000-0000-4000-8000-000000000001/1", 48);
    expect((await test.work(sweepFiles, { slice: "" })).result).toMatchObject({ orphans: 1 });
    expect([await has(stranger), await has(orphan)]).toEqual([true, false]);
  });

  it("forgets idempotency keys after a day, however many there are", async () => {
    await test.pool.query(
      `insert into idempotency_keys (scope, key, body_hash, created_at)
       select 's', 'old ' || n, '\\x00'::bytea, now() - interval '25 hours' from generate_series(1, 2500) n
       union all select 's', 'new', '\\x00', now() - interval '23 hours'`,
    );
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ keys: 2_500 });
    expect((await test.work(sweepFiles, {})).result).toMatchObject({ keys: 0 });
    expect((await test.pool.query("select key from idempotency_keys")).rows).toEqual([{ key: "new" }]);
  });
});
