import { type EmbeddedPostgres, startEmbeddedPostgres } from "../embedded/postgres.js";
import type { Log } from "../log.js";

/** A server that ends sooner than this, and as often as that in a row, will not get better by one more start. */
const STEADY_AFTER_MS = 10_000;
const QUICK_ENDS = 3;

export interface KeptPostgres {
  url: string;
  stop(): Promise<void>;
}

/**
 * The embedded PostgreSQL, started again on the same port when something kills it (the kernel, short of memory).
 * `onLost` is called when that does not help.
 */
export async function keepPostgres(options: {
  dataDir: string;
  log: Log;
  onLost: (reason: string) => void;
}): Promise<KeptPostgres> {
  const { dataDir, log, onLost } = options;
  let current: EmbeddedPostgres = await startEmbeddedPostgres({ dataDir, log });
  const { url, port } = current;
  let stopping = false;

  async function watch(): Promise<void> {
    for (let quickEnds = 0; ; ) {
      const startedAt = Date.now();
      const how = await current.exited;
      await current.stop();
      if (stopping) return;
      log.error("the embedded PostgreSQL ended and is started again", { how });
      quickEnds = Date.now() - startedAt < STEADY_AFTER_MS ? quickEnds + 1 : 0;
      if (quickEnds === QUICK_ENDS) throw new Error(`it keeps ending: ${how}`);
      current = await startEmbeddedPostgres({ dataDir, log, port });
      if (stopping) return current.stop();
      if (current.port !== port) throw new Error(`port ${port} was taken meanwhile`);
    }
  }

  const watching = watch().catch((error: Error) =>
    onLost(`the embedded PostgreSQL is lost: ${error.message}`),
  );
  return {
    url,
    stop: async () => {
      stopping = true;
      await current.stop();
      await watching;
    },
  };
}
