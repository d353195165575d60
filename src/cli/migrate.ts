import { loadConfig } from "../config.js";
import { createLog } from "../log.js";
import { migrate } from "../migrate.js";
import { openServiceDatabase } from "./database.js";
import { runCommand } from "./run-command.js";

/** `npm run migrate`: brings the schema up to date, for deployments that do it before the processes start. */
await runCommand(async () => {
  const config = loadConfig();
  const log = createLog({ level: config.log.level, process: "migrate" });
  const database = await openServiceDatabase(config, log);
  try {
    await migrate(database.url, log);
  } finally {
    await database.close();
  }
  console.log("The schema is up to date.");
  return 0;
});
