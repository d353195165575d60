import type { Response } from "express";
import { z } from "zod";
import type { Context } from "../../context.js";
import { readBaileys } from "../../sources/baileys.js";
import { readWaha } from "../../sources/waha.js";
import { verifyWahaSignature } from "../../sources/waha-signature.js";
import { readWhatsappWebJs } from "../../sources/whatsapp-web-js.js";
import { readRawBody } from "../body.js";
import { type DeliveryOwner, ownerOf } from "../ingest/delivery-owner.js";
import { ingestOf } from "../ingest/ingest.js";
import { type Source, takeDelivery } from "../ingest/source-delivery.js";
import { readQuery } from "../input.js";
import { type ApiRequest, type Route, route } from "../route.js";
import { readSignedBody } from "../signed-body.js";
import { accountIdText } from "./accounts.js";

const MAX_BODY_BYTES = 3_000_000;

const deliveryQuery = z.strictObject({ account_id: accountIdText.optional() });

/**
 * Libraries and gateways that speak WhatsApp's web protocol. A delivery proves itself by an API key; one of WAHA's by
 * its signature once there is a key to check it with.
 */
export function webSourceRoutes(context: Context): Route[] {
  const { wahaHmacKeys } = context.config.secrets;
  const waha: Source = { source: "waha", read: readWaha };
  return [
    withKey(context, "whatsapp-web-js", { source: "whatsapp_web_js", read: readWhatsappWebJs }),
    withKey(context, "baileys", { source: "baileys", read: readBaileys }),
    wahaHmacKeys.length === 0 ? withKey(context, "waha", waha) : signed(context, waha, wahaHmacKeys),
  ];
}

const pathOf = (name: string): string => `/analytics/sources/${name}`;

function withKey(context: Context, name: string, source: Source): Route {
  const ingest = ingestOf(context);
  return route({
    method: "post",
    path: pathOf(name),
    access: ["ingest"],
    limit: "unlimited",
    async handler(request: ApiRequest, response) {
      const { account_id: asked } = readQuery(request, deliveryQuery);
      const owner = await ownerOf(request.identity, asked, ingest.accounts);
      const body = await readRawBody(request, { maxBytes: MAX_BODY_BYTES });
      await answer(context, source, body, owner, response);
    },
  });
}

/** Who can sign may write to every account: the keys are the installation's, like the app secrets of Meta. */
function signed(context: Context, source: Source, keys: readonly string[]): Route {
  return route({
    method: "post",
    path: pathOf("waha"),
    access: "public",
    limit: "unlimited",
    async handler(request, response) {
      const { account_id: fallback } = readQuery(request, deliveryQuery);
      const algorithm = request.get("x-webhook-hmac-algorithm");
      const body = await readSignedBody(request, "X-Webhook-Hmac", {
        maxBytes: MAX_BODY_BYTES,
        fits: (bytes, hmac) => verifyWahaSignature(bytes, { hmac, algorithm }, keys),
      });
      await answer(context, source, body, { accounts: "all", fallback }, response);
    },
  });
}

async function answer(
  context: Context,
  source: Source,
  body: Buffer,
  owner: DeliveryOwner,
  response: Response,
): Promise<void> {
  const counts = await takeDelivery(context, ingestOf(context), source, body, owner);
  if (!response.headersSent) response.json(counts);
}
