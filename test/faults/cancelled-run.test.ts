import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Installation, startInstallation } from "../e2e/installation.js";
import { type Run, until } from "../e2e/support.js";
import { queueStores } from "../support/redis.js";
import { secondsSince } from "./oracles.js";

/** Some seconds of work: much more than a cancel takes. */
const ROWS = 1_000_000;
/** A worker hears of it at its next heartbeat, a second later at most. */
const CANCELLED_WITHIN_SECONDS = 2;

vi.setConfig({ testTimeout: 90_000, hookTimeout: 90_000 });

describe.each(queueStores)("with the queues in %s", (queues) => {
  let service: Installation;
  beforeAll(async () => {
    service = await startInstallation({ queues });
    await service.seedMessages(ROWS);
  });
  afterAll(() => service?.stop());

  const copies = async () => {
    const { rows } = await service.test.pool.query(
      "select pid from pg_stat_activity where datname = current_database() and state = 'active' and query ilike 'copy%'",
    );
    return rows.length;
  };

  it("a cancelled export stops wherever it runs, within two seconds, and leaves nothing behind", async () => {
    const { id, links } = await service.orderExport();
    await service.writerOf(id, 1);
    expect(await copies()).toBeGreaterThan(0);
    const askedAt = performance.now();
    await service.api.json("POST", `${links.self}/cancel`);
    await until(
      "it is cancelled",
      async () => (await service.api.json<Run>("GET", links.self)).status === "cancelled",
      { everyMs: 10 },
    );
    const seconds = secondsSince(askedAt);
    console.info(`${queues}: cancelled after ${seconds.toFixed(2)} s`);
    expect(seconds).toBeLessThan(CANCELLED_WITHIN_SECONDS);
    await until("its statement is gone", async () => (await copies()) === 0, { withinMs: 2_000 });
    // A helper that had just finished its part takes it back when it hears of the cancel.
    const files = () => readdir(join(service.dataDir, "artifacts"));
    await until("its files are gone", async () => (await files()).length === 0, { withinMs: 2_000 });
    expect(await service.row(id)).toMatchObject({ attempt: 1, artifact: null });
  });
});
