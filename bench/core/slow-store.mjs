import { Transform } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { createDb, createPool } from "../../dist/db/client.js";
import { createCopySource } from "../../dist/db/copy.js";
import { createDiskStore } from "../../dist/exports/artifacts/disk.js";
import { helpExport } from "../../dist/jobs/help-export.js";
import { createLog } from "../../dist/log.js";

/** What one stream of a store far away takes. */
const BYTES_A_SECOND = 20 * 2 ** 20;

/** What jobs of an export need whose files go into a store that is far away; `help` gets the jobs of those who help. */
export function slowContext({ databaseUrl, dataDir, partRows, parallelism }, help) {
  const pool = createPool({ url: databaseUrl, name: "bench", size: 20, statementTimeoutMs: 0 }, () => {});
  const disk = createDiskStore(dataDir);
  return {
    pool,
    db: createDb(pool),
    copy: createCopySource(pool),
    artifacts: { ...disk, write: (key, source, signal) => disk.write(key, source.pipe(throttle()), signal) },
    log: createLog({ level: "warn", process: "bench" }),
    signal: new AbortController().signal,
    now: () => new Date(),
    admit: async () => {},
    enqueue: async (job, payload) => {
      if (job === helpExport) help(payload);
    },
    settings: {
      ...{ exportPartRows: partRows, exportParallelism: parallelism },
      ...{ artifactRetentionMs: 3_600_000, artifactQuotaBytes: 0 },
    },
    job: { id: "bench", addedAt: new Date(), isLastAttempt: true },
    worker: `bench ${process.pid}`,
  };
}

/** Lets bytes through at the pace of a slow network. */
function throttle() {
  const startedAt = performance.now();
  let bytes = 0;
  return new Transform({
    async transform(chunk, _encoding, done) {
      bytes += chunk.length;
      const early = (bytes / BYTES_A_SECOND) * 1000 - (performance.now() - startedAt);
      if (early > 1) await delay(early);
      done(null, chunk);
    },
  });
}
