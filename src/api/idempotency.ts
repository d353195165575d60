import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from "node:crypto";
import type { Response } from "express";
import type { Context } from "../context.js";
import {
  claimIdempotencyKey,
  finishIdempotencyKey,
  type IdempotencyClaim,
  type IdempotencyRow,
  releaseIdempotencyKey,
} from "../db/queries/idempotency.js";
import { Conflict, InvalidInput } from "../errors.js";
import { bodyHash } from "./body.js";
import { credentialOf } from "./identity.js";
import type { ApiRequest } from "./route.js";

/** What a creating handler answers. */
export interface Answer {
  status: number;
  body: unknown;
  headers?: Record<string, string>;
  /** The body holds a secret: what is kept for replays can be read only with the caller's own API key. */
  secret?: boolean;
}

const KEPT_MS = 24 * 3_600_000;

/** An attempt without an answer this long after its request must have ended died with its process. */
const ABANDONED_AFTER_MS = 60_000;

const MAX_KEY_LENGTH = 255;

/**
 * Runs a creating handler and sends its answer. With an `Idempotency-Key` it has one effect: a repeated request gets
 * the first answer again (`idempotent-replayed: true`), one with another body or while the first is running gets 409.
 * A throw frees the key. Read the body with `readJsonBody` or `readRawBody` before. When a process dies between its effect
 * and its answer, the request can be repeated a minute later: `work` is then given the same `effectId` again.
 */
export async function withIdempotency(
  context: Context,
  request: ApiRequest,
  response: Response,
  work: (effectId: string | undefined) => Promise<Answer>,
): Promise<void> {
  const key = idempotencyKey(request);
  if (key === undefined) return sendAnswer(response, await work(undefined));
  const claim: IdempotencyClaim = {
    scope: `${request.identity.keyId} ${request.method} ${request.path}`,
    key,
    bodyHash: requestHash(request),
    claimedAt: context.now(),
  };
  const nowMs = claim.claimedAt.getTime();
  const claimed = await claimIdempotencyKey(context.db, claim, {
    expiredBefore: new Date(nowMs - KEPT_MS),
    abandonedBefore: new Date(nowMs - context.config.http.timeoutMs - ABANDONED_AFTER_MS),
  });
  if (claimed.first) return replay(request, response, claim, claimed.first);
  let answer: Answer;
  try {
    answer = await work(claimed.effectId);
  } catch (error) {
    await releaseIdempotencyKey(context.db, claim).catch((failure: unknown) =>
      request.log.warn("idempotency key not released", { error: failure }),
    );
    throw error;
  }
  const { status, headers = {}, body } = answer;
  // The effect is there: a failure to keep the answer must not hide it from the caller.
  await finishIdempotencyKey(context.db, claim, {
    status,
    headers,
    body: answer.secret ? { sealed: seal(body, sealKey(request, claim)) } : { plain: body ?? null },
  }).catch((error: unknown) => request.log.warn("answer not kept for replays", { error }));
  sendAnswer(response, answer);
}

function replay(
  request: ApiRequest,
  response: Response,
  claim: IdempotencyClaim,
  first: IdempotencyRow,
): void {
  if (!first.body_hash.equals(claim.bodyHash))
    throw new Conflict("idempotency_key_reused", "This Idempotency-Key came with another request before.");
  if (first.status === null)
    throw new Conflict("idempotency_in_progress", "The first request with this Idempotency-Key still runs.", {
      headers: { "retry-after": "1" },
    });
  const kept = first.body as { plain: unknown } | { sealed: string };
  response.setHeader("idempotent-replayed", "true");
  sendAnswer(response, {
    status: first.status,
    headers: first.headers ?? {},
    body: "sealed" in kept ? unseal(kept.sealed, sealKey(request, claim)) : kept.plain,
  });
}

function sendAnswer(response: Response, answer: Answer): void {
  response.status(answer.status).set(answer.headers ?? {});
  if (answer.body === undefined || answer.body === null) response.end();
  else response.json(answer.body);
}

function idempotencyKey(request: ApiRequest): string | undefined {
  const key = request.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key === "string" && key.length <= MAX_KEY_LENGTH && /^[\x21-\x7e]+$/.test(key)) return key;
  throw new InvalidInput(
    "invalid_idempotency_key",
    `An Idempotency-Key has 1 to ${MAX_KEY_LENGTH} visible ASCII characters.`,
  );
}

/** Of everything the handler can read besides the path and the caller. */
function requestHash(request: ApiRequest): Buffer {
  const query = request.originalUrl.split("?")[1] ?? "";
  return createHash("sha256")
    .update(`${query}\n`)
    .update(bodyHash(request) ?? "")
    .digest();
}

/** The database knows neither the caller's key nor, therefore, this one. */
const sealKey = (request: ApiRequest, claim: IdempotencyClaim): Buffer =>
  Buffer.from(hkdfSync("sha256", credentialOf(request), claim.key, "idempotent answer", 32));

const IV_BYTES = 12;
const TAG_BYTES = 16;

function seal(value: unknown, key: Buffer): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const text = Buffer.concat([cipher.update(JSON.stringify(value)), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), text]).toString("base64");
}

function unseal(sealed: string, key: Buffer): unknown {
  const bytes = Buffer.from(sealed, "base64");
  const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, IV_BYTES));
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  const text = Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
  return JSON.parse(text.toString("utf8"));
}
