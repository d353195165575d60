import type { Config } from "../config.js";
import { findEmbeddedPostgres, startEmbeddedPostgres } from "../embedded/postgres.js";
import type { Log } from "../log.js";

/**
 * The database that the service uses: the configured one, the embedded one of a running service, or the embedded one
 * started for this command alone.
 */
export async function openServiceDatabase(
  config: Config,
  log: Log,
): Promise<{ url: string; close(): Promise<void> }> {
  const url = config.database.url ?? (await findEmbeddedPostgres(config.dataDir));
  if (url) return { url, close: async () => {} };
  const server = await startEmbeddedPostgres({ dataDir: config.dataDir, log });
  return { url: server.url, close: () => server.stop() };
}
