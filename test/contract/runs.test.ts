import { once } from "node:events";
import { Readable } from "node:stream";
import { beforeAll, expect, it } from "vitest";
import { messageColumns } from "../../src/db/datasets/messages.js";
import { type RunKey, runJobId, settleRun } from "../../src/db/queries/runs.js";
import { buildExport } from "../../src/jobs/build-export.js";
import type { JobContext } from "../../src/jobs/define-job.js";
import { withRun } from "../../src/jobs/with-run.js";
import { binaryRows } from "../exports/binary-rows.js";
import { call } from "../support/app.js";
import { seedMessages, seedRange } from "../support/work.js";
import { type Contract, contract, gate } from "./contract.js";

const CANCELLED_WITHIN_MS = 2_000;

/** An export as a client asks for it, stops it and looks at it: by HTTP, in another process than the workers. */
function client(on: Contract) {
  const send = async (method: string, path: string, body?: unknown) => {
    const { adminKey, url } = on.app();
    const reply = await call(url, method, path, { key: adminKey, body });
    expect(reply.status).toBeLessThan(300);
    return reply.json;
  };
  const path = (key: RunKey) => `/analytics/exports/${key.runId}`;
  return {
    async order(): Promise<RunKey> {
      const body = { account_id: "shop", dataset: "messages", format: "csv", ...seedRange };
      const { id } = await send("POST", "/analytics/exports", body);
      return { accountId: "shop", runId: id, generation: 1 };
    },
    cancel: (key: RunKey) => send("POST", `${path(key)}/cancel`),
    look: (key: RunKey) => send("GET", path(key)),
    download: async (key: RunKey) => {
      const { adminKey, url } = on.app();
      return call(url, "GET", `${path(key)}/download`, { key: adminKey });
    },
    row: (key: RunKey) =>
      on
        .app()
        .context.db.selectFrom("runs")
        .selectAll()
        .where("run_id", "=", key.runId)
        .executeTakeFirstOrThrow(),
  };
}

contract("a run that is cancelled", (on) => {
  beforeAll(() => seedMessages(on.app().context, "shop"));
  const { order, cancel, look, download, row } = client(on);

  it("before it began ends at once, and its job does nothing", async () => {
    const key = await order();
    expect(await cancel(key)).toMatchObject({ status: "cancelled" });
    const before = await row(key);
    const { ends } = await on.start([buildExport]);
    await on.idle("exports");
    expect(ends).toEqual(["done"]);
    expect(await on.queue("exports").getJob(runJobId(key))).toMatchObject({
      returnvalue: { skipped: "nothing to do" },
    });
    expect(await row(key)).toEqual(before);
  });

  it("while it runs stops in another process within two seconds, and is not tried again", async () => {
    const started = gate();
    const endless = {
      ...buildExport,
      run: (key: RunKey, context: JobContext) =>
        withRun(key, context, async ({ signal }) => {
          started.open();
          await once(signal, "abort");
          throw signal.reason;
        }),
    };
    const { ends } = await on.start([endless]);
    const key = await order();
    await started.opened;
    const askedAt = performance.now();
    await cancel(key);
    await expect.poll(async () => (await look(key)).status, { interval: 10 }).toBe("cancelled");
    expect(performance.now() - askedAt).toBeLessThan(CANCELLED_WITHIN_MS);
    await on.idle("exports");
    expect(ends).toEqual(["done"]);
    expect(await row(key)).toMatchObject({ status: "cancelled", attempt: 1, worker: null, artifact: null });
  });

  it("after it ended stays as it is", async () => {
    await on.start([buildExport]);
    const key = await order();
    await on.idle("exports");
    const before = await row(key);
    expect(await cancel(key)).toMatchObject({ status: "succeeded" });
    expect(await row(key)).toEqual(before);
    expect((await download(key)).status).toBe(200);
  });
});

contract("a run that two workers hold", (on) => {
  beforeAll(() => seedMessages(on.app().context, "shop"));
  const { order, row, download } = client(on);

  /** An export that stops before its first row: `claimed` settles there, and `mayGoOn` lets it go on. */
  const heldExport = (rows?: () => Readable) => {
    const [claimed, mayGoOn] = [gate(), gate()];
    const run = (key: RunKey, context: JobContext) => {
      const streamAt: JobContext["copy"]["streamAt"] = async (...call) => {
        claimed.open();
        await mayGoOn.opened;
        if (!rows) return context.copy.streamAt(...call);
        return { source: rows(), snapshot: undefined, takenAt: new Date() };
      };
      return buildExport.run(key, { ...context, copy: { ...context.copy, streamAt } });
    };
    return { definition: { ...buildExport, run }, claimed: claimed.opened, goOn: () => mayGoOn.open() };
  };

  it("is published by the later one; the earlier one changes no row, and its file is gone", async () => {
    const { db, artifacts } = on.lent();
    const key = await order();
    const zombie = await on.startDead({ lockMs: 1_000, queue: "exports" });
    const taken = await zombie.take();
    const earlier = heldExport(() =>
      Readable.from([binaryRows([messageColumns.map(() => Buffer.from("late row"))])]),
    );
    const late = earlier.definition.run(key, on.lent({ worker: "zombie" }));
    await earlier.claimed;
    // Its lock ends, and a living worker takes the job up.
    const later = heldExport();
    const { ends } = await on.start([later.definition]);
    await later.claimed;

    const claim = { accountId: "shop", runId: key.runId, fence: 1 };
    expect(await settleRun(db, claim, { status: "succeeded" })).toBe(false);
    earlier.goOn();
    expect(await late).toEqual({ skipped: "fenced" });
    await expect(taken.moveToCompleted({ late: true }, "dead", false)).rejects.toThrow();
    expect(await row(key)).toMatchObject({ status: "running", fence: 2, artifact: null });
    expect(await artifacts.size(`${key.runId}/1`)).toBeUndefined();

    later.goOn();
    await on.idle("exports");
    expect(await row(key)).toMatchObject({
      status: "succeeded",
      fence: 2,
      artifact: { segments: [{ key: `${key.runId}/2` }] },
    });
    expect((await download(key)).text).not.toContain("late row");
    expect(ends).toEqual(["done"]);
    const kept = await on.queue("exports").getJob(runJobId(key));
    expect(kept).toMatchObject({ attemptsMade: 1, returnvalue: { run: key.runId } });
  });
});
