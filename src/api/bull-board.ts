import { createBullBoard as createBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { ExpressAdapter } from "@bull-board/express";
import express, { type Express, type Request, type RequestHandler, Router } from "express";
import type { Context } from "../context.js";
import { Forbidden, Unauthorized } from "../errors.js";
import { sendLoginPage, sendLogoutPage } from "./admin-pages.js";
import { endSession, hasSessionCookie, readSession, startSession } from "./admin-session.js";
import { type Identity, identifierOf, requireAllAccounts } from "./identity.js";
import { boundTime } from "./middleware/request-scope.js";
import { countedIdentity } from "./rate-limit/counted-identity.js";
import { limiterOf } from "./rate-limit/limiter.js";

const BOARD_PATH = "/admin/queues";
const MAX_BODY = "10kb";

/** What Bull Board's pages need. Its link to a font elsewhere stays blocked: the page falls back to another one. */
const BOARD_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "base-uri 'self'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

/** Everything under `/admin`: Bull Board with all queues, and the login in front of it. */
export function createBullBoard(context: Context): Router {
  const router = Router();
  router.use((request, response, next) => {
    boundTime(request, response, context.config.http.timeoutMs);
    response.setHeader("content-security-policy", BOARD_POLICY);
    response.setHeader("x-frame-options", "DENY");
    // With no referrer at all, browsers send `Origin: null` with our own forms too.
    response.setHeader("referrer-policy", "same-origin");
    refuseCrossSite(request);
    next();
  });
  router.get("/", (_request, response) => response.redirect(BOARD_PATH));
  router.get("/login", (request, response) =>
    sendLoginPage(response, { next: localPath(request.query.next) }),
  );
  router.post("/login", form(), logIn(context));
  router.get("/logout", (_request, response) => sendLogoutPage(response));
  router.post("/logout", (request, response) => {
    endSession(request, response);
    response.redirect(303, "/admin/login");
  });
  const json = express.json({ limit: MAX_BODY, inflate: false });
  router.use("/queues", requireOperator(context), json, board(context));
  return router;
}

const form = () => express.urlencoded({ extended: false, limit: MAX_BODY, inflate: false });

function board(context: Context): Express {
  const adapter = new ExpressAdapter().setBasePath(BOARD_PATH);
  createBoard({
    serverAdapter: adapter,
    queues: context.queues.all().map((queue) => {
      const name = queue.name.replace(/^\{.*?-(.*)\}$/, "$1");
      // The cards show the display name, but the menu and the addresses the name itself.
      return Object.assign(new BullMQAdapter(queue, { displayName: name }), { getName: () => name });
    }),
    options: {
      uiConfig: { boardTitle: "Queues", miscLinks: [{ text: "Log out", url: "/admin/logout" }] },
    },
  });
  const app = adapter.getRouter() as Express;
  app.disable("x-powered-by");
  return app;
}

function logIn(context: Context): RequestHandler {
  return async (request, response) => {
    const fields = (request.body ?? {}) as Record<string, unknown>;
    const next = localPath(fields.next);
    const key = typeof fields.key === "string" ? fields.key.trim() : "";
    const identity = await identifierOf(context).verify(key);
    if (!identity || !isOperator(identity)) {
      await limiterOf(context).count(request, response, "auth");
      response.locals.code = "login_failed";
      return sendLoginPage(response, { next, failed: true });
    }
    startSession(context, request, response, identity);
    response.redirect(303, next);
  };
}

type Operator = Identity & { role: "operator" | "admin" };

/** Bull Board shows the jobs of all accounts. */
const isOperator = (identity: Identity): identity is Operator =>
  (identity.role === "operator" || identity.role === "admin") && identity.accounts === "all";

function requireOperator(context: Context): RequestHandler {
  const limiter = limiterOf(context);
  return async (request, response, next) => {
    if (hasCredential(request)) {
      const identity = await countedIdentity(context, request, response);
      await limiter.count(request, response, "default", identity.keyId);
      requireAllAccounts(identity);
      if (!isOperator(identity))
        throw new Forbidden("role_not_allowed", `A key of role ${identity.role} may not do this.`);
      return next();
    }
    const identity = await readSession(context, request);
    await limiter.count(request, response, "default", identity?.keyId);
    if (identity && isOperator(identity)) return next();
    if (request.path.startsWith("/api/") || (request.method !== "GET" && request.method !== "HEAD"))
      throw new Unauthorized("not_logged_in", "Log in at /admin/login, or send an API key.");
    response.redirect(`/admin/login?next=${encodeURIComponent(request.originalUrl)}`);
  };
}

const hasCredential = (request: Request): boolean =>
  request.headers.authorization !== undefined || request.headers["x-api-key"] !== undefined;

/** Throws 403 for a change that another site's page may have sent with the operator's cookie, the login included. */
function refuseCrossSite(request: Request): void {
  if (request.method === "GET" || request.method === "HEAD") return;
  const site = request.headers["sec-fetch-site"];
  const { origin, host } = request.headers;
  const refused =
    site !== undefined
      ? site !== "same-origin" && site !== "none"
      : origin !== undefined
        ? hostOf(origin) !== host?.toLowerCase()
        : hasSessionCookie(request) && !hasCredential(request);
  if (refused) throw new Forbidden("cross_site_request", "This request came from another site.");
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

/** Only a path below /admin of this very server: never a way to somebody else's page. */
function localPath(next: unknown): string {
  if (typeof next !== "string" || !URL.canParse(next, "http://local.invalid")) return BOARD_PATH;
  const url = new URL(next, "http://local.invalid");
  const local = url.origin === "http://local.invalid" && url.pathname.startsWith("/admin/");
  return local ? url.pathname + url.search : BOARD_PATH;
}
