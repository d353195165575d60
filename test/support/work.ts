import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { createCopySource } from "../../src/db/copy.js";
import { type FoldedBatch, foldBatch } from "../../src/db/fold/fold-account.js";
import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { insertEvents, type NewEvent } from "../../src/db/queries/insert-events.js";
import { insertRun, type Run, type RunKey } from "../../src/db/queries/runs.js";
import { settleRollups } from "../../src/db/rollups/settle.js";
import type { Artifact, RunKind } from "../../src/db/schema.js";
import { createEgress } from "../../src/delivery/egress.js";
import type { ArtifactStore } from "../../src/exports/artifacts/artifact-store.js";
import { createDiskStore } from "../../src/exports/artifacts/disk.js";
import { openSegments } from "../../src/exports/artifacts/segments.js";
import type { EnqueueOptions, JobContext, JobDefinition, JobState } from "../../src/jobs/define-job.js";
import { openTestDb, silentLog, type TestDb } from "./postgres.js";

export interface Enqueued {
  kind: string;
  payload: unknown;
  options: EnqueueOptions | undefined;
}

export interface Worked {
  result: Record<string, unknown>;
  /** What the job asked for, in order. */
  enqueued: Enqueued[];
}

/** A run with everything that its row has of its file. */
export type WholeRun = Run & { artifact: Artifact | null };

export interface TestWork extends TestDb {
  artifacts: ArtifactStore;
  artifactRoot: string;
  /** Runs a job as a worker would: its payload through JSON and its schema, but without a queue. */
  work<Payload>(
    job: JobDefinition<Payload>,
    payload: NoInfer<Payload>,
    overrides?: Partial<JobContext>,
  ): Promise<Worked>;
  insertRun(kind: RunKind, accountId: string, params: Record<string, unknown>): Promise<RunKey>;
  run(key: RunKey): Promise<WholeRun>;
  /** The bytes of a run's file; throws when there is none. */
  file(key: RunKey): Promise<Buffer>;
}

/** A migrated database and an artifact store, for the jobs of one test file: new ones, or those of an installation. */
export async function openWork(given: { test?: TestDb; artifactRoot?: string } = {}): Promise<TestWork> {
  const test = given.test ?? (await openTestDb());
  const artifactRoot = given.artifactRoot ?? (await mkdtemp(join(tmpdir(), "artifacts-test-")));
  const artifacts = createDiskStore(artifactRoot);
  const run = (key: RunKey) =>
    test.db.selectFrom("runs").selectAll().where("run_id", "=", key.runId).executeTakeFirstOrThrow();
  return {
    ...test,
    artifacts,
    artifactRoot,
    async work(job, payload, overrides = {}) {
      const enqueued: Enqueued[] = [];
      const parsed = job.payload.parse(JSON.parse(JSON.stringify(payload)));
      const result = await job.run(parsed, {
        db: test.db,
        copy: createCopySource(test.pool),
        artifacts,
        log: silentLog,
        signal: new AbortController().signal,
        now: () => new Date(),
        enqueue: async (wanted, wantedPayload, options) => {
          wanted.payload.parse(wantedPayload);
          enqueued.push({ kind: wanted.kind, payload: wantedPayload, options });
        },
        admit: async () => {},
        admitAll: async () => {},
        stateOf: async (): Promise<JobState> => "unknown",
        removeJob: async () => {},
        settings: testSettings,
        egress: createEgress({ allowHttp: false, ports: [443], privateNetworks: [] }),
        mailer: undefined,
        job: { id: "test", addedAt: new Date(), isLastAttempt: false },
        worker: "test",
        ...overrides,
      });
      return { result: JSON.parse(JSON.stringify(result)) as Record<string, unknown>, enqueued };
    },
    async insertRun(kind, accountId, params) {
      const made = await insertRun(test.db, {
        accountId,
        kind,
        priority: "interactive",
        params: { account_id: accountId, ...params },
        requestedBy: "test",
        maxWaiting: 1_000_000,
      });
      return { accountId, runId: made!.run_id, generation: made!.generation };
    },
    run,
    async file(key) {
      const { artifact } = await run(key);
      if (!artifact) throw new Error("the run has no file");
      return buffer((await openSegments(artifacts, artifact.segments))!);
    },
    async close() {
      await test.close();
      await rm(artifactRoot, { recursive: true, force: true });
    },
  };
}

