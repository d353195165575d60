import { loadConfig } from "../config.js";
import { createDb, createPool } from "../db/client.js";
import { measureEverything } from "../db/rollups/everything.js";
import { rulesOf } from "../jobs/rebuild-conversations.js";
import { createLog } from "../log.js";
import { openServiceDatabase } from "./database.js";
import { runCommand } from "./run-command.js";

/** `npm run verify`: recomputes every account's rollups from its messages and compares. Exits 1 when any row drifts. */
await runCommand(async () => {
  const config = loadConfig();
  const log = createLog({ level: "warn", process: "verify" });
  const database = await openServiceDatabase(config, log);
  const pool = createPool({ url: database.url, name: "verify", size: 2, statementTimeoutMs: 0 }, (error) =>
    log.warn("database connection lost", { error }),
  );
  try {
    const db = createDb(pool);
    const accounts = await db.selectFrom("accounts").select("account_id").orderBy("account_id").execute();
    const { signal } = new AbortController();
    let drifted = 0;
    for (const { account_id } of accounts) {
      const drift = await measureEverything(db, account_id, { rulesOf }, signal);
      drifted += drift.rows;
      console.log(
        `${account_id}: ${drift.messages} messages, ${drift.rows} drifted rows, ${drift.conversations} of them conversations`,
      );
    }
    console.log(`Drift: ${drifted} rows in ${accounts.length} accounts.`);
    return drifted === 0 ? 0 : 1;
  } finally {
    await pool.end();
    await database.close();
  }
});
