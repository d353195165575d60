import type { Delivery } from "../db/queries/deliveries.js";
import type { Run } from "../db/queries/runs.js";
import type { EndpointRow } from "../db/queries/webhook-endpoints.js";
import { postWebhook } from "../delivery/post-webhook.js";
import { signedHeaders } from "../delivery/sign-webhook.js";
import type { JobContext } from "./define-job.js";
import { downloadPath } from "./download-link.js";
import { presentRun } from "./present-run.js";

/**
 * One attempt to tell an endpoint of an event, in the form of Standard Webhooks. Resolves with the HTTP status; rejects
 * with a `DeliveryFailure`, or the signal's reason.
 */
export async function sendWebhook(
  delivery: Delivery,
  run: Run | undefined,
  endpoint: EndpointRow,
  { egress, signal, now }: JobContext,
): Promise<number> {
  const body = JSON.stringify({
    type: delivery.event,
    timestamp: run?.finished_at ?? delivery.created_at,
    data: run ? { run: presentForOthers(run) } : delivery.data,
  });
  const sentAt = now();
  const headers = signedHeaders({ id: delivery.delivery_id, body, sentAt }, secretsOf(endpoint, sentAt));
  return postWebhook(new URL(endpoint.url), { headers, body }, egress, signal);
}

/** As the API presents it, but for who else is told. */
function presentForOthers(run: Run): Record<string, unknown> {
  const { notify: _, ...params } = run.params;
  const { links, ...shown } = presentRun(run, null) as { links: Record<string, string> };
  const download = downloadPath(run);
  return { ...shown, params, links: { ...links, ...(download && { download }) } };
}

function secretsOf({ secret, previous_secret, previous_secret_until }: EndpointRow, at: Date): Buffer[] {
  const previousSigns = previous_secret && previous_secret_until && previous_secret_until > at;
  return previousSigns ? [secret, previous_secret] : [secret];
}
