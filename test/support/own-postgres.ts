import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { createDb, createPool } from "../../src/db/client.js";
import { startEmbeddedPostgres } from "../../src/embedded/postgres.js";
import { migrate } from "../../src/migrate.js";
import { silentLog, type TestDb } from "./postgres.js";

/** A migrated database in a server of its own, for tests that do to a server what the suite's must not suffer. */
export interface OwnPostgres extends TestDb {
  /** As `pg_ctl restart -m immediate` does, and away for so long: what was committed is recovered. */
  restart(awayMs?: number): Promise<void>;
  /** Stops every process of the server in its tracks: connections stay open, and nothing answers. */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
}

export async function startOwnPostgres(settings: Record<string, string> = {}): Promise<OwnPostgres> {
  const dataDir = await mkdtemp(join(tmpdir(), "own-postgres-"));
  const start = (port?: number) =>
    startEmbeddedPostgres({
      dataDir,
      log: silentLog,
      // What a process wrote survives its end; only the machine's own crash needs the disk.
      settings: { fsync: "off", ...settings },
      ...(port === undefined ? {} : { port }),
    });
  let server = await start();
  await migrate(server.url, silentLog);
  const pool = createPool({ url: server.url, name: "test", size: 4, statementTimeoutMs: 0 }, () => {});
  const signalAll = async (signal: NodeJS.Signals) => {
    const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="]);
    const processes = stdout
      .trim()
      .split("\n")
      .map((line) => line.trim().split(/\s+/).map(Number));
    const children = processes.flatMap(([pid, parent]) => (parent === server.pid ? [pid!] : []));
    for (const pid of [server.pid, ...children]) process.kill(pid, signal);
  };
  return {
    url: server.url,
    pool,
    db: createDb(pool),
    async restart(awayMs = 0) {
      process.kill(server.pid, "SIGQUIT");
      await server.exited;
      await server.stop();
      await delay(awayMs);
      server = await start(server.port);
    },
    freeze: () => signalAll("SIGSTOP"),
    thaw: () => signalAll("SIGCONT"),
    async close() {
      await pool.end();
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
