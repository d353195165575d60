import { randomUUID } from "node:crypto";
import type { Context } from "../context.js";
import { listQueuePauses } from "../db/queries/queue-pauses.js";
import { beatWorker, removeWorker } from "../db/queries/workers.js";
import { queueNames } from "../jobs/define-job.js";
import { seldomWarnings } from "../log.js";

const BEAT_MS = 5_000;

export interface Presence {
  /** Lets the others know that this process takes no more jobs. */
  leave(): Promise<void>;
}

/**
 * Says that this worker is there, so that as many runs are admitted as all workers together can run, and that nobody
 * waits for it once it is gone. Sees to it that the queues know of the pauses that operators asked for.
 */
export async function announceWorker(
  context: Pick<Context, "db" | "config" | "log" | "queues">,
  name: string,
): Promise<Presence> {
  const { db, config, log } = context;
  const worker = { workerId: randomUUID(), name, slots: config.workers.concurrency };
  const warn = seldomWarnings();
  const beat = async () => {
    try {
      await beatWorker(db, worker);
      await holdPausedQueues(context);
    } catch (error) {
      warn(log, "worker not announced, or queues not paused", { error });
    }
  };
  let beating = beat();
  await beating;
  const timer = setInterval(() => {
    beating = beat();
  }, BEAT_MS);
  return {
    async leave() {
      clearInterval(timer);
      await beating;
      await removeWorker(db, worker.workerId).catch(() => {});
    },
  };
}

/**
 * A queue that was lost, or away at the time, does not know that it is paused; who pauses it by other means than the API
 * does not need the database for it. So a queue is paused if either says so, and only the database is kept up with.
 */
export async function holdPausedQueues({ db, queues }: Pick<Context, "db" | "queues">): Promise<void> {
  for (const { queue } of await listQueuePauses(db)) {
    const name = queueNames.find((known) => known === queue);
    if (name && !(await queues.isPaused(name))) await queues.pause(name);
  }
}
