import { z } from "zod";
import {
  defaultSettings,
  effectiveSettings,
  type SettingsChanges,
  type StoredSettings,
  settingsFields,
} from "../../analytics/account-settings.js";
import { ianaZone } from "../../analytics/calendar.js";
import { effectiveQuotas, quotaFields } from "../../analytics/quotas.js";
import {
  effectiveRetention,
  type RetentionChanges,
  retentionFields,
  retentionIssues,
} from "../../analytics/retention.js";
import type { Context } from "../../context.js";
import { changeFiles, type FileAllowance, fileAllowance } from "../../db/queries/account-files.js";
import { changeRetention } from "../../db/queries/account-retention.js";
import { type PendingZones, pendingZones } from "../../db/queries/account-zones.js";
import {
  type AccountRow,
  type ConfiguredAccountRow,
  changeQuotas,
  createAccount,
  findConfiguredAccount,
  listAccounts,
  updateAccount,
} from "../../db/queries/accounts.js";
import { Conflict, InvalidInput } from "../../errors.js";
import { buildZone } from "../../jobs/build-zone.js";
import { rebuildConversationsJob } from "../../jobs/rebuild-conversations.js";
import { safeText } from "../../safe-text.js";
import { readJsonBody } from "../body.js";
import { withIdempotency } from "../idempotency.js";
import { accountNotFound, type Identity, requireAccount, requireAllAccounts } from "../identity.js";
import { parseInput, readQuery } from "../input.js";
import { decodeCursor, pageParameters, toPage } from "../pagination.js";
import { type ApiRequest, pathId, type Route, route } from "../route.js";

/** A calendar with all its special days takes half of it. */
const MAX_BODY_BYTES = 256 * 1024;

/** The length that an event's `account_id` may have. */
export const accountIdText = safeText(128);

const HOUR_MS = 3_600_000;

const newAccount = z.strictObject({
  account_id: accountIdText,
  name: safeText(200).nullable().optional(),
  time_zone: ianaZone.default("UTC"),
  settings: settingsFields.optional(),
});

const accountChanges = z.strictObject({
  name: safeText(200).nullable().optional(),
  time_zone: ianaZone.optional(),
  settings: settingsFields.optional(),
  retention: retentionFields.optional(),
  quotas: quotaFields.optional(),
  /** null: what the configuration says. */
  files: z
    .strictObject({
      retention_hours: z
        .int()
        .min(1)
        .max(24 * 365)
        .nullable()
        .optional(),
      quota_bytes: z.int().min(0).nullable().optional(),
    })
    .optional(),
});

const mustFit = (retention: RetentionChanges) => {
  const issues = retentionIssues(effectiveRetention(retention));
  if (issues.length > 0) throw InvalidInput.of(issues);
};

export function accountRoutes(context: Context): Route[] {
  const { db } = context;
  const one = "/analytics/accounts/:account_id";
  const present = async (row: ConfiguredAccountRow, pending?: PendingZones) => {
    const files = await fileAllowance(db, row.account_id, context.config.artifacts);
    return { ...presentConfigured(context, row, pending), files: files && presentFiles(files) };
  };
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
            settings: withoutResets(body.settings ?? {}),
          });
          if (!row) throw new Conflict("account_exists", "There is an account with this id already.");
          const location = `/analytics/accounts/${encodeURIComponent(row.account_id)}`;
          return { status: 201, headers: { location }, body: await present(row) };
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
        const pending = await pendingZones(
          db,
          rows.map((row) => row.account_id),
        );
        response.json(
          toPage(
            rows,
            limit,
            (row) => presentAccount(row, pending),
            (row) => row.account_id,
          ),
        );
      },
    }),
    route({
      method: "get",
      path: one,
      access: ["viewer"],
      async handler(request, response) {
        const accountId = accountInPath(request);
        const row = await findConfiguredAccount(db, accountId);
        if (!row) throw accountNotFound();
        response.json(await present(row, await pendingZones(db, [accountId])));
      },
    }),
    route({
      method: "patch",
      path: one,
      access: ["admin"],
      async handler(request, response) {
        const accountId = accountInPath(request);
        const body = parseInput(accountChanges, await readJsonBody(request, { maxBytes: MAX_BODY_BYTES }));
        if (body.retention) await changeRetention(db, accountId, body.retention, mustFit);
        if (body.quotas) await changeQuotas(db, accountId, body.quotas);
        if (body.files) await changeFiles(db, accountId, body.files);
        const row = await updateAccount(
          db,
          accountId,
          { name: body.name, timeZone: body.time_zone, settings: body.settings },
          defaultSettings,
        );
        if (!row) throw accountNotFound();
        const pending = await pendingZones(db, [accountId]);
        // Where these are not heard, scheduled jobs find the zone and the settings.
        if (pending.size > 0) await context.queues.enqueue(buildZone, { accountId }).catch(() => {});
        if (row.settings_version !== row.conversations_version)
          await context.queues.enqueue(rebuildConversationsJob, { accountId }).catch(() => {});
        // A higher cap may let something in that waits.
        if (body.quotas) await context.admission.admitAll();
        response.json(await present(row, pending));
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

const presentAccount = (row: AccountRow, pending: PendingZones = new Map()) => ({
  account_id: row.account_id,
  name: row.name,
  time_zone: row.time_zone,
  pending_time_zone: pending.get(row.account_id) ?? null,
  retention: effectiveRetention(row.retention),
  created_at: row.created_at.toISOString(),
});

const presentConfigured = ({ config }: Context, row: ConfiguredAccountRow, pending?: PendingZones) => ({
  ...presentAccount(row, pending),
  quotas: effectiveQuotas(row.quotas, config.quotas),
  settings: effectiveSettings(row.settings, row.time_zone),
  settings_version: row.settings_version,
});

const presentFiles = ({ retentionMs, quotaBytes, usedBytes }: FileAllowance) => ({
  retention_hours: retentionMs / HOUR_MS,
  quota_bytes: quotaBytes,
  used_bytes: usedBytes,
});

const withoutResets = (changes: SettingsChanges) =>
  Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== null)) as StoredSettings;