/** What a worker has from its configuration. */
export const testSettings: JobContext["settings"] = {
  foldBatchSize: 10_000,
  artifactQuotaBytes: 0,
  artifactRetentionMs: 3_600_000,
  exportPartRows: 250_000,
  exportParallelism: 4,
  publicUrl: undefined,
};

let events = 0;

/** One event; equal to no other that this process makes. */
export function newEvent(
  accountId: string,
  messageId: string,
  type: string,
  time: string,
  more: Partial<NewEvent> = {},
): NewEvent {
  events++;
  return {
    accountId,
    eventKey: `00000000-0000-4000-8000-${String(events).padStart(12, "0")}`,
    keyHash: events,
    occurredAtMs: Date.parse(time),
    timeQuality: 0,
    type: `message.${type}`,
    direction: type === "received" ? "inbound" : "outbound",
    messageId,
    ...more,
  };
}

export async function storeEvents(test: Pick<TestDb, "db">, list: readonly NewEvent[]): Promise<void> {
  await ensureAccounts(test.db, [...new Set(list.map((event) => event.accountId))]);
  await insertEvents(test.db, list);
}

/** What workers do with new events, up to the rollups of both grains. */
export async function foldAll(test: Pick<TestDb, "db">, accountId: string): Promise<FoldedBatch> {
  const batch = await foldBatch(test.db, accountId, { limit: 100_000 });
  await settleRollups(test.db, accountId);
  return batch;
}

/** Begins and ends the days that `seedMessages` fills. */
export const seedRange = { from: "2025-03-01T00:00:00Z", to: "2025-03-04T00:00:00Z" } as const;

/** A dozen messages of three days: every status, hostile texts, values that are missing. Returns how many. */
export async function seedMessages(test: Pick<TestDb, "db">, accountId: string): Promise<number> {
  const at = (day: number, second: number) =>
    new Date(Date.UTC(2025, 2, day, 9, 0, second, 120)).toISOString();
  const say = (id: string, type: string, day: number, second: number, more: Partial<NewEvent> = {}) =>
    newEvent(accountId, id, type, at(day, second), more);
  const hostile = [
    "=1+1",
    "+4915550001",
    "-2",
    "@sum",
    'a "quoted", text',
    "line\nbreak",
    "\tcmd",
    "grüße 🌿",
  ];
  const list = hostile.flatMap((contactId, index) => {
    const facts = { contactId, chatId: contactId, channelId: `c${index % 2}`, contentKind: "text" };
    const day = 1 + (index % 3);
    return [
      say(`m${index}`, "sent", day, index, { ...facts, ...(index % 2 ? { template: "offer" } : {}) }),
      ...(index < 6 ? [say(`m${index}`, "delivered", day, index + 2)] : []),
      ...(index < 3 ? [say(`m${index}`, "read", day, index + 9)] : []),
    ];
  });
  list.push(
    say("f1", "failed", 2, 30, {
      channelId: "c0",
      template: "offer",
      errorCode: "131026",
      errorClass: "recipient",
    }),
    say("f2", "failed", 3, 30, { channelId: "c1", errorCode: "131049", errorClass: "pacing" }),
    say("r1", "received", 1, 40, { channelId: "c0", contactId: "4915550009" }),
    say("bare", "sent", 2, 50),
  );
  await storeEvents(test, list);
  await foldAll(test, accountId);
  return hostile.length + 4;
}
