import { z } from "zod";
import type { Context } from "../../context.js";
import {
  type AccountRow,
  createAccount,
  findAccount,
  listAccounts,
  updateAccount,
} from "../../db/queries/accounts.js";
import { Conflict } from "../../errors.js";
import { safeText } from "../../safe-text.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, type Identity, requireAccount, requireAllAccounts } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { type ApiRequest, pathId, type Route, route } from "../route.js";

const MAX_BODY_BYTES = 64 * 1024;

/** The length that an event's `account_id` may have. */
export const accountIdText = safeText(128);

const timeZone = z
  .string()
  .max(64)
  .refine(isTimeZone, { error: "must be an IANA time zone", params: { code: "unknown_time_zone" } });

const newAccount = z.strictObject({
  account_id: accountIdText,
  name: safeText(200).nullable().optional(),
  time_zone: timeZone.default("UTC"),
});

const accountChanges = z.strictObject({
  name: safeText(200).nullable().optional(),
  time_zone: timeZone.optional(),
});

export function accountRoutes(context: Context): Route[] {
  const { db } = context;
  const one = "/analytics/accounts/:account_id";
  return [
    route({
      method: "post",
      path: "/analytics/accounts",
      access: ["admin"],
      async handler(request, response) {
        requireAllAccounts(request.identity);
        const body = parseInput(newAccount, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        await withIdempotency(context, request, response, async () => {
          const row = await createAccount(db, {
            accountId: body.account_id,
            name: body.name ?? null,
            timeZone: body.time_zone,
          });
          if (!row) throw new Conflict("account_exists", "There is an account with this id already.");
          const location = `/analytics/accounts/${encodeURIComponent(row.account_id)}`;
          return { status: 201, headers: { location }, body: presentAccount(row) };
        });
      },
    }),
    route({
      method: "get",
      path: "/analytics/accounts",
      access: ["viewer"],
      async handler(request, response) {
        const { limit, cursor } = readQuery(request, z.strictObject(pageParameters));
        const after = cursor === undefined ? undefined : decodeCursor(accountIdText, cursor);
        const rows = await listAccounts(db, { scope: scopeOf(request.identity), after, limit: limit + 1 });
        response.json(toPage(rows, limit, presentAccount, (row) => row.account_id));
      },
    }),
    route({
      method: "get",
      path: one,
      access: ["viewer"],
      async handler(request, response) {
        const accountId = accountInPath(request);
        const row = await findAccount(db, accountId);
        if (!row) throw accountNotFound();
        response.json(presentAccount(row));
      },
    }),
    route({
      method: "patch",
      path: one,
      access: ["admin"],
      async handler(request, response) {
        const accountId = accountInPath(request);
        const body = parseInput(accountChanges, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        const row = await updateAccount(db, accountId, { name: body.name, timeZone: body.time_zone });
        if (!row) throw accountNotFound();
        response.json(presentAccount(row));
      },
    }),
  ];
}

function accountInPath(request: ApiRequest): string {
  const accountId = pathId(request, "account_id");
  requireAccount(request.identity, accountId);
  return accountId;
}

export const scopeOf = (identity: Identity): "all" | string[] =>
  identity.accounts === "all" ? "all" : [...identity.accounts];

const presentAccount = (row: AccountRow) => ({
  account_id: row.account_id,
  name: row.name,
  time_zone: row.time_zone,
  created_at: row.created_at.toISOString(),
});

/** Intl also takes offsets like `+05:30`, which are no zones. */
function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
