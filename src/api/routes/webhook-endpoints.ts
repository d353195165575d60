import { z } from "zod";
import type { Context } from "../../context.js";
import { findAccount } from "../../db/queries/accounts.js";
import { insertDelivery } from "../../db/queries/deliveries.js";
import {
  countEndpoints,
  deleteEndpoint,
  type EndpointRow,
  findEndpoint,
  insertEndpoint,
  listEndpoints,
  rotateSecret,
  updateEndpoint,
} from "../../db/queries/webhook-endpoints.js";
import { webhookEvents } from "../../db/schema.js";
import { createEgress, type Egress, urlProblem } from "../../delivery/egress.js";
import { generateSecret, secretText } from "../../delivery/sign-webhook.js";
import { Conflict, InvalidInput, NotFound } from "../../errors.js";
import { safeText } from "../../safe-text.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { newestFirst, pageParameters } from "../pagination.js";
import { type ApiRequest, pathUuid, type Route, route } from "../route.js";
import { accountIdText, scopeOf } from "./accounts.js";
import { presentDelivery, wakeTarget } from "./deliveries.js";

const PATH = "/analytics/webhook-endpoints";
const MAX_BODY_BYTES = 64 * 1024;
/** Each that swallows what it is sent holds a place of the queue now and then: so many of one account leave room for others. */
const MAX_ENDPOINTS = 20;
/** How long a secret that was replaced signs beside the new one. */
const PREVIOUS_SECRET_MS = 24 * 3_600_000;

const fields = {
  url: safeText(2_048),
  events: z
    .array(z.enum(webhookEvents))
    .min(1)
    .transform((events) => [...new Set(events)]),
  description: safeText(500).nullable(),
};
const newEndpoint = z.strictObject({
  account_id: accountIdText,
  url: fields.url,
  events: fields.events.default([...webhookEvents]),
  description: fields.description.optional(),
});
const endpointChanges = z.strictObject(fields).partial().extend({ enabled: z.boolean().optional() });
const listParameters = z.strictObject({ ...pageParameters, account_id: accountIdText });

export function webhookEndpointRoutes(context: Context): Route[] {
  const { db } = context;
  const egress = createEgress(context.config.webhooks);
  const access = ["analyst"] as const;
  const one = `${PATH}/:id`;
  const find = async (request: ApiRequest) => {
    const row = await findEndpoint(db, pathUuid(request, "id"), scopeOf(request.identity));
    if (!row) throw endpointNotFound();
    return row;
  };
  const keyOf = (row: EndpointRow) => ({ accountId: row.account_id, endpointId: row.endpoint_id });
  return [
    route({
      method: "post",
      path: PATH,
      access,
      async handler(request, response) {
        const body = parseInput(newEndpoint, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        requireAccount(request.identity, body.account_id);
        const url = allowedUrl(body.url, egress);
        if (!(await findAccount(db, body.account_id))) throw accountNotFound();
        await withIdempotency(context, request, response, async () => {
          if ((await countEndpoints(db, body.account_id)) >= MAX_ENDPOINTS)
            throw new Conflict(
              "too_many_endpoints",
              `An account has ${MAX_ENDPOINTS} webhook endpoints at most.`,
            );
          const secret = generateSecret();
          const row = await insertEndpoint(db, {
            accountId: body.account_id,
            url,
            events: body.events,
            description: body.description ?? null,
            secret,
          });
          const location = `${PATH}/${row.endpoint_id}`;
          const shown = { ...presentEndpoint(row), secret: secretText(secret) };
          return { status: 201, headers: { location }, body: shown, secret: true };
        });
      },
    }),
    route({
      method: "get",
      path: PATH,
      access,
      async handler(request, response) {
        const query = readQuery(request, listParameters);
        requireAccount(request.identity, query.account_id);
        response.json(
          await newestFirst(
            query,
            (page) => listEndpoints(db, { accountId: query.account_id, ...page }),
            presentEndpoint,
            (row) => row.endpoint_id,
          ),
        );
      },
    }),
    route({
      method: "get",
      path: one,
      access,
      async handler(request, response) {
        response.json(presentEndpoint(await find(request)));
      },
    }),
    route({
      method: "patch",
      path: one,
      access,
      async handler(request, response) {
        const found = await find(request);
        const body = parseInput(endpointChanges, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        const url = body.url === undefined ? undefined : allowedUrl(body.url, egress);
        const row = await updateEndpoint(db, keyOf(found), { ...body, url });
        if (!row) throw endpointNotFound();
        response.json(presentEndpoint(row));
      },
    }),
    route({
      method: "delete",
      path: one,
      access,
      async handler(request, response) {
        if (!(await deleteEndpoint(db, keyOf(await find(request))))) throw endpointNotFound();
        response.status(204).end();
      },
    }),
    route({
      method: "post",
      path: `${one}/rotate-secret`,
      access,
      async handler(request, response) {
        const found = await find(request);
        await withIdempotency(context, request, response, async () => {
          const secret = generateSecret();
          const until = new Date(context.now().getTime() + PREVIOUS_SECRET_MS);
          const row = await rotateSecret(db, keyOf(found), secret, until);
          if (!row) throw endpointNotFound();
          return { status: 200, body: { ...presentEndpoint(row), secret: secretText(secret) }, secret: true };
        });
      },
    }),
    route({
      method: "post",
      path: `${one}/test`,
      access,
      async handler(request, response) {
        const found = await find(request);
        if (found.disabled_at)
          throw new Conflict("endpoint_disabled", "This webhook endpoint is disabled; enable it first.");
        await withIdempotency(context, request, response, async () => {
          const about = { endpoint: { id: found.endpoint_id, url: found.url } };
          const delivery = await insertDelivery(db, keyOf(found), "endpoint.test", about);
          await wakeTarget(context, delivery, request);
          const location = `/analytics/deliveries/${delivery.delivery_id}`;
          return { status: 202, headers: { location }, body: presentDelivery(delivery) };
        });
      },
    }),
  ];
}

/** As it will be asked: with every host in its usual spelling. */
function allowedUrl(url: string, egress: Egress): string {
  const problem = urlProblem(url, egress);
  if (problem) throw InvalidInput.of([{ path: "url", ...problem }]);
  return new URL(url).href;
}

const endpointNotFound = () => new NotFound("endpoint_not_found", "There is no such webhook endpoint.");

/** Without its secret, which is shown once. */
const presentEndpoint = (row: EndpointRow) => ({
  id: row.endpoint_id,
  account_id: row.account_id,
  url: row.url,
  events: row.events,
  description: row.description,
  enabled: row.disabled_at === null,
  disabled_at: row.disabled_at?.toISOString() ?? null,
  disabled_reason: row.disabled_reason,
  failing_since: row.failing_since?.toISOString() ?? null,
  previous_secret_until: row.previous_secret_until?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
});
