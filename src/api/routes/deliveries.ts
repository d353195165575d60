import { z } from "zod";
import type { Context } from "../../context.js";
import { type Delivery, findDelivery, listDeliveries, retryDelivery } from "../../db/queries/deliveries.js";
import type { AttemptEntry } from "../../db/schema.js";
import { MAX_ATTEMPTS } from "../../delivery/retry-schedule.js";
import { Conflict, NotFound } from "../../errors.js";
import { sendDeliveries } from "../../jobs/send-deliveries.js";
import { requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { newestFirst, pageParameters } from "../pagination.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import { accountIdText, scopeOf } from "./accounts.js";

const PATH = "/analytics/deliveries";

const listParameters = z.strictObject({
  ...pageParameters,
  account_id: accountIdText,
  run_id: z.guid().toLowerCase().optional(),
  status: z.enum(["pending", "delivered", "failed", "cancelled"]).optional(),
});

export function deliveryRoutes(context: Context): Route[] {
  const { db } = context;
  const find = async (request: ApiRequest) => {
    const scope = scopeOf(request.identity);
    const delivery = await findDelivery(db, pathUuid(request, "id"), scope === "all" ? undefined : scope);
    if (!delivery) throw new NotFound("not_found", "There is no delivery with this id.");
    return delivery;
  };
  return [
    route({
      method: "get",
      path: PATH,
      access: ["analyst"],
      async handler(request, response) {
        const query = readQuery(request, listParameters);
        requireAccount(request.identity, query.account_id);
        const { account_id: accountId, run_id: runId, status } = query;
        response.json(
          await newestFirst(
            query,
            (page) => listDeliveries(db, { accountId, runId, status, ...page }),
            presentDelivery,
            (row) => row.delivery_id,
          ),
        );
      },
    }),
    route({
      method: "get",
      path: `${PATH}/:id`,
      access: ["analyst"],
      async handler(request, response) {
        const delivery = await find(request);
        response.json({ ...presentDelivery(delivery), log: delivery.log.map(presentAttempt) });
      },
    }),
    route({
      method: "post",
      path: `${PATH}/:id/retry`,
      access: ["analyst"],
      async handler(request, response) {
        const delivery = await find(request);
        const again = await retryDelivery(db, delivery.account_id, delivery.delivery_id);
        if (!again && (delivery.status === "pending" || delivery.status === "delivered"))
          throw new Conflict(
            "delivery_not_ended_badly",
            `Only a failed or cancelled delivery can be retried; this one is ${delivery.status}.`,
          );
        if (!again)
          throw new Conflict("endpoint_not_enabled", "The webhook endpoint is disabled or no longer there.");
        await wakeTarget(context, again, request);
        response.status(202).json(presentDelivery(again));
      },
    }),
  ];
}

/** Its row is there, so it is sent whatever the queue says. */
export async function wakeTarget(context: Context, delivery: Delivery, request: ApiRequest): Promise<void> {
  const target = { accountId: delivery.account_id, endpointId: delivery.endpoint_id };
  await context.queues
    .enqueue(sendDeliveries, target)
    .catch((error: unknown) =>
      request.log.warn("delivery not asked for yet; it will be found due", { ...target, error }),
    );
}

export function presentDelivery(row: Delivery): Record<string, unknown> {
  const self = `${PATH}/${row.delivery_id}`;
  const endedBadly = row.status === "failed" || row.status === "cancelled";
  return {
    id: row.delivery_id,
    account_id: row.account_id,
    event: row.event,
    run_id: row.run_id,
    target:
      row.endpoint_id === null
        ? { type: "email", to: row.mail!.to }
        : { type: "webhook", endpoint_id: row.endpoint_id },
    status: row.status,
    attempts: row.attempts,
    attempts_left: row.status === "pending" ? MAX_ATTEMPTS - (row.attempts - row.base_attempt) : 0,
    next_attempt_at: row.status === "pending" ? row.next_attempt_at.toISOString() : null,
    last_attempt: row.log.map(presentAttempt).at(-1) ?? null,
    created_at: row.created_at.toISOString(),
    finished_at: row.finished_at?.toISOString() ?? null,
    links: { self, ...(endedBadly ? { retry: `${self}/retry` } : {}) },
  };
}

/** The database writes its times with microseconds and an offset. */
const presentAttempt = ({ started_at, finished_at, ...rest }: AttemptEntry) => ({
  ...rest,
  started_at: new Date(started_at).toISOString(),
  finished_at: finished_at === undefined ? null : new Date(finished_at).toISOString(),
});
