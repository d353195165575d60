import { createHmac, timingSafeEqual } from "node:crypto";
import type { Request, Response } from "express";
import { z } from "zod";
import type { Context } from "../context.js";
import { BOOTSTRAP_KEY_ID, type Identity, identifierOf } from "./identity.js";

const COOKIE = "wa_session";
const SESSION_MS = 8 * 3_600_000;

const payloadShape = z.strictObject({
  keyId: z.string(),
  role: z.enum(["operator", "admin"]),
  expiresAt: z.number(),
  /** Ties a session to the API_KEY it began with; keys of the database have an id each instead. */
  bootstrap: z.string().optional(),
});

/** Logs a browser in for 8 hours, or until its key is revoked. */
export function startSession(
  context: Context,
  request: Request,
  response: Response,
  identity: Identity & { role: "operator" | "admin" },
): void {
  const payload: z.output<typeof payloadShape> = {
    keyId: identity.keyId,
    role: identity.role,
    expiresAt: context.now().getTime() + SESSION_MS,
    ...(identity.keyId === BOOTSTRAP_KEY_ID ? { bootstrap: bootstrapTag(context) } : {}),
  };
  const text = Buffer.from(JSON.stringify(payload), "utf8").toString("base64url");
  const value = `${text}.${sign(context, "session", text).toString("base64url")}`;
  response.cookie(COOKIE, value, { ...cookieOptions(request), maxAge: SESSION_MS });
}

export function endSession(request: Request, response: Response): void {
  response.clearCookie(COOKIE, cookieOptions(request));
}

export const hasSessionCookie = (request: Request): boolean => sessionCookie(request) !== undefined;

/** Who is logged in; undefined without a session, or when its key is not valid any more. */
export async function readSession(context: Context, request: Request): Promise<Identity | undefined> {
  const [text, signature] = sessionCookie(request)?.split(".") ?? [];
  if (text === undefined || signature === undefined) return undefined;
  const expected = sign(context, "session", text);
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  const parsed = payloadShape.safeParse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
  if (!parsed.success) return undefined;
  const payload = parsed.data;
  if (payload.expiresAt <= context.now().getTime()) return undefined;
  if (payload.keyId === BOOTSTRAP_KEY_ID && payload.bootstrap !== bootstrapTag(context)) return undefined;
  const identity = await identifierOf(context).byKeyId(payload.keyId);
  return identity?.role === payload.role ? identity : undefined;
}

function sessionCookie(request: Request): string | undefined {
  const cookies = (request.headers.cookie ?? "").split(";").map((cookie) => cookie.trim());
  return cookies.find((cookie) => cookie.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1);
}

const cookieOptions = (request: Request) => ({
  httpOnly: true,
  sameSite: "strict" as const,
  path: "/admin",
  secure: isTls(request),
});

/** Behind an ingress only the header tells. Who forges it merely keeps his own cookie off plain HTTP. */
const isTls = (request: Request): boolean =>
  request.secure || request.headers["x-forwarded-proto"] === "https";

const bootstrapTag = (context: Context): string =>
  sign(context, "bootstrap", context.config.secrets.apiKey ?? "").toString("base64url");

const sign = (context: Context, purpose: string, text: string): Buffer =>
  createHmac("sha256", context.installation.sessionSecret).update(`${purpose}:${text}`).digest();
