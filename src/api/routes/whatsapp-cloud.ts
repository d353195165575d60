import { createHash, timingSafeEqual } from "node:crypto";
import type { Context } from "../../context.js";
import { Forbidden, Unauthorized, UnsupportedMedia } from "../../errors.js";
import { verifyWhatsappSignature } from "../../sources/whatsapp-signature.js";
import { isGzip, readRawBody } from "../body.js";
import { ingestOf } from "../ingest/ingest.js";
import { takeDelivery } from "../ingest/whatsapp-delivery.js";
import { type PublicRequest, type Route, route } from "../route.js";

const MAX_BODY_BYTES = 3_000_000;
const MAX_CHALLENGE_LENGTH = 1_024;

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
        const counts = await takeDelivery(context, ingest, body);
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
  const header = request.get("x-hub-signature-256");
  if (header === undefined) throw invalidSignature();
  // Meta signs what it sends and sends it plain: inflating for strangers would serve nobody.
  if (isGzip(request)) throw new UnsupportedMedia("unsupported_encoding", "Send the body as it is.");
  const body = await readRawBody(request, { maxBytes: MAX_BODY_BYTES });
  if (!verifyWhatsappSignature(body, header, secrets)) throw invalidSignature();
  return body;
}

const invalidSignature = () =>
  new Unauthorized("invalid_signature", "X-Hub-Signature-256 does not fit these bytes.");
