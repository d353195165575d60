import { generateTraffic } from "../../src/cli/demo/traffic.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { buildReport } from "../../src/jobs/build-report.js";
import { rebuildPieces } from "./folded.js";
import { storeEvents } from "./stored-events.js";
import { foldAll, openWork, type TestWork } from "./work.js";

const DAY_MS = 24 * 3_600_000;
const FROM = Date.UTC(2026, 4, 4);
const DAYS = 28;

/** The later half of the traffic, so that there is a period before it. */
export const reportRange = {
  from: new Date(FROM + (DAYS / 2) * DAY_MS).toISOString(),
  to: new Date(FROM + DAYS * DAY_MS).toISOString(),
};

type Run = Awaited<ReturnType<TestWork["run"]>>;

export interface Reports extends TestWork {
  /** Builds a report as a worker does; asked for always at the same time, so that its bytes are the same too. */
  build(params: Record<string, unknown>, accountId?: string): Promise<{ bytes: Buffer; run: Run }>;
}

/** Four weeks of a shop's traffic, with conversations, contacts and a queue. */
export async function openReports(messages: number): Promise<Reports> {
  const test = await openWork();
  const period = { from: FROM, to: FROM + DAYS * DAY_MS };
  const { events } = generateTraffic({ seed: 5, messages, accountId: "shop", ...period });
  await ensureAccounts(test.db, ["shop"]);
  await storeEvents(test.db, "shop", events);
  await foldAll(test, "shop");
  await rebuildPieces(test.db, "shop", 500);
  return {
    ...test,
    async build(params, accountId = "shop") {
      const key = await test.insertRun("report", accountId, { ...reportRange, ...params });
      await test.pool.query("update runs set created_at = '2026-06-02T08:00:00Z' where run_id = $1", [
        key.runId,
      ]);
      await test.work(buildReport, key);
      return { bytes: await test.file(key), run: await test.run(key) };
    },
  };
}
