import { readFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { MAX_STREAMS_PER_KEY } from "../../../src/api/routes/stream-export.js";
import { ACCOUNT, API_KEY, type Installation, startInstallation } from "../../e2e/installation.js";
import { until } from "../../e2e/support.js";

const READERS = 50;
/** Much more than all buffers on the way hold. */
const ROWS = 300_000;
const BYTES_A_SECOND = 1024;

vi.setConfig({ testTimeout: 120_000, hookTimeout: 90_000 });

let service: Installation;
beforeAll(async () => {
  service = await startInstallation({ queues: "postgres", processes: ["api"] });
  await service.seedMessages(ROWS);
});
afterAll(() => service?.stop());

const range = { from: "2026-01-01T00:00:00Z", to: "2026-02-01T00:00:00Z" };
const query = new URLSearchParams({ account_id: ACCOUNT, dataset: "messages", ...range });

async function open(): Promise<IncomingMessage> {
  const { url } = await service.process("api").ready;
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${API_KEY}` };
    get(`${url}/analytics/export?${query}`, { headers, agent: false }, resolve).on("error", reject);
  });
}

/** Takes a kilobyte every second, until it is stopped. */
function readSlowly(response: IncomingMessage): () => void {
  response.pause();
  response.on("error", () => {});
  const timer = setInterval(() => response.read(BYTES_A_SECOND), 1_000);
  return () => {
    clearInterval(timer);
    response.destroy();
  };
}

async function copies(): Promise<number> {
  const { rows } = await service.test.pool.query(
    "select pid from pg_stat_activity where datname = current_database() and query ilike 'copy%' and state = 'active'",
  );
  return rows.length;
}

it("F19: slow readers of exports take a few connections and no memory, and others are served", async () => {
  const { pid } = service.process("api");
  const megabytes = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024;
  // What the first stream loads and compiles is not theirs.
  (await open()).resume().destroy();
  await until("nothing is read", async () => (await copies()) === 0);
  const before = megabytes();
  const responses = await Promise.all(Array.from({ length: READERS }, open));
  const taken = responses.filter(({ statusCode }) => statusCode === 200);
  const refused = responses.filter(({ statusCode }) => statusCode === 503);
  expect([taken.length, refused.length]).toEqual([MAX_STREAMS_PER_KEY, READERS - MAX_STREAMS_PER_KEY]);
  for (const response of refused) expect(response.headers["retry-after"]).toMatch(/^\d+$/);
  const stop = responses.map(readSlowly);
  await until("each stream stands", async () => (await copies()) === MAX_STREAMS_PER_KEY);
  for (let asked = 0; asked < 100; asked++)
    await service.api.json(
      "GET",
      `/analytics/metrics?${new URLSearchParams({ account_id: ACCOUNT, ...range })}`,
    );
  const grown = megabytes() - before;
  console.info(`${READERS} readers: ${grown.toFixed(0)} MB more`);
  expect(grown).toBeLessThan(50);
  expect(await copies()).toBe(MAX_STREAMS_PER_KEY);
  for (const one of stop) one();
  await until("the database is left alone", async () => (await copies()) === 0);
  const next = await open();
  expect(next.statusCode).toBe(200);
  let bytes = 0;
  for await (const chunk of next) bytes += (chunk as Buffer).length;
  expect(bytes).toBeGreaterThan(ROWS * 100);
});
