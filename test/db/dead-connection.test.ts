import { once } from "node:events";
import pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { copyOut } from "../../src/db/copy-out.js";
import { cutWhenDead } from "../../src/db/dead-connection.js";
import { isDatabaseAway } from "../../src/db/errors.js";
import { type HalfOpenProxy, startHalfOpenProxy } from "../support/half-open-proxy.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

const TIMES = { lookMs: 50, arrivedMs: 200, answerMs: 1_000 };
/** How often such a connection is looked at while nothing may happen to it. */
const LOOKS = 12;

let test: TestDb;
let proxy: HalfOpenProxy;
let config: pg.ClientConfig;
beforeAll(async () => {
  test = await openTestDb();
  const { port } = new URL(test.url);
  proxy = await startHalfOpenProxy(Number(port));
  config = { connectionString: test.url.replace(`:${port}`, `:${proxy.port}`) };
});
afterAll(async () => {
  await proxy?.[Symbol.asyncDispose]();
  await test.close();
});

let client: pg.Client;
let pid: number;
beforeEach(async () => {
  client = new pg.Client({ ...config, application_name: "watched" });
  client.on("error", () => {});
  await client.connect();
  cutWhenDead(client, config, TIMES);
  pid = (await client.query<{ pid: number }>("select pg_backend_pid() as pid")).rows[0]!.pid;
  onTestFinished(() => void client.end().catch(() => {}));
});

const session = async () =>
  (
    await test.pool.query<{ state: string; wait_event: string | null }>(
      "select state, wait_event from pg_stat_activity where pid = $1",
      [pid],
    )
  ).rows[0];
const awayError = (error: unknown) => isDatabaseAway(error) || Promise.reject(error);

describe("F13: a connection that is half open", () => {
  it("is cut when a question never arrives, and its session with the locks that it holds", async () => {
    await client.query("begin; lock table accounts in exclusive mode");
    proxy.halt();
    expect(await client.query("commit").catch(awayError)).toBe(true);
    // Granted at once, or this ends with an error.
    await test.pool.query("begin; set local lock_timeout = '5s'; lock table accounts; commit");
    await expect.poll(session).toBeUndefined();
  });

  it("is cut when the answer is lost", async () => {
    const answer = client.query("select pg_sleep(0.3)").catch(awayError);
    await expect.poll(session).toMatchObject({ wait_event: "PgSleep" });
    proxy.halt();
    expect(await answer).toBe(true);
    await expect.poll(session).toBeUndefined();
  });

  it("is cut in the middle of a COPY", async () => {
    const rows = client.query(
      copyOut("copy (select repeat('x', 1000) from generate_series(1, 1e6)) to stdout"),
    );
    rows.once("data", () => proxy.halt());
    expect(await once(rows.resume(), "end").catch(awayError)).toBe(true);
    await expect.poll(session).toBeUndefined();
  });
});

describe("a connection that is not dead is left alone", () => {
  it("while its statement takes long, and while nobody asks anything", async () => {
    await client.query("select pg_sleep($1)", [(LOOKS * TIMES.lookMs + TIMES.arrivedMs) / 1_000]);
    await test.pool.query("select pg_sleep($1)", [(LOOKS * TIMES.lookMs + TIMES.arrivedMs) / 1_000]);
    expect((await client.query("select 1 as one")).rows).toEqual([{ one: 1 }]);
  });

  it("while somebody takes its rows slowly", async () => {
    const rows = client.query(
      copyOut("copy (select repeat('x', 1000) from generate_series(1, 20000)) to stdout"),
    );
    await once(rows, "readable");
    await expect.poll(session).toMatchObject({ wait_event: "ClientWrite" });
    await test.pool.query("select pg_sleep($1)", [(LOOKS * TIMES.lookMs + TIMES.arrivedMs) / 1_000]);
    let bytes = 0;
    for await (const chunk of rows) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(20_000 * 1_001);
  });
});
