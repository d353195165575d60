import type { Db } from "../db/client.js";
import { admitRuns, type Line, takeBack } from "../db/queries/admission.js";
import { type RunKey, runJobId } from "../db/queries/runs.js";
import type { RunKind } from "../db/schema.js";
import { type Log, seldomWarnings } from "../log.js";
import type { Enqueue } from "./define-job.js";
import { runJobs } from "./run-jobs.js";

/** Lets waiting runs into the queues as there is room. Neither call throws: what fails here is done by the sweep. */
export interface Admission {
  /** After a run of this account began to wait, or ended and took so long. */
  admit(kind: RunKind, accountId: string, tookMs?: number): Promise<void>;
  /** Looks at every account: after workers came, a queue was resumed, or a process died at the wrong moment. */
  admitAll(kinds?: readonly RunKind[]): Promise<void>;
}

/** What is asked for while a round runs is one further round. */
interface Pending {
  accounts: Set<string> | "all";
  tookMs: number[];
  round: Promise<void>;
}

const kinds = Object.keys(runJobs) as RunKind[];

/**
 * Room for what runs and, so that no worker waits for the next, for one less than that in the queue: whoever comes first
 * in line then starts when the slots are free once. Aggregations share their queue with the folds, which must never
 * wait for them: they get half of it.
 */
const places = (kind: RunKind) => (slots: number) =>
  kind === "aggregation" ? Math.max(1, Math.floor(slots / 2)) : 2 * slots - 1;

/** The admission of one process. Any number of them work side by side. */
export function createAdmission(options: {
  db: Db;
  enqueue: Enqueue;
  log: Log;
  maxRunning: number;
  slotsWithoutWorkers: number;
}): Admission {
  const { db, enqueue, log, ...bounds } = options;
  const warn = seldomWarnings();
  const running = new Map<RunKind, Promise<unknown>>();
  const pending = new Map<RunKind, Pending>();

  /** The next round begins when this one's runs are admitted; whoever asked for this one waits for their jobs as well. */
  async function admitRound(line: Line): Promise<void> {
    await running.get(line.kind);
    const { accounts, tookMs } = pending.get(line.kind)!;
    pending.delete(line.kind);
    const round = { ...bounds, accounts: accounts === "all" ? accounts : [...accounts], tookMs };
    const admitted = admitRuns(db, line, round).catch((error: unknown) => {
      warn(log, "runs not admitted; the sweep will", { kind: line.kind, error });
      return [];
    });
    running.set(line.kind, admitted);
    await enqueueAll(line.kind, await admitted);
  }

  /** One after the other: the queue keeps the order in which they come. */
  async function enqueueAll(kind: RunKind, keys: readonly RunKey[]): Promise<void> {
    let away = false;
    for (const key of keys) {
      try {
        if (!away) await enqueue(runJobs[kind], key, { id: runJobId(key) });
      } catch (error) {
        away = true;
        warn(log, "runs admitted but not enqueued; they wait again", { ...key, error });
      }
      if (away) await takeBack(db, key).catch(() => {});
    }
  }

  async function ask(kind: RunKind, account: string | "all", tookMs: number | undefined): Promise<void> {
    let wanted = pending.get(kind);
    if (!wanted) {
      wanted = { accounts: new Set(), tookMs: [], round: undefined as never };
      pending.set(kind, wanted);
      wanted.round = admitRound({ kind, queue: runJobs[kind].queue, places: places(kind) });
    }
    if (account === "all") wanted.accounts = "all";
    else if (wanted.accounts !== "all") wanted.accounts.add(account);
    if (tookMs !== undefined) wanted.tookMs.push(tookMs);
    await wanted.round;
  }

  return {
    admit: ask,
    admitAll: async (some = kinds) => {
      await Promise.all(some.map((kind) => ask(kind, "all", undefined)));
    },
  };
}
