import { createHash, timingSafeEqual } from "node:crypto";
import type { Context } from "../../context.js";
import { Forbidden, Unauthorized } from "../../errors.js";
import { readWhatsappCloud } from "../../sources/whatsapp-cloud.js";
import { verifyWhatsappSignature } from "../../sources/whatsapp-signature.js";
import { ingestOf } from "../ingest/ingest.js";
import { takeDelivery } from "../ingest/source-delivery.js";
import { type PublicRequest, type Route, route } from "../route.js";
import { readSignedBody } from "../signed-body.js";

const MAX_BODY_BYTES = 3_000_000;
const MAX_CHALLENGE_LENGTH = 1_024;
const whatsappCloud = { source: "whatsapp_cloud", read: readWhatsappCloud };
/** Meta names the account itself. */
const anyAccount = { accounts: "all", fallback: undefined } as const;

/** Meta's webhook. No API key: the handshake proves itself by the verify token, a delivery by its signature. */
export function whatsappCloudRoutes(context: Context): Route[] {
  const { whatsappAppSecrets, whatsappVerifyToken } = context.config.secrets;
  const ingest = ingestOf(context);
  const path = "/analytics/sources/whatsapp-cloud";
  return [
    route({
      method: "get",
      path,
      access: "public",
      handler(request, response) {
        const challenge = answerHandshake(request, whatsappVerifyToken);
        response.status(200).type("text/plain").setHeader("x-content-type-options", "nosniff").end(challenge);
      },
    }),
    route({
      method: "post",
      path,
      access: "public",
      limit: "unlimited",
      async handler(request, response) {
        const body = await readSigned(request, whatsappAppSecrets);
        const counts = await takeDelivery(context, ingest, whatsappCloud, body, anyAccount);
        if (!response.headersSent) response.json(counts);
      },
    }),
  ];
}

/** The challenge to send back; throws `Forbidden` unless Meta asks with our token. */
function answerHandshake(request: PublicRequest, token: string | undefined): string {
  const parameters = new URL(request.originalUrl, "http://localhost").searchParams;
  const challenge = parameters.get("hub.challenge") ?? "";
  const right =
    token !== undefined &&
    parameters.get("hub.mode") === "subscribe" &&
    equalTexts(parameters.get("hub.verify_token") ?? "", token);
  if (!right || challenge === "" || challenge.length > MAX_CHALLENGE_LENGTH)
    throw new Forbidden("handshake_refused", "This is not the verify token of this webhook.");
  return challenge;
}

/** In a time that says nothing of how much of it is right. */
function equalTexts(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** The body, once its signature is known to be right. */
async function readSigned(request: PublicRequest, secrets: readonly string[]): Promise<Buffer> {
  if (secrets.length === 0)
    throw new Unauthorized("webhook_not_configured", "This webhook has no app secret, so it takes nothing.");
  return readSignedBody(request, "X-Hub-Signature-256", {
    maxBytes: MAX_BODY_BYTES,
    fits: (body, signature) => verifyWhatsappSignature(body, signature, secrets),
  });
}
