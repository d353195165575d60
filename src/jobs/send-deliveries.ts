import { z } from "zod";
import {
  claimDeliveries,
  type Delivery,
  type DeliveryTarget,
  runOfDelivery,
} from "../db/queries/deliveries.js";
import { type AttemptEnd, cancelDelivery, recordAttempt } from "../db/queries/record-attempt.js";
import { cancelWaiting, type EndpointRow, findEndpoint } from "../db/queries/webhook-endpoints.js";
import { DeliveryFailure } from "../delivery/delivery-failure.js";
import { pauseAfter } from "../delivery/retry-schedule.js";
import { defineJob, type JobContext } from "./define-job.js";
import { sendMail } from "./send-mail.js";
import { sendWebhook } from "./send-webhook.js";

/** After this long a target makes room for others and comes back. */
const TURN_MS = 15_000;
/** Attempts at an endpoint at the same time; one that is failing gets one, to see whether it still does. */
const AT_ONCE = 4;
/** On top of an attempt's own bound: to load the run, and to write down how it ended. */
const LEASE_MARGIN_MS = 15_000;

/**
 * Sends what is due to one target, a webhook endpoint or the mail addresses of an account, until nothing is. One job a
 * target and at most `AT_ONCE` attempts in it, each with a bound of its own, so a dead target holds one place of the queue
 * for seconds and nobody else waits for it. Safe to run twice or killed anywhere: an attempt is claimed with a lease and
 * written down by its number. What was sent by a worker that died before it could say so is sent again under the same id.
 */
export const sendDeliveries = defineJob({
  kind: "deliveries.send",
  queue: "delivery",
  payload: z.strictObject({ accountId: z.string(), endpointId: z.string().nullable() }),
  // What failed is due again by its row.
  attempts: 1,
  timeoutMs: 10 * 60_000,
  dedupe: ({ accountId, endpointId }) => `${accountId}/${endpointId ?? "mail"}`,
  async run(target, context) {
    const giveWayAt = performance.now() + TURN_MS;
    const counts = { delivered: 0, failed: 0, cancelled: 0 };
    for (;;) {
      context.signal.throwIfAborted();
      const attempts = await takeDue(target, context);
      if (attempts.length === 0) return counts;
      // All of them end before an error of one does the job.
      const ends = await Promise.allSettled(attempts.map((attempt) => attempt()));
      for (const end of ends) {
        if (end.status === "rejected") throw end.reason;
        if (end.value !== "handed_back") counts[end.value]++;
      }
      if (performance.now() > giveWayAt) {
        context.signal.throwIfAborted();
        await context.enqueue(sendDeliveries, target);
        return { ...counts, unfinished: true };
      }
    }
  },
});

type End = AttemptEnd["outcome"] | "cancelled";

/** The next attempts at a target, claimed and ready to be made; none when nothing is due or the target is left alone. */
async function takeDue(target: DeliveryTarget, context: JobContext): Promise<(() => Promise<End>)[]> {
  const { db, egress, mailer, now } = context;
  if (target.endpointId === null) {
    if (mailer && !mailer.isFree()) return [];
    const due = await claimDeliveries(db, target, {
      limit: 1,
      leaseMs: (mailer?.totalMs ?? 0) + LEASE_MARGIN_MS,
    });
    return due.map((delivery) => () => attempt(delivery, undefined, context));
  }
  const endpoint = await findEndpoint(db, target.endpointId, [target.accountId]);
  if (!endpoint || endpoint.disabled_at) {
    // What came in between: whoever takes an endpoint away cancels only what he sees.
    await cancelWaiting(db, { accountId: target.accountId, endpointId: target.endpointId });
    return [];
  }
  if (endpoint.resume_at && endpoint.resume_at > now()) return [];
  const due = await claimDeliveries(db, target, {
    limit: endpoint.failing_since ? 1 : AT_ONCE,
    leaseMs: egress.totalMs + LEASE_MARGIN_MS,
  });
  return due.map((delivery) => () => attempt(delivery, endpoint, context));
}

/** Makes one attempt and writes down how it ended. */
async function attempt(
  delivery: Delivery,
  endpoint: EndpointRow | undefined,
  context: JobContext,
): Promise<End> {
  const { db, log } = context;
  const startedAt = performance.now();
  const run = delivery.run_id === null ? undefined : await runOfDelivery(db, delivery);
  if (delivery.run_id !== null && !run) {
    await cancelDelivery(db, delivery, "superseded");
    return "cancelled";
  }
  let end: AttemptEnd;
  try {
    if (endpoint) end = { outcome: "delivered", status: await sendWebhook(delivery, run, endpoint, context) };
    else {
      if (!context.mailer) throw new DeliveryFailure("mail_not_configured");
      await sendMail(delivery, run, context.mailer, context);
      end = { outcome: "delivered", status: undefined };
    }
  } catch (error) {
    end = context.signal.aborted ? { outcome: "handed_back" } : failureOf(delivery, error);
    const ids = { delivery: delivery.delivery_id, endpoint: delivery.endpoint_id };
    log.warn("delivery attempt ended without success", { ...ids, outcome: end.outcome, error });
  }
  await recordAttempt(db, delivery, end, performance.now() - startedAt);
  return end.outcome;
}

function failureOf(delivery: Delivery, error: unknown): AttemptEnd {
  const failure =
    error instanceof DeliveryFailure ? error : new DeliveryFailure("internal_error", { cause: error });
  const { code, status, retryAfterMs, permanent } = failure;
  const gone = delivery.endpoint_id !== null && status === 410;
  const pauseMs = permanent || gone ? null : pauseAfter(delivery.attempts - delivery.base_attempt);
  return { outcome: "failed", code, status, retryAfterMs, gone, pauseMs };
}
