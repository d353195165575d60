import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { foldBatch, type Position } from "../../src/db/fold/fold-account.js";
import { testConfigFolder } from "../support/app.js";
import { type Compiled, compile } from "../support/compile.js";
import { openTestDb, type TestDb } from "../support/postgres.js";
import { type Process, type Ready, start, stopAll, temporaryFolder } from "./support.js";

const ROUNDS = process.env.TEST_FULL === "1" ? 20 : 10;
const CLIENTS = 200;
/** A round's kill comes after a random number of acknowledgements, this many at most. */
const ACKNOWLEDGED_AT_MOST = 600;
const API_KEY = "kill-api-test-key";

// Up to twenty starts of a process.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 60_000 });

let compiled: Compiled;
let test: TestDb;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: Process | undefined;

beforeAll(async () => {
  [compiled, test, folder] = await Promise.all([compile(["api/main.ts"]), openTestDb(), temporaryFolder()]);
});
afterAll(async () => {
  if (server) await stopAll([server]);
  await test?.close();
  await folder?.remove();
  await compiled?.remove();
});

const startApi = () =>
  start(compiled, "api/main.js", {
    DATABASE_URL: test.url,
    DATA_DIR: folder.path,
    CONFIG_DIR: testConfigFolder,
    API_KEY,
    HOST: "127.0.0.1",
    PORT: "0",
  });

let made = 0;
const asked: string[] = [];
const acknowledged = new Set<string>();

/** Sends one event after the other, each once, until the server is gone. */
async function client(url: string, onAcknowledged: () => void): Promise<void> {
  for (;;) {
    const id = `m-${++made}`;
    asked.push(id);
    const event = {
      account_id: "acme",
      type: "message.sent",
      message_id: id,
      occurred_at: new Date(Date.UTC(2026, 0, 1) + made * 1000).toISOString(),
    };
    try {
      const response = await fetch(`${url}/analytics/events`, {
        method: "POST",
        headers: { authorization: `Bearer ${API_KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ events: [event] }),
      });
      if (response.status === 200) {
        acknowledged.add(id);
        onAcknowledged();
      }
      await response.arrayBuffer();
    } catch {
      return;
    }
  }
}

async function round(): Promise<number> {
  const startedAt = performance.now();
  const running = startApi();
  server = running;
  const { url }: Ready = await running.ready;
  const restartMs = performance.now() - startedAt;
  let left = 1 + Math.floor(Math.random() * ACKNOWLEDGED_AT_MOST);
  const onAcknowledged = () => {
    if (--left === 0) running.child.kill("SIGKILL");
  };
  await Promise.all(Array.from({ length: CLIENTS }, () => client(url, onAcknowledged)));
  expect(await running.ended).toBe("SIGKILL");
  return restartMs;
}

async function foldAll(): Promise<void> {
  let after: Position | undefined;
  for (;;) {
    const batch = await foldBatch(test.db, "acme", { after, limit: 1_000 });
    if (batch.caughtUp) return;
    after = batch.position;
  }
}

it("F07: what was acknowledged is stored once, whatever the moment at which the API dies", async () => {
  const restarts: number[] = [];
  for (let at = 0; at < ROUNDS; at++) restarts.push(await round());
  const inOrder = restarts.map(Math.round).sort((a, b) => a - b);
  console.info(
    `${asked.length} sent, ${acknowledged.size} acknowledged; restarts (ms): ${inOrder.join(" ")}`,
  );
  expect(acknowledged.size).toBeGreaterThan(ROUNDS);
  // Every round was interrupted in the middle of something.
  expect(asked.length).toBeGreaterThanOrEqual(acknowledged.size + ROUNDS);

  const stored = await test.pool.query<{ message_id: string; times: number }>(
    "select message_id, count(*) as times from message_events group by message_id",
  );
  const found = new Map(stored.rows.map(({ message_id, times }) => [message_id, times]));
  expect([...acknowledged].filter((id) => !found.has(id))).toEqual([]);
  expect([...found].filter(([, times]) => times !== 1)).toEqual([]);
  expect([...found.keys()].filter((id) => !asked.includes(id))).toEqual([]);

  await foldAll();
  const folded = await test.pool.query(
    `select (select count(*) from messages) as messages,
            (select sum(cohort_sent)::integer from rollup_deltas) as sent`,
  );
  expect(folded.rows).toEqual([{ messages: found.size, sent: found.size }]);
});
