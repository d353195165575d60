import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDb, createPool, type Db } from "../../src/db/client.js";
import { longSession } from "../../src/db/long-session.js";
import { openTestDb, type TestDb } from "../support/postgres.js";

const BOUND_MS = 100;

let test: TestDb;
let db: Db;
let end: () => Promise<void>;
beforeAll(async () => {
  test = await openTestDb();
  const bounds = { statementTimeoutMs: BOUND_MS, lockTimeoutMs: BOUND_MS };
  const pool = createPool({ url: test.url, name: "bounded", size: 2, ...bounds }, () => {});
  db = createDb(pool);
  end = () => pool.end();
});
afterAll(async () => {
  await end();
  await test.close();
});

const never = new AbortController().signal;
const sleep = (seconds: number) => sql`select pg_sleep(${seconds})`;
const settings = async (session: Db) =>
  (
    await sql`select current_setting('statement_timeout') as statement, current_setting('lock_timeout') as lock,
                     current_setting('client_connection_check_interval') as check`.execute(session)
  ).rows[0];

describe("a long session", () => {
  it("has no bounds of its own, and leaves those of its connection as they were", async () => {
    await expect(sleep(0.3).execute(db)).rejects.toMatchObject({ code: "57014" });
    const inside = await longSession(db, never, async (session) => {
      await sleep(0.3).execute(session);
      return settings(session);
    });
    expect(inside).toEqual({ statement: "0", lock: "0", check: "10s" });
    const bounded = { statement: "100ms", lock: "100ms", check: "0" };
    expect(await Promise.all([settings(db), settings(db)])).toEqual([bounded, bounded]);
  });

  it("waits for a lock for as long as it takes", async () => {
    const holder = await test.pool.connect();
    await holder.query("select pg_advisory_lock(7)");
    const waiting = longSession(db, never, async (session) => {
      await sql`select pg_advisory_lock(7)`.execute(session);
      await sql`select pg_advisory_unlock(7)`.execute(session);
    });
    await holder.query(`select pg_sleep(${(BOUND_MS * 3) / 1000}), pg_advisory_unlock(7)`);
    holder.release();
    await waiting;
  });

  it("is cancelled in the database when its signal fires", async () => {
    const controller = new AbortController();
    const asleep = async () =>
      (
        await test.pool.query(
          "select 1 from pg_stat_activity where query like '%pg_sleep(%' and wait_event = 'PgSleep'",
        )
      ).rowCount;
    const running = longSession(db, controller.signal, (session) => sleep(60).execute(session));
    await expect.poll(asleep).toBe(1);
    const reason = new Error("no longer wanted");
    controller.abort(reason);
    await expect(running).rejects.toBe(reason);
    expect(await asleep()).toBe(0);
    await expect(longSession(db, controller.signal, settings)).rejects.toBe(reason);
    expect(await settings(db)).toMatchObject({ statement: "100ms" });
  });
});
