import { z } from "zod";
import type { Context } from "../../context.js";
import { existingAccounts } from "../../db/queries/accounts.js";
import {
  type ApiKeyRow,
  findApiKey,
  insertApiKey,
  listApiKeys,
  revokeApiKey,
} from "../../db/queries/api-keys.js";
import { roles } from "../../db/schema.js";
import { Forbidden, InvalidInput, NotFound } from "../../errors.js";
import { safeText } from "../../safe-text.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { generateKey, type Identity, identifierOf } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { newestFirst, pageParameters } from "../pagination.js";
import { pathUuid, type Route, route } from "../route.js";
import { accountIdText, scopeOf } from "./accounts.js";

const MAX_BODY_BYTES = 256 * 1024;

const newKey = z.strictObject({
  name: safeText(200),
  role: z.enum(roles),
  /** Absent or null: all accounts, those to come included. */
  account_ids: z.array(accountIdText).min(1).max(1_000).nullable().optional(),
  expires_at: z.iso.datetime({ offset: true }).nullable().optional(),
});
type NewKey = z.output<typeof newKey>;

export function keyRoutes(context: Context): Route[] {
  const { db } = context;
  return [
    route({
      method: "post",
      path: "/analytics/keys",
      access: ["admin"],
      async handler(request, response) {
        const body = parseInput(newKey, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        requireWithinScope(request.identity, body);
        await withIdempotency(context, request, response, async () => {
          const { row, key } = await createKey(context, body);
          const location = `/analytics/keys/${row.key_id}`;
          return { status: 201, headers: { location }, body: { ...presentKey(row), key }, secret: true };
        });
      },
    }),
    route({
      method: "get",
      path: "/analytics/keys",
      access: ["admin"],
      async handler(request, response) {
        const query = readQuery(request, z.strictObject(pageParameters));
        const scope = scopeOf(request.identity);
        response.json(
          await newestFirst(
            query,
            (page) => listApiKeys(db, { scope, ...page }),
            presentKey,
            (row) => row.key_id,
          ),
        );
      },
    }),
    route({
      method: "get",
      path: "/analytics/keys/:id",
      access: ["admin"],
      async handler(request, response) {
        const row = await findApiKey(db, pathUuid(request, "id"), scopeOf(request.identity));
        if (!row) throw keyNotFound();
        response.json(presentKey(row));
      },
    }),
    route({
      method: "delete",
      path: "/analytics/keys/:id",
      access: ["admin"],
      async handler(request, response) {
        const keyId = pathUuid(request, "id");
        const row = await revokeApiKey(db, keyId, context.now(), scopeOf(request.identity));
        if (!row) throw keyNotFound();
        identifierOf(context).forget(row);
        response.status(204).end();
      },
    }),
  ];
}

/** Nobody makes a key that sees more than the one used to make it. */
function requireWithinScope({ accounts }: Identity, body: NewKey): void {
  if (accounts === "all") return;
  if (!body.account_ids?.every((accountId) => accounts.has(accountId)))
    throw new Forbidden("scope_not_allowed", "A new key may only see accounts that the key used here sees.");
}

async function createKey(context: Context, body: NewKey): Promise<{ row: ApiKeyRow; key: string }> {
  const expiresAt = body.expires_at ? new Date(body.expires_at) : null;
  if (expiresAt && expiresAt <= context.now())
    throw InvalidInput.of([{ path: "expires_at", code: "in_the_past", message: "must be in the future" }]);
  const accountIds = body.account_ids ?? null;
  if (accountIds) await requireExisting(context, accountIds);
  const { key, prefix, secretHash } = generateKey();
  const row = await insertApiKey(context.db, {
    prefix,
    secretHash,
    name: body.name,
    role: body.role,
    accountIds,
    createdAt: context.now(),
    expiresAt,
  });
  return { row, key };
}

async function requireExisting({ db }: Context, accountIds: readonly string[]): Promise<void> {
  const existing = await existingAccounts(db, accountIds);
  const issues = accountIds.flatMap((accountId, index) =>
    existing.has(accountId)
      ? []
      : [{ path: `account_ids[${index}]`, code: "unknown_account", message: "there is no such account" }],
  );
  if (issues.length > 0) throw InvalidInput.of(issues);
}

const keyNotFound = () => new NotFound("key_not_found", "There is no such key.");

const presentKey = (row: ApiKeyRow) => ({
  id: row.key_id,
  prefix: row.prefix,
  name: row.name,
  role: row.role,
  account_ids: row.account_ids,
  created_at: row.created_at.toISOString(),
  expires_at: row.expires_at?.toISOString() ?? null,
  revoked_at: row.revoked_at?.toISOString() ?? null,
});
