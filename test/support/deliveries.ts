import { ensureAccounts } from "../../src/db/queries/accounts.js";
import { claimRun, type RunKey, settleRun } from "../../src/db/queries/runs.js";
import { insertEndpoint } from "../../src/db/queries/webhook-endpoints.js";
import { type WebhookEvent, webhookEvents } from "../../src/db/schema.js";
import { generateSecret } from "../../src/delivery/sign-webhook.js";
import type { TestWork } from "./work.js";

export const aReport = {
  template: "message-log",
  format: "csv",
  from: "2026-01-01T00:00:00Z",
  to: "2026-02-01T00:00:00Z",
};

/** An endpoint of an account. */
export async function addEndpoint(
  test: TestWork,
  accountId: string,
  url: string,
  events: readonly WebhookEvent[] = webhookEvents,
): Promise<{ id: string; secret: Buffer; target: { accountId: string; endpointId: string } }> {
  await ensureAccounts(test.db, [accountId]);
  const secret = generateSecret();
  const row = await insertEndpoint(test.db, { accountId, url, events, description: null, secret });
  return { id: row.endpoint_id, secret, target: { accountId, endpointId: row.endpoint_id } };
}

/** A report that a worker has just finished, for those whom `notify` names. */
export async function finishedRun(
  test: TestWork,
  accountId: string,
  notify: unknown[],
  outcome: "succeeded" | "failed" = "succeeded",
  artifact: { bytes: number } | undefined = undefined,
): Promise<RunKey> {
  const key = await test.insertRun("report", accountId, { ...aReport, notify });
  const run = await claimRun(test.db, key, "test");
  const claim = { accountId, runId: key.runId, fence: run!.fence };
  await settleRun(
    test.db,
    claim,
    outcome === "failed"
      ? { status: "failed", error: { code: "internal_error", message: "It broke." } }
      : {
          status: "succeeded",
          ...(artifact && {
            artifact: {
              segments: [{ key: `${key.runId}/1`, bytes: artifact.bytes }],
              file_name: "message-log-2026-01-01-2026-02-01.csv",
              content_type: "text/csv; charset=utf-8",
              rows: 3,
              sha256: "0".repeat(64),
              expires_at: new Date(Date.now() + 3_600_000).toISOString(),
              ...artifact,
            },
          }),
        },
  );
  return key;
}

export const deliveriesOf = (test: TestWork, accountId: string) =>
  test.db
    .selectFrom("deliveries")
    .selectAll()
    .where("account_id", "=", accountId)
    .orderBy("created_at")
    .orderBy("place")
    .execute();

/** As if every pause and rest of an account were over. */
export async function passTime(test: TestWork, accountId: string): Promise<void> {
  await test.pool.query("update deliveries set next_attempt_at = now() where account_id = $1", [accountId]);
  await test.pool.query("update webhook_endpoints set resume_at = null where account_id = $1", [accountId]);
}
